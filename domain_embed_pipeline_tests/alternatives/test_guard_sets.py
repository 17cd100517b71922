"""The guard sets that ship with the project, and the user's own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from domain_embed_pipeline.alternatives.guard_sets import SHIPPED_FOLDER, load_guard_sets
from domain_embed_pipeline.alternatives.judged_sets import load_judged_set
from domain_embed_pipeline.errors import CorpusSourceError
from domain_embed_pipeline.evaluation.guards import GUARD_METRIC, compare_on_guards, guard_rows, guard_score
from domain_embed_pipeline_tests.fakes import KeywordEncoder

SHIPPED = load_guard_sets()


def test_two_sets_ship_with_at_least_sixty_passages_and_queries_each() -> None:
    assert [guard.name for guard in SHIPPED] == ["everyday-home", "everyday-knowledge"]
    for guard in SHIPPED:
        assert len(guard.corpus.chunks) >= 60
        assert len(guard.queries.queries_of("test")) >= 60
        assert not guard.queries.lost_queries
        assert all(15 <= len(chunk.text.split()) <= 70 for chunk in guard.corpus.chunks)


def test_a_guard_set_is_loaded_without_a_word_on_its_size(caplog: pytest.LogCaptureFixture) -> None:
    load_guard_sets()
    assert not caplog.records


def test_a_set_that_a_model_is_scored_on_says_what_it_cannot_show(caplog: pytest.LogCaptureFixture) -> None:
    load_judged_set(str(SHIPPED_FOLDER / "everyday-home"), needed_splits=("test",))
    assert "test queries can only show a gain" in caplog.text
    assert "dev" not in caplog.text


def test_no_shipped_query_gives_its_answer_away_by_its_words() -> None:
    for guard in SHIPPED:
        texts = {chunk.chunk_id: set(chunk.text.lower().split()) for chunk in guard.corpus.chunks}
        relevant = guard.queries.relevant_chunks()
        for query in guard.queries.queries:
            words = {word for word in query.text.lower().split() if len(word) > 3}
            shared = max(len(words & texts[chunk_id]) for chunk_id in relevant[query.query_id])
            assert shared <= max(2, len(words) / 2), query.text


def test_the_score_is_the_mean_of_what_each_query_got() -> None:
    guard = SHIPPED[0]
    encoder = KeywordEncoder(["dough", "lawn", "grass", "cat", "dog", "wine", "blade"])
    rows = guard_rows(encoder, guard)
    assert guard_score(encoder, guard) == pytest.approx(sum(row.ndcg_at_10 for row in rows) / len(rows))
    assert 0 < guard_score(encoder, guard) < 1


def test_a_model_that_lost_its_words_is_shown_to_be_worse_and_a_copy_is_not() -> None:
    texts = " ".join(chunk.text for chunk in SHIPPED[0].corpus.chunks).lower().split()
    words = sorted({word.strip(".,;:!?") for word in texts if len(word) > 5})
    rich, poor = KeywordEncoder(words), KeywordEncoder(["unheard"], model_version="poor")
    (lost,) = compare_on_guards(poor, rich, SHIPPED[:1])
    assert (lost.name, lost.metric, lost.verdict) == ("everyday-home", GUARD_METRIC, "worse")
    assert lost.difference == pytest.approx(guard_score(poor, SHIPPED[0]) - guard_score(rich, SHIPPED[0]))
    (same,) = compare_on_guards(rich, rich, SHIPPED[:1])
    assert (same.difference, same.verdict) == (0.0, "not_shown")


def test_the_users_own_set_takes_the_place_of_the_shipped_ones(tmp_path: Path) -> None:
    shutil.copytree(SHIPPED_FOLDER / "everyday-home", tmp_path / "mine")
    assert [guard.name for guard in load_guard_sets(f" {tmp_path / 'mine'} ,")] == ["mine"]
    assert load_guard_sets("none") == ()


def test_a_folder_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(CorpusSourceError, match="nowhere"):
        load_guard_sets(str(tmp_path / "nowhere"))
