"""Ids depend on content alone, and on all of it."""

from __future__ import annotations

import subprocess
import sys
import uuid

from hypothesis import given
from hypothesis import strategies as st

from domain_embed_pipeline.ids import (
    chunk_id_of,
    digest_of,
    digest_of_json,
    normalise_text,
    pair_id_of,
    point_id_of,
    query_id_of,
    version_of,
)

TEXTS = st.text(max_size=30)


@given(st.lists(TEXTS, max_size=4), st.lists(TEXTS, max_size=4))
def test_digests_of_different_parts_differ(one: list[str], other: list[str]) -> None:
    assert (digest_of(*one) == digest_of(*other)) == (one == other)


def test_lone_surrogates_have_a_digest() -> None:
    assert digest_of("\ud800") != digest_of("\ud801")


@given(TEXTS)
def test_normalising_twice_changes_nothing_more(text: str) -> None:
    assert normalise_text(normalise_text(text)) == normalise_text(text)


def test_composed_and_decomposed_letters_and_white_space_are_one_text() -> None:
    assert chunk_id_of("caf\u00e9  au\nlait", " Menu ") == chunk_id_of("cafe\u0301 au lait", "Menu")


def test_a_title_is_not_a_part_of_the_text() -> None:
    assert chunk_id_of("a b", "") != chunk_id_of("b", "a")


def test_the_same_text_has_another_id_as_chunk_query_or_pair() -> None:
    ids = [chunk_id_of("x", ""), query_id_of("x"), pair_id_of("x", "")]
    assert [name[:2] for name in ids] == ["c-", "q-", "p-"]
    assert len({name[2:] for name in ids}) == 3


@given(st.lists(TEXTS, unique=True, max_size=5), st.randoms())
def test_a_version_does_not_depend_on_order(parts: list[str], generator: object) -> None:
    shuffled = list(parts)
    generator.shuffle(shuffled)  # type: ignore[attr-defined]
    assert version_of("corpus", parts) == version_of("corpus", shuffled)


def test_a_version_counts_repeated_parts_and_names_its_kind() -> None:
    assert version_of("corpus", ["a"]) != version_of("corpus", ["a", "a"])
    assert version_of("corpus", ["a"]).startswith("corpus-")
    assert version_of("corpus", ["a"])[7:] != version_of("pairs", ["a"])[6:]


def test_json_digests_do_not_depend_on_the_order_of_keys() -> None:
    assert digest_of_json({"a": 1, "b": [2]}) == digest_of_json({"b": [2], "a": 1})
    assert digest_of_json({"a": 1}) != digest_of_json({"a": "1"})


def test_point_ids_are_uuids_that_qdrant_takes() -> None:
    assert str(uuid.UUID(point_id_of("c-1"))) == point_id_of("c-1") != point_id_of("c-2")


def test_ids_are_the_same_in_another_process_and_have_not_moved() -> None:
    code = "from domain_embed_pipeline.ids import *; print(chunk_id_of('text', 'title'), point_id_of('c-1'))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert printed == [chunk_id_of("text", "title"), point_id_of("c-1")]
    assert printed == ["c-15982e2b010a2be1e7f3f5e1", "eabc7dca-b0c0-52d6-801e-ac9a9960028b"]
