"""The simplest trained model within noise of the best wins."""

from __future__ import annotations

from domain_embed_pipeline.training.candidate import CandidateScore, Contender, choose_candidate
from domain_embed_pipeline.training.dev_set import DevScore


def flat(*values: float) -> DevScore:
    return DevScore(values, values)


def chosen(*contenders: tuple[str, int, DevScore], tolerance: float = 1.0) -> CandidateScore:
    rows = choose_candidate(
        [Contender(name, "stage_one", simple, score) for name, simple, score in contenders], tolerance=tolerance
    )
    (winner,) = [row for row in rows if row.chosen]
    return winner


def test_a_clear_winner_is_taken_however_complex() -> None:
    winner = chosen(("base", 0, flat(0, 0, 0, 0)), ("tuned", 1, flat(1, 1, 1, 1)))
    assert (winner.model_version, winner.selection, winner.difference_from_best) == ("tuned", 1, 0)


def test_the_simpler_wins_when_the_gain_is_within_one_standard_error() -> None:
    # Differences -1, 0, 0, 0: mean -0.25, standard error 0.25.
    assert chosen(("one", 1, flat(0, 1, 1, 1)), ("two", 2, flat(1, 1, 1, 1))).model_version == "one"


def test_without_tolerance_the_best_wins() -> None:
    contenders = ("one", 1, flat(0, 1, 1, 1)), ("two", 2, flat(1, 1, 1, 1))
    assert chosen(*contenders, tolerance=0).model_version == "two"


def test_the_base_does_not_win_by_simplicity_since_the_verdict_protects_it() -> None:
    base, blend = ("base", 0, flat(0, 1, 1, 1)), ("blend", 3, flat(1, 1, 1, 1))
    assert chosen(base, ("one", 1, flat(1, 1, 1, 0)), blend).model_version == "one"


def test_the_base_is_the_candidate_when_no_trained_model_is_above_it() -> None:
    assert chosen(("base", 0, flat(1, 1, 1, 1)), ("one", 1, flat(1, 1, 1, 0))).model_version == "base"
    assert chosen(("base", 0, flat(1, 1, 1, 0)), ("one", 1, flat(0, 1, 1, 1))).model_version == "base"


def test_among_equally_simple_ones_the_better_wins() -> None:
    winner = chosen(("blend-50", 3, flat(1, 1, 1, 0)), ("blend-75", 3, flat(1, 1, 1, 1)), ("base", 0, flat(0, 0, 0, 0)))
    assert winner.model_version == "blend-75"


def test_of_equal_scores_the_simpler_is_the_best() -> None:
    assert chosen(("two", 2, flat(1, 0)), ("one", 1, flat(1, 0))).model_version == "one"


def test_a_stage_that_hurts_is_dropped() -> None:
    winner = chosen(("base", 0, flat(0, 0, 0, 1)), ("one", 1, flat(1, 1, 1, 1)), ("two", 2, flat(0, 0, 1, 1)))
    assert winner.model_version == "one"


def test_one_dev_query_is_enough_to_choose() -> None:
    assert chosen(("base", 0, flat(0.0)), ("one", 1, flat(1.0))).model_version == "one"


def test_every_contender_is_reported_with_its_distance_from_the_best() -> None:
    rows = choose_candidate(
        [Contender("base", "base", 0, flat(0, 1)), Contender("one", "stage_one", 1, flat(1, 1))], tolerance=0.5
    )
    assert [(row.model_version, row.difference_from_best, row.standard_error) for row in rows] == [
        ("base", -0.5, 0.5),
        ("one", 0.0, 0.0),
    ]


def test_of_two_within_noise_the_one_that_forgot_much_more_is_set_aside() -> None:
    equal = flat(1, 1, 0, 1)
    stage = Contender("stage", "stage_one", 1, equal, guard_ndcg_at_10=0.60)
    blend = Contender("blend", "blend", 3, equal, guard_ndcg_at_10=0.70)
    base = Contender("base", "base", 0, flat(0, 0, 0, 0), guard_ndcg_at_10=0.75)
    by_tolerance = {
        tolerance: next(
            row.model_version
            for row in choose_candidate([base, stage, blend], tolerance=1.0, guard_tolerance=tolerance)
            if row.chosen
        )
        for tolerance in (0.03, 0.2)
    }
    assert by_tolerance == {0.03: "blend", 0.2: "stage"}
