from __future__ import annotations

import datetime
import threading

import pytest
from qdrant_client import models

from domain_embed_pipeline.errors import AliasConflictError, ServingError
from domain_embed_pipeline.serving import alias as alias_module
from domain_embed_pipeline.serving.alias import alias_lock, current_target, prune, rollback, swap_alias
from domain_embed_pipeline.serving.metadata import collections_of, read_metadata, write_metadata
from domain_embed_pipeline.serving.records import AliasSwap, ServingCollection
from domain_embed_pipeline.tables import load_record, save_record
from domain_embed_pipeline_tests.serving.conftest import Workplace
from domain_embed_pipeline_tests.serving.qdrant_double import QdrantDouble
from domain_embed_pipeline_tests.serving.scenario import ALIAS, QUICK, WordEncoder, chunks_of, plan_of

CHUNKS = chunks_of(12)


def encoder_of(number: int) -> WordEncoder:
    return WordEncoder(f"model-{number}", seed=number)


def verified(workplace: Workplace, number: int) -> ServingCollection:
    encoder = encoder_of(number)
    return workplace.build_passed(plan_of(encoder, CHUNKS), CHUNKS, encoder)


def live(workplace: Workplace, *numbers: int) -> list[str]:
    """One collection after the other goes live."""
    names = []
    for number in numbers:
        built = verified(workplace, number)
        workplace.swap(built.collection)
        names.append(built.collection)
    return names


def swap(workplace: Workplace, collection: str, expected: str | None) -> AliasSwap:
    return swap_alias(
        workplace.client,
        ALIAS,
        collection,
        expected_current=expected,
        lock_folder=workplace.lock_folder,
        retries=QUICK,
    )


def back(workplace: Workplace, to: str | None = None) -> AliasSwap:
    return rollback(workplace.client, ALIAS, to, lock_folder=workplace.lock_folder, retries=QUICK)


def pruned(workplace: Workplace, keep: int, now: datetime.datetime | None = None) -> tuple[str, ...]:
    return prune(workplace.client, ALIAS, keep, lock_folder=workplace.lock_folder, now=now, retries=QUICK)


def target(workplace: Workplace) -> str | None:
    return current_target(workplace.client, ALIAS, retries=QUICK)


# --- swap ---


def test_the_first_swap_creates_the_alias(workplace: Workplace) -> None:
    built = verified(workplace, 1)
    result = swap(workplace, built.collection, None)
    assert (target(workplace), result.swapped, result.previous_collection) == (built.collection, True, None)


def test_a_swap_moves_the_alias_and_remembers_the_way_back(workplace: Workplace) -> None:
    (first,) = live(workplace, 1)
    second = verified(workplace, 2)
    result = swap(workplace, second.collection, first)
    assert (target(workplace), result.previous_collection) == (second.collection, first)
    metadata = read_metadata(workplace.client, ALIAS, retries=QUICK)
    assert metadata is not None and metadata.previous_collection == first


def test_a_swap_refuses_when_somebody_else_moved_the_alias(workplace: Workplace) -> None:
    first, second = live(workplace, 1, 2)
    third = verified(workplace, 3)
    with pytest.raises(AliasConflictError, match=f"points at {second}.*started when it pointed at {first}"):
        swap(workplace, third.collection, first)
    assert target(workplace) == second


def test_a_swap_refuses_when_an_alias_appeared_or_went_away(workplace: Workplace) -> None:
    (first,) = live(workplace, 1)
    second = verified(workplace, 2)
    with pytest.raises(AliasConflictError, match="pointed at nothing"):
        swap(workplace, second.collection, None)
    workplace.client.update_collection_aliases(
        [models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=ALIAS))]
    )
    with pytest.raises(AliasConflictError, match="points at nothing"):
        swap(workplace, second.collection, first)


def test_a_swap_that_was_done_before_a_crash_is_not_a_conflict(workplace: Workplace) -> None:
    first, second = live(workplace, 1, 2)
    again = swap(workplace, second, first)
    assert (again.swapped, again.reason, again.previous_collection) == (False, "it points there already", first)


def test_an_unverified_collection_does_not_go_live(workplace: Workplace) -> None:
    encoder = encoder_of(1)
    built = workplace.build(plan_of(encoder, CHUNKS), CHUNKS, encoder)
    with pytest.raises(ServingError, match="is building"):
        swap(workplace, built.collection, None)
    assert target(workplace) is None


def test_a_verified_collection_that_lost_its_points_does_not_go_live(workplace: Workplace) -> None:
    built = verified(workplace, 1)
    points, _ = workplace.client.scroll(built.collection, limit=100)
    workplace.client.delete(built.collection, [point.id for point in points])
    with pytest.raises(ServingError, match="not fit to serve"):
        swap(workplace, built.collection, None)


def test_a_collection_that_bears_the_name_of_the_alias_stops_the_swap(workplace: Workplace) -> None:
    built = verified(workplace, 1)
    workplace.client.create_collection(ALIAS, vectors_config={})
    with pytest.raises(AliasConflictError, match=f"A collection is named {ALIAS}"):
        swap(workplace, built.collection, None)


@pytest.mark.parametrize("name", ["manuals__nothing__here", "somebody-elses"])
def test_a_target_that_is_missing_or_not_ours_is_refused(workplace: Workplace, name: str) -> None:
    workplace.client.create_collection("somebody-elses", vectors_config={})
    built = verified(workplace, 1)
    with pytest.raises(ServingError, match=f"not a collection that was built for.*{built.collection}"):
        swap(workplace, name, None)


def test_a_target_of_another_alias_is_refused(workplace: Workplace) -> None:
    built = verified(workplace, 1)
    with pytest.raises(ServingError, match="not a collection that was built for the alias other"):
        swap_alias(
            workplace.client, "other", built.collection, expected_current=None, lock_folder=workplace.lock_folder
        )


def test_two_runs_that_swap_at_once_one_wins_and_the_other_is_told_why(workplace: Workplace) -> None:
    (first,) = live(workplace, 1)
    rivals = [verified(workplace, number).collection for number in (2, 3)]
    outcomes: dict[str, object] = {}
    start = threading.Barrier(2)

    def run(collection: str) -> None:
        start.wait()
        try:
            outcomes[collection] = swap(workplace, collection, first)
        except AliasConflictError as error:
            outcomes[collection] = error

    threads = [threading.Thread(target=run, args=(rival,)) for rival in rivals]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = [name for name, outcome in outcomes.items() if isinstance(outcome, AliasSwap)]
    (refused,) = [outcome for outcome in outcomes.values() if isinstance(outcome, AliasConflictError)]
    assert target(workplace) == winner
    assert winner in str(refused)


def test_the_alias_goes_back_when_the_new_collection_does_not_answer(remote: Workplace, double: QdrantDouble) -> None:
    (first,) = live(remote, 1)
    second = verified(remote, 2)
    double.fail(f"POST /collections/{ALIAS}/points/query", times=50, status=400)
    with pytest.raises(ServingError, match=f"The alias is back at {first}"):
        swap(remote, second.collection, first)
    assert target(remote) == first


def test_a_first_swap_that_does_not_answer_leaves_no_alias(remote: Workplace, double: QdrantDouble) -> None:
    built = verified(remote, 1)
    double.fail(f"POST /collections/{ALIAS}/points/query", times=50, status=400)
    with pytest.raises(ServingError, match="failed after the move"):
        swap(remote, built.collection, None)
    assert target(remote) is None


@pytest.mark.parametrize("after", [False, True], ids=["refused", "carried out, answer lost"])
def test_a_swap_survives_a_server_that_fails_now_and_then(remote: Workplace, double: QdrantDouble, after: bool) -> None:
    (first,) = live(remote, 1)
    second = verified(remote, 2)
    double.fail("POST /collections/aliases", times=2, status=500, after=after)
    assert swap(remote, second.collection, first).swapped
    assert target(remote) == second.collection


def test_a_swap_is_one_request(remote: Workplace, double: QdrantDouble) -> None:
    (first,) = live(remote, 1)
    second = verified(remote, 2)
    before = double.count("POST /collections/aliases")
    swap(remote, second.collection, first)
    assert double.count("POST /collections/aliases") == before + 1


def test_a_move_by_another_host_in_the_same_moment_is_reported(remote: Workplace, double: QdrantDouble) -> None:
    first, second = live(remote, 1, 2)
    third = verified(remote, 3)
    create = models.CreateAlias(collection_name=first, alias_name=ALIAS)
    move = models.CreateAliasOperation(create_alias=create)
    double.overtake = lambda: double.memory.update_collection_aliases([move])
    with pytest.raises(AliasConflictError, match=f"points at {first} a moment later"):
        swap(remote, third.collection, second)


def test_a_lock_that_is_held_is_waited_for_and_then_named(embedded: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    built = verified(embedded, 1)
    monkeypatch.setattr(alias_module, "LOCK_TIMEOUT_S", 0.1)
    with alias_lock(embedded.lock_folder, ALIAS), pytest.raises(AliasConflictError, match=r"manuals\.alias\.lock"):
        swap(embedded, built.collection, None)


def test_a_swap_record_survives_its_folder(embedded: Workplace, tmp_path: object) -> None:
    built = verified(embedded, 1)
    result = swap(embedded, built.collection, None)
    save_record(result, f"{tmp_path}/record")
    assert load_record(AliasSwap, f"{tmp_path}/record") == result


# --- rollback ---


def test_a_rollback_goes_where_the_alias_pointed_before_and_then_further_back(workplace: Workplace) -> None:
    first, second, third = live(workplace, 1, 2, 3)
    assert back(workplace).collection == second
    assert back(workplace).collection == first
    assert target(workplace) == first
    with pytest.raises(ServingError, match=f"{second}.*{third}|{third}.*{second}"):
        back(workplace)


@pytest.mark.parametrize("by", ["collection", "model version"])
def test_a_rollback_goes_to_a_named_version(workplace: Workplace, by: str) -> None:
    first, _, _ = live(workplace, 1, 2, 3)
    result = back(workplace, first if by == "collection" else "model-1")
    assert (target(workplace), result.kind, result.model_version) == (first, "rollback", "model-1")


def test_a_rollback_takes_less_than_a_second(embedded: Workplace) -> None:
    live(embedded, 1, 2)
    assert back(embedded).duration_s < 1.0


def test_a_rollback_without_anything_before_it_changes_nothing(workplace: Workplace) -> None:
    (first,) = live(workplace, 1)
    with pytest.raises(ServingError, match="cannot go back"):
        back(workplace)
    assert target(workplace) == first


def test_a_rollback_never_goes_to_an_unfinished_collection(workplace: Workplace) -> None:
    first, second = live(workplace, 1, 2)
    write_metadata(workplace.client, first, {"state": "building"}, retries=QUICK)
    with pytest.raises(ServingError, match="cannot go back"):
        back(workplace)
    assert target(workplace) == second


# --- prune ---


def test_pruning_keeps_what_is_live_and_the_last_that_were(workplace: Workplace) -> None:
    first, second, third, fourth = live(workplace, 1, 2, 3, 4)
    assert pruned(workplace, 2) == (first,)
    assert {row.collection for row in collections_of(workplace.client, ALIAS)} == {second, third, fourth}
    assert pruned(workplace, 2) == ()


def test_pruning_keeps_the_way_back_first(workplace: Workplace) -> None:
    first, second, third = live(workplace, 1, 2, 3)
    back(workplace)
    assert pruned(workplace, 1) == (third,)
    assert target(workplace) == second
    assert back(workplace).collection == first


def test_pruning_spares_what_any_alias_points_at(workplace: Workplace) -> None:
    first, second = live(workplace, 1, 2)
    create = models.CreateAlias(collection_name=first, alias_name="manuals-audit")
    workplace.client.update_collection_aliases([models.CreateAliasOperation(create_alias=create)])
    assert pruned(workplace, 0) == ()
    assert target(workplace) == second


def test_pruning_touches_nothing_of_others(workplace: Workplace) -> None:
    live(workplace, 1)
    workplace.client.create_collection(f"{ALIAS}__looks-like__ours", vectors_config={})
    workplace.client.create_collection("unrelated", vectors_config={})
    assert pruned(workplace, 0) == ()


def test_pruning_leaves_a_build_under_way_and_removes_an_abandoned_one(workplace: Workplace) -> None:
    live(workplace, 1)
    encoder = encoder_of(2)
    unfinished = workplace.build(plan_of(encoder, CHUNKS), CHUNKS, encoder).collection
    waiting = verified(workplace, 3).collection
    assert pruned(workplace, 0) == ()
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=8)
    assert set(pruned(workplace, 0, later)) == {unfinished, waiting}


def test_a_half_pruned_collection_is_never_served_and_goes_at_the_next_pruning(workplace: Workplace) -> None:
    first, _, _ = live(workplace, 1, 2, 3)
    write_metadata(workplace.client, first, {"state": "deleting"}, retries=QUICK)
    with pytest.raises(ServingError):
        back(workplace, first)
    assert pruned(workplace, 2) == (first,)


def test_a_negative_number_to_keep_is_refused(embedded: Workplace) -> None:
    with pytest.raises(ServingError, match="negative"):
        pruned(embedded, -1)
