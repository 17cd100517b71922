from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain_embed_pipeline.pairs.filters import memo as memo_module
from domain_embed_pipeline.pairs.filters.chain import all_filters, apply_filters, wording_filters
from domain_embed_pipeline.pairs.filters.memo import VerdictMemo
from domain_embed_pipeline.pairs.filters.settings import FilterSettings
from domain_embed_pipeline.records import TrainingPair
from domain_embed_pipeline_tests.pairs.helpers import chunk_of, corpus_of, pair_of, passage

_TEXTS = [passage(number) for number in range(6)]
_CORPUS = corpus_of([chunk_of(text) for text in _TEXTS])
_WORDINGS = (
    "what raises the pressure in case {}",
    "What does this passage say about case {}?",
    "I'm sorry, but I cannot write about case {}.",
    "HIT",
    "treatment of case {}",
)
_PAIRS = [pair_of(wording.format(place), text) for place, text in enumerate(_TEXTS) for wording in _WORDINGS]
_FILTERS = wording_filters(FilterSettings(), _CORPUS)
_EXPECTED = apply_filters(_PAIRS, _FILTERS)


def _run(folder: Path, pairs: list[TrainingPair], chosen: FilterSettings | None = None) -> VerdictMemo:
    chosen = chosen or FilterSettings()
    memo = VerdictMemo(folder, chosen)
    memo.filtered(pairs, wording_filters(chosen, _CORPUS))
    memo.save()
    return memo


def test_the_result_is_that_of_the_filters_in_the_order_of_the_pairs(tmp_path: Path) -> None:
    for _ in range(2):
        memo = VerdictMemo(tmp_path / "memo", FilterSettings())
        result = memo.filtered(_PAIRS, _FILTERS)
        memo.save()
        assert result.kept == _EXPECTED.kept
        assert sorted(map(repr, result.dropped)) == sorted(map(repr, _EXPECTED.dropped))


def test_a_later_run_judges_only_what_is_new(tmp_path: Path) -> None:
    assert _run(tmp_path / "memo", _PAIRS[:20]).judged == 20
    assert _run(tmp_path / "memo", _PAIRS).judged == len(_PAIRS) - 20
    assert _run(tmp_path / "memo", _PAIRS).judged == 0


def test_what_a_run_did_not_ask_for_is_forgotten(tmp_path: Path) -> None:
    _run(tmp_path / "memo", _PAIRS)
    _run(tmp_path / "memo", _PAIRS[:5])
    assert _run(tmp_path / "memo", _PAIRS).judged == len(_PAIRS) - 5


def test_other_thresholds_or_changed_rules_make_everything_be_judged_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _run(tmp_path / "memo", _PAIRS)
    assert _run(tmp_path / "memo", _PAIRS, replace(FilterSettings(), copy_share=0.5)).judged == len(_PAIRS)
    _run(tmp_path / "memo", _PAIRS)
    monkeypatch.setattr(memo_module, "_RULES", ("wording",))
    assert _run(tmp_path / "memo", _PAIRS).judged == len(_PAIRS)


def test_unreadable_verdicts_cost_time_and_nothing_else(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _run(tmp_path / "memo", _PAIRS)
    (tmp_path / "memo" / "record.json").write_text("{", encoding="utf-8")
    assert _run(tmp_path / "memo", _PAIRS).judged == len(_PAIRS)
    assert "all pairs are judged" in caplog.text


def test_the_same_question_of_another_source_or_chunk_is_judged_by_itself(tmp_path: Path) -> None:
    question = pair_of("Here are the ranges of the platelet count.", _TEXTS[0])
    title = replace(question, source="adjacent_sentence")
    result = VerdictMemo(tmp_path / "memo", FilterSettings()).filtered([question, title], _FILTERS)
    assert result.kept == (title,)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(_PAIRS), max_size=20), st.lists(st.sampled_from(_PAIRS), max_size=20))
def test_with_any_past_the_whole_chain_keeps_the_same(
    tmp_path: Path, past: list[TrainingPair], now: list[TrainingPair]
) -> None:
    folder = tmp_path / f"memo-{random.random()}"
    _run(folder, past)
    clusters = {chunk.chunk_id: chunk.chunk_id for chunk in _CORPUS.chunks}
    plain = all_filters(FilterSettings(), _CORPUS, chunk_clusters=clusters)
    remembering = all_filters(
        FilterSettings(), _CORPUS, chunk_clusters=clusters, memo=VerdictMemo(folder, FilterSettings())
    )
    assert apply_filters(now, remembering).kept == apply_filters(now, plain).kept
