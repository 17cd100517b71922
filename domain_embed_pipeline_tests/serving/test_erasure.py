from __future__ import annotations

from dataclasses import replace

import pytest

from domain_embed_pipeline.serving.contents import documents_in, stored_digests
from domain_embed_pipeline.serving.erasure import erase_document
from domain_embed_pipeline.serving.payload import DIGEST_KEY, payload_of
from domain_embed_pipeline_tests.serving.conftest import Workplace
from domain_embed_pipeline_tests.serving.qdrant_double import QdrantDouble
from domain_embed_pipeline_tests.serving.scenario import ALIAS, QUICK, WordEncoder, chunks_of, plan_of

OLD, NEW = WordEncoder("model-old", seed=1), WordEncoder("model-new", seed=2)
PLAIN = chunks_of(20)
SHARED = replace(PLAIN[0], document_ids=("manual-0.md", "manual-1.md"))
CHUNKS = [SHARED, *PLAIN[1:]]


def two_collections(workplace: Workplace) -> list[str]:
    return [workplace.go_live(plan_of(encoder, CHUNKS), CHUNKS, encoder).collection for encoder in (OLD, NEW)]


def test_a_document_goes_from_the_live_collection_and_from_those_kept_for_rollback(workplace: Workplace) -> None:
    names = two_collections(workplace)
    erased = erase_document(workplace.client, ALIAS, "manual-0.md", retries=QUICK)
    assert erased.by_collection == dict.fromkeys(names, 9)
    assert {chunk.chunk_id for chunk in erased.chunks} == {chunk.chunk_id for chunk in PLAIN[1:10]}
    for name in names:
        assert documents_in(workplace.client, name, retries=QUICK) == {"manual-1.md": 11}


def test_a_passage_that_another_document_holds_is_as_if_only_that_one_had_ever_held_it(workplace: Workplace) -> None:
    *_, name = two_collections(workplace)
    assert erase_document(workplace.client, ALIAS, "manual-0.md", retries=QUICK).shared == 2
    wanted = payload_of(replace(SHARED, document_ids=("manual-1.md",)), ("langchain", "llama_index"))[DIGEST_KEY]
    assert wanted in stored_digests(workplace.client, name, retries=QUICK).values()


def test_erasing_again_or_a_document_that_is_not_there_changes_nothing(workplace: Workplace) -> None:
    *_, name = two_collections(workplace)
    erase_document(workplace.client, ALIAS, "manual-0.md", retries=QUICK)
    before = stored_digests(workplace.client, name, retries=QUICK)
    for document in ("manual-0.md", "never-seen.md"):
        erased = erase_document(workplace.client, ALIAS, document, retries=QUICK)
        assert (set(erased.by_collection.values()), erased.shared, erased.chunks) == ({0}, 0, ())
    assert stored_digests(workplace.client, name, retries=QUICK) == before


@pytest.mark.parametrize("call", ["POST .*/scroll$", "POST .*/points/delete$", "POST .*/points/batch$"])
def test_a_server_that_fails_now_and_then_does_not_spoil_an_erasure(
    remote: Workplace, double: QdrantDouble, call: str
) -> None:
    *_, name = two_collections(remote)
    double.fail(call, times=2, status=503)
    erase_document(remote.client, ALIAS, "manual-0.md", retries=QUICK)
    assert documents_in(remote.client, name, retries=QUICK) == {"manual-1.md": 11}
