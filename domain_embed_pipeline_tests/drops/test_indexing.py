from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from domain_embed_pipeline.corpus.settings import CorpusSettings
from domain_embed_pipeline.drops.watching import indexed_store
from domain_embed_pipeline.errors import EmptyCorpusError, ServingError
from domain_embed_pipeline.records import Corpus
from domain_embed_pipeline.serving.live import live_collection
from domain_embed_pipeline.tables import load_record, save_record
from domain_embed_pipeline_tests.drops.scenario import Place, sentence


def test_new_edited_and_deleted_documents_leave_exactly_the_corpus(place: Place) -> None:
    live = place.go_live()
    place.write("new.md", 100, 101)
    place.write("handbook-0.md", 0, 1, 2, 3, 77)
    (place.documents / "handbook-3.md").unlink()
    served = place.index()
    assert place.live_ids() == place.ids_now()
    assert served.reconciliation is not None
    assert served.reconciliation.collection == live.collection
    assert served.added_documents == ("new.md",)
    assert served.changed_documents == ("handbook-0.md",)
    assert served.deleted_documents == ("handbook-3.md",)
    assert place.found(100) and place.found(77) and not place.found(16)


def test_only_chunks_that_the_live_collection_lacks_are_encoded(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from domain_embed_pipeline.encoding.vector_cache import CachedEncoder

    place.go_live()
    place.write("new.md", *range(100, 104))
    encoded: list[str] = []
    original = CachedEncoder.encode_passages

    def counting(self: CachedEncoder, texts: list[str]) -> object:
        encoded.extend(texts)
        return original(self, texts)

    monkeypatch.setattr(CachedEncoder, "encode_passages", counting)
    served = place.index()
    new = {chunk.embedding_text for chunk in served.chunks if chunk.document_id == "new.md"}
    assert set(encoded) == new
    assert len(encoded) == len(new)


def test_a_renamed_document_is_not_encoded_again(place: Place) -> None:
    place.go_live()
    (place.documents / "handbook-2.md").rename(place.documents / "renamed.md")
    served = place.index()
    assert served.reconciliation is not None
    assert (served.reconciliation.added, served.reconciliation.deleted) == (0, 0)
    assert served.reconciliation.updated > 0
    assert (served.added_documents, served.deleted_documents) == (("renamed.md",), ("handbook-2.md",))


def test_a_second_run_changes_nothing_and_says_so(place: Place) -> None:
    place.go_live()
    place.write("new.md", 100)
    again = place.index(before=place.index())
    assert again.reconciliation is not None
    assert (again.reconciliation.added, again.reconciliation.updated, again.reconciliation.deleted) == (0, 0, 0)
    assert (again.added_documents, again.changed_documents, again.deleted_documents) == ((), (), ())
    assert "already" in again.reason


def test_when_nothing_is_live_it_says_so_and_does_nothing(place: Place) -> None:
    served = place.index()
    assert served.reconciliation is None
    assert "Nothing is live" in served.reason
    assert indexed_store(place.workspace).load() is None


def test_documents_are_cut_as_the_live_collection_was_whatever_was_materialized_since(place: Place) -> None:
    long_text = " ".join(sentence(number) for number in range(200, 260))
    (place.documents / "long.md").write_text(f"# Long\n\n{long_text}\n", encoding="utf-8")
    place.go_live()
    before = place.live_ids()
    # A training with other chunk sizes has begun, and will perhaps never go live.
    other = place.workspace.load_corpus(dataclasses.replace(CorpusSettings(), max_tokens=40))
    assert {chunk.chunk_id for chunk in other.chunks} != before
    save_record(other, str(place.workspace.tables / "corpus_chunks"))
    served = place.index()
    assert place.live_ids() == before
    assert served.reconciliation is not None
    assert served.reconciliation.added == 0
    assert load_record(Corpus, str(place.workspace.tables / "corpus_chunks")) == other


def test_the_live_collection_says_in_whose_tokens_its_chunks_were_measured(place: Place, tiny_model: str) -> None:
    place.go_live()
    with place.workspace.open_store() as client:
        live = live_collection(client, place.workspace.settings.serving_alias)
    assert live is not None
    assert live.chunking["tokenizer"] == tiny_model
    assert CorpusSettings.from_record(live.chunking) == CorpusSettings()


def test_an_empty_folder_never_empties_the_index(place: Place) -> None:
    place.go_live()
    before = place.live_ids()
    for path in place.documents.iterdir():
        path.unlink()
    with pytest.raises(EmptyCorpusError):
        place.index()
    assert place.live_ids() == before


def test_more_than_the_allowed_share_is_not_deleted_at_once(place: Place, tmp_path: Path) -> None:
    from domain_embed_pipeline.drops.indexing import index_new_documents

    place.go_live()
    before = place.live_ids()
    for number in range(3):
        (place.documents / f"handbook-{number}.md").unlink()
    with pytest.raises(ServingError, match="most_deleted_share"):
        index_new_documents(place.workspace, before=None, most_deleted_share=0.5)
    assert place.live_ids() == before
    index_new_documents(place.workspace, before=None, most_deleted_share=1)
    assert place.live_ids() == place.ids_now()
