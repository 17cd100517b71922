from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from domain_embed_pipeline.drops.releasing import CaughtUpRelease, release_caught_up
from domain_embed_pipeline.drops.watching import indexed_store
from domain_embed_pipeline.errors import CorpusError
from domain_embed_pipeline.registry.base import register_base_model
from domain_embed_pipeline.registry.manifest import ModelVersion
from domain_embed_pipeline.serving import release as releasing
from domain_embed_pipeline.serving.alias import current_target, swap_alias
from domain_embed_pipeline.serving.records import AliasSwap, ServingCollection
from domain_embed_pipeline_tests.drops.scenario import APPROVED, Place, place_of
from domain_embed_pipeline_tests.serving.qdrant_double import running_double
from domain_embed_pipeline_tests.tiny_model import build_tiny_model, planted_words


def other_model(place: Place, folder: Path) -> ModelVersion:
    """A model with other weights: the candidate."""
    return register_base_model(place.workspace.registry, build_tiny_model(folder / "other", planted_words(), seed=5))


def release(place: Place, collection: ServingCollection, expected: str) -> CaughtUpRelease:
    return release_caught_up(place.workspace, collection, decision=APPROVED, expected_current=expected, keep_previous=2)


def test_what_changed_during_a_build_is_in_the_new_collection_and_what_went_stays_away(
    place: Place, tmp_path: Path
) -> None:
    live = place.go_live()
    candidate = place.build(place.workspace.load_corpus(), model=other_model(place, tmp_path))
    place.write("new.md", 100, 101)
    place.write("handbook-0.md", 0, 1, 2, 3, 77)
    (place.documents / "handbook-3.md").unlink()
    place.index()
    assert place.ids(live.collection) == place.ids_now()

    released = release(place, candidate, live.collection)
    assert released.swap.collection == candidate.collection
    assert place.live_ids() == place.ids_now()
    assert released.added > 0 and released.deleted > 0
    assert place.found(100) and not place.found(16)


def test_a_change_between_the_first_catch_up_and_the_move_is_taken_by_the_second(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = place.go_live()
    candidate = place.build(place.workspace.load_corpus(), model=other_model(place, tmp_path))

    def change_and_swap(*arguments: Any, **keywords: Any) -> AliasSwap:
        place.write("late.md", 300)
        (place.documents / "handbook-1.md").unlink()
        return swap_alias(*arguments, **keywords)

    monkeypatch.setattr(releasing, "swap_alias", change_and_swap)
    released = release(place, candidate, live.collection)
    assert released.before is None
    assert released.after is not None
    assert place.live_ids() == place.ids_now()
    assert place.found(300)


def test_without_a_change_nothing_is_caught_up_and_the_sensor_learns_what_is_indexed(
    place: Place, tmp_path: Path
) -> None:
    live = place.go_live()
    candidate = place.build(place.workspace.load_corpus(), model=other_model(place, tmp_path))
    released = release(place, candidate, live.collection)
    assert (released.before, released.after) == (None, None)
    indexed = indexed_store(place.workspace).load()
    assert indexed is not None
    assert indexed.collection == candidate.collection


def test_documents_that_cannot_be_read_stop_the_release_before_the_alias_moves(place: Place, tmp_path: Path) -> None:
    live = place.go_live()
    candidate = place.build(place.workspace.load_corpus(), model=other_model(place, tmp_path))
    place.documents.rename(tmp_path / "elsewhere")
    with pytest.raises(CorpusError):
        release(place, candidate, live.collection)
    with place.workspace.open_store() as client:
        assert current_target(client, place.workspace.settings.serving_alias) == live.collection


@pytest.mark.slow
def test_a_corpus_that_changes_throughout_a_rebuild_of_5000_chunks_is_served_exactly(
    tmp_path: Path, tiny_model: str
) -> None:
    """Another thread drops, edits and deletes documents and has them indexed, on a server, while the rebuild runs."""
    with running_double() as server:
        place = place_of(tmp_path, tiny_model, qdrant_url=server.url)
        for number in range(50):
            place.write_rows(f"rows-{number:02}.jsonl", range(100 * number, 100 * number + 100))
        live = place.go_live()
        at_start = place.workspace.load_corpus()
        assert len(at_start.chunks) == 5_000
        building = threading.Event()
        building.set()
        rounds = []

        def drops() -> None:
            number = 0
            while building.is_set() or number < 3:
                place.write_rows(f"new-{number}.jsonl", range(10_000 + 10 * number, 10_010 + 10 * number))
                place.write_rows(f"rows-{number:02}.jsonl", range(100 * number + 7, 100 * number + 100))
                (place.documents / f"rows-{49 - number:02}.jsonl").unlink()
                place.index()
                rounds.append(place.ids(live.collection) == place.ids_now())
                number += 1

        sensor = threading.Thread(target=drops)
        sensor.start()
        try:
            candidate = place.build(at_start, model=other_model(place, tmp_path))
        finally:
            building.clear()
            sensor.join()
        assert rounds and all(rounds)
        assert place.ids(candidate.collection) != place.ids_now()
        released = release(place, candidate, live.collection)
        assert released.added > 0 and released.deleted > 0
        assert place.live_ids() == place.ids_now()
