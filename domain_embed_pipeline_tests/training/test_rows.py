"""Rows carry what keeps them out of each other's batches."""

from __future__ import annotations

import dataclasses

from domain_embed_pipeline.records import HardNegative
from domain_embed_pipeline.training.rows import dataset_of, negative_rows, pair_rows, rows_digest
from domain_embed_pipeline_tests.training.scenario import chunk_of, pair_of

VALVE, PUMP = chunk_of("The valve opens."), chunk_of("The pump stops.", title="Pumps")


def mined(anchor: str, negative: str, negative_chunk_id: str) -> HardNegative:
    return HardNegative(anchor, VALVE.text, negative, VALVE.chunk_id, negative_chunk_id, 1, 0.9, 0.5)


def test_a_pair_is_kept_from_its_anchor_and_its_cluster() -> None:
    rows = pair_rows([pair_of("What  opens?", VALVE), pair_of("what opens?", PUMP)], {VALVE.chunk_id: "cluster-1"})
    assert rows[0].groups.own == {"anchor:what opens?", "cluster-1"}
    assert rows[1].groups.own == {"anchor:what opens?", PUMP.chunk_id}
    assert rows[1].positive == "Pumps. The pump stops."


def test_all_negatives_of_a_pair_are_one_row() -> None:
    rows = negative_rows([mined("q1", "n1", "c-1"), mined("q2", "n3", "c-3"), mined("q1", "n2", "c-2")], {"c-2": "k"})
    assert [(row.anchor, row.negatives) for row in rows] == [("q1", ("n1", "n2")), ("q2", ("n3",))]
    assert rows[0].groups.negatives == {"c-1", "k"}


def test_columns_are_in_the_order_that_the_loss_reads() -> None:
    rows = negative_rows([mined("q1", "n1", "c-1"), mined("q1", "n2", "c-2")], {})
    dataset = dataset_of(rows)
    assert dataset.column_names == ["anchor", "positive", "negative_1", "negative_2"]
    assert dataset[0] == {"anchor": "q1", "positive": VALVE.text, "negative_1": "n1", "negative_2": "n2"}


def test_a_row_with_fewer_negatives_sets_the_number_for_all() -> None:
    rows = negative_rows([mined("q1", "n1", "c-1"), mined("q1", "n2", "c-2"), mined("q2", "n3", "c-3")], {})
    assert dataset_of(rows).column_names == ["anchor", "positive", "negative_1"]


def test_the_digest_sees_texts_groups_and_order() -> None:
    pairs = [pair_of("one", VALVE), pair_of("two", PUMP)]
    rows = pair_rows(pairs, {})
    others = [
        pair_rows(pairs, {VALVE.chunk_id: "cluster"}),
        list(reversed(rows)),
        [rows[0], dataclasses.replace(rows[1], negatives=("n",))],
        rows[:1],
    ]
    assert rows_digest(rows) == rows_digest(pair_rows(pairs, {}))
    assert rows_digest(rows) not in [rows_digest(other) for other in others]
