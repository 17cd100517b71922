from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain_embed_pipeline.defs.assets.corpus import document_splits
from domain_embed_pipeline.defs.config.corpus import SplitConfig
from domain_embed_pipeline.defs.resources import Deployment
from domain_embed_pipeline.errors import CorpusTooSmallError, PairsError
from domain_embed_pipeline.pairs.splits import SplitSettings, chunk_sides, split_documents
from domain_embed_pipeline.records import Corpus
from domain_embed_pipeline.tables import save_record
from domain_embed_pipeline_tests.pairs.helpers import chunk_of, corpus_of, documents_of, passage, split_of

_CHUNKS = {number: documents_of(1, start=number, chunks_each=1) for number in range(60)}
_SMALL = SplitSettings(minimum_clusters=2)


def _corpus(numbers: list[int] | range) -> Corpus:
    return corpus_of(chunk for number in numbers for chunk in _CHUNKS[number])


def test_shares_are_near_what_was_asked_for() -> None:
    corpus = corpus_of(documents_of(600, chunks_each=1))
    sides = list(split_of(split_documents(corpus, has_user_queries=False)).values())
    assert 0.06 < sides.count("test") / 600 < 0.14
    assert 0.06 < sides.count("dev") / 600 < 0.14


def test_every_document_has_one_side_and_every_chunk_one_cluster() -> None:
    corpus = _corpus(range(30))
    splits = split_documents(corpus, has_user_queries=False)
    assert [row.document_id for row in splits.documents] == sorted(
        document.document_id for document in corpus.documents
    )
    assert {row.chunk_id for row in splits.chunk_clusters} == {chunk.chunk_id for chunk in corpus.chunks}
    assert {row.split for row in splits.documents} == {"train", "dev", "test"}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.integers(0, 59), min_size=25, max_size=59, unique=True),
    st.lists(st.integers(0, 59), max_size=20, unique=True),
    st.randoms(use_true_random=False),
)
def test_a_document_keeps_its_side_when_others_come_go_or_change_places(
    numbers: list[int], others: list[int], rng: random.Random
) -> None:
    sides = split_of(split_documents(_corpus(numbers), has_user_queries=False))
    changed = [number for number in numbers if number not in others] + [
        other for other in others if other not in numbers
    ]
    rng.shuffle(changed)
    now = split_of(split_documents(_corpus(changed), has_user_queries=False, settings=_SMALL))
    moved = {name for name in sides.keys() & now.keys() if sides[name] != now[name]}
    # A side that would be empty is given one document, which may be another one later; nothing else ever moves.
    assert all("train" in (sides[name], now[name]) or (_alone(name, sides) and _alone(name, now)) for name in moved)
    assert len(moved) <= 4


def _alone(name: str, sides: Mapping[str, str]) -> bool:
    return Counter(sides.values())[sides[name]] == 1


@settings(max_examples=15, deadline=None)
@given(st.permutations(range(25)))
def test_the_order_of_files_changes_no_id_and_no_side(order: list[int]) -> None:
    expected = split_documents(_corpus(range(25)), has_user_queries=False)
    assert split_documents(_corpus(order), has_user_queries=False) == expected


def test_the_same_passage_in_two_documents_puts_both_on_one_side() -> None:
    for number in range(20):
        shared = passage(500 + number)
        corpus = corpus_of([*documents_of(20), chunk_of(shared, "left.md"), chunk_of(shared + " Again.", "right.md")])
        sides = split_of(split_documents(corpus, has_user_queries=False, settings=SplitSettings(seed=number)))
        assert sides["left.md"] == sides["right.md"]


def test_chunks_whose_near_duplicates_lie_on_several_sides_are_mixed() -> None:
    notice = passage(99)
    corpus = corpus_of([*documents_of(40), *(chunk_of(notice, f"d{number:03}.md") for number in range(40))])
    splits = split_documents(corpus, has_user_queries=False)
    sides = chunk_sides(corpus, splits)
    of_documents = split_of(splits)
    for chunk in corpus.chunks:
        expected = "mixed" if chunk.text == notice else of_documents[chunk.document_id]
        assert sides[chunk.chunk_id] == expected


def test_with_user_queries_nothing_is_held_out_and_no_corpus_is_too_small() -> None:
    splits = split_documents(_corpus(range(2)), has_user_queries=True)
    assert not splits.holds_out
    assert set(split_of(splits).values()) == {"train"}


def test_a_corpus_too_small_to_hold_out_anything_says_what_to_do() -> None:
    with pytest.raises(CorpusTooSmallError, match=r"9 independent documents.*at least 10.*[Ss]upply your own queries"):
        split_documents(_corpus(range(9)), has_user_queries=False)


def test_copies_of_one_document_do_not_make_a_corpus_large() -> None:
    corpus = corpus_of(chunk_of(passage(1) + f" Copy {number}.", f"c{number}.md") for number in range(15))
    with pytest.raises(CorpusTooSmallError, match="1 independent documents"):
        split_documents(corpus, has_user_queries=False)


def test_no_side_is_empty_in_the_smallest_corpus() -> None:
    for seed in range(12):
        splits = split_documents(_corpus(range(10)), has_user_queries=False, settings=SplitSettings(seed=seed))
        assert {row.split for row in splits.documents} == {"train", "dev", "test"}


def test_a_cluster_that_holds_much_of_the_corpus_is_trained_on() -> None:
    big = [chunk_of(passage(900 + part), "big.md", position=part) for part in range(20)]
    for seed in range(12):
        splits = split_documents(
            corpus_of([*documents_of(12), *big]), has_user_queries=False, settings=SplitSettings(seed=seed)
        )
        assert split_of(splits)["big.md"] == "train"


def test_earlier_sides_are_kept_when_a_near_duplicate_arrives() -> None:
    before = _corpus(range(40))
    earlier = split_documents(before, has_user_queries=False)
    sides = split_of(earlier)
    copies = [
        chunk_of(chunk.text + " Copied later.", f"0copy{number}.md")
        for number, chunk in enumerate(before.chunks)
        if sides[chunk.document_id] != "train"
    ]
    now = split_of(split_documents(corpus_of([*before.chunks, *copies]), has_user_queries=False, previous=earlier))
    assert {name: now[name] for name in sides} == sides


def test_the_asset_goes_by_the_splits_of_the_last_run(tmp_path: Path) -> None:
    before = _corpus(range(40))
    earlier = split_documents(before, has_user_queries=False, settings=SplitConfig().to_settings())
    sides = split_of(earlier)
    test_chunks = [chunk for chunk in before.chunks if sides[chunk.document_id] == "test"]
    copies = [chunk_of(f"{chunk.text} Copied.", f"0copy{n}.md") for n, chunk in enumerate(test_chunks * 3)]
    now = corpus_of([*before.chunks, *copies])
    save_record(earlier, str(tmp_path / "tables" / "document_splits"))
    result = document_splits(
        deployment=Deployment(artifacts_path=str(tmp_path)), config=SplitConfig(), corpus_chunks=now
    )
    assert {name: split_of(result.value)[name] for name in sides} == sides  # type: ignore[union-attr]
    assert {split_of(result.value)[f"0copy{n}.md"] for n in range(len(copies))} == {"test"}  # type: ignore[union-attr]


def test_splits_made_with_another_seed_are_no_guide() -> None:
    corpus = _corpus(range(40))
    earlier = split_documents(corpus, has_user_queries=False, settings=SplitSettings(seed=1))
    fresh = split_documents(corpus, has_user_queries=False, settings=SplitSettings(seed=2))
    assert split_documents(corpus, has_user_queries=False, settings=SplitSettings(seed=2), previous=earlier) == fresh
    assert split_of(fresh) != split_of(earlier)


def test_when_sides_become_near_duplicates_test_goes_before_train(caplog: pytest.LogCaptureFixture) -> None:
    before = _corpus(range(40))
    earlier = split_documents(before, has_user_queries=False)
    sides = split_of(earlier)
    chosen = {side: next(name for name in sides if sides[name] == side) for side in ("train", "test")}
    bridge = [chunk_of(chunk.text, "bridge.md") for chunk in before.chunks if chunk.document_id in chosen.values()]
    now = split_of(split_documents(corpus_of([*before.chunks, *bridge]), has_user_queries=False, previous=earlier))
    assert {now[name] for name in (*chosen.values(), "bridge.md")} == {"test"}
    assert "have become near duplicates" in caplog.text


def test_another_seed_is_another_split() -> None:
    corpus = _corpus(range(60))
    versions = {
        split_documents(corpus, has_user_queries=False, settings=SplitSettings(seed=seed)).splits_version
        for seed in range(3)
    }
    assert len(versions) == 3


@pytest.mark.parametrize(("dev", "test"), [(0.0, 0.1), (0.5, 0.5), (-0.1, 0.1)])
def test_shares_that_leave_nothing_to_train_on_are_refused(dev: float, test: float) -> None:
    with pytest.raises(PairsError, match="dev_share"):
        SplitSettings(dev_share=dev, test_share=test)
