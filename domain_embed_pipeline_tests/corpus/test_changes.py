from __future__ import annotations

from pathlib import Path

from domain_embed_pipeline.corpus.changes import compare_corpora
from domain_embed_pipeline_tests.corpus.helpers import corpus_of


def write(root: Path, **texts: str) -> None:
    for name, text in texts.items():
        (root / f"{name}.md").write_text(text, encoding="utf-8")


def test_what_came_changed_and_went_is_told_apart(tmp_path: Path) -> None:
    write(tmp_path, kept="Same.", edited="Before.", removed="Old.")
    old = corpus_of(tmp_path)
    write(tmp_path, edited="After.", added="New.")
    (tmp_path / "removed.md").unlink()
    new = corpus_of(tmp_path)
    changes = compare_corpora(old, new)
    assert (changes.added_documents, changes.changed_documents, changes.removed_documents) == (
        ("added.md",),
        ("edited.md",),
        ("removed.md",),
    )
    texts = {chunk.chunk_id: chunk.text for chunk in (*old.chunks, *new.chunks)}
    assert {texts[chunk_id] for chunk_id in changes.added_chunks} == {"After.", "New."}
    assert {texts[chunk_id] for chunk_id in changes.removed_chunks} == {"Before.", "Old."}
    assert (changes.unchanged_document_count, changes.kept_chunk_count, changes.chunk_share) == (1, 1, 2 / 3)


def test_everything_came_when_there_was_nothing(tmp_path: Path) -> None:
    write(tmp_path, a="One.", b="Two.")
    changes = compare_corpora(None, corpus_of(tmp_path))
    assert (len(changes.added_documents), len(changes.added_chunks), changes.chunk_share) == (2, 2, 1.0)


def test_the_same_corpus_has_not_changed(tmp_path: Path) -> None:
    write(tmp_path, a="One.")
    assert compare_corpora(corpus_of(tmp_path), corpus_of(tmp_path)).is_empty


def test_a_moved_document_costs_no_new_chunk(tmp_path: Path) -> None:
    write(tmp_path, a="One.", b="Two.")
    old = corpus_of(tmp_path)
    (tmp_path / "a.md").rename(tmp_path / "c.md")
    changes = compare_corpora(old, corpus_of(tmp_path))
    assert (changes.added_documents, changes.removed_documents) == (("c.md",), ("a.md",))
    assert (changes.added_chunks, changes.removed_chunks) == ((), ())
    assert not changes.is_empty
