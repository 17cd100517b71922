"""`domain-embed bench --encode`: the tutorial's `model.encode(corpus)` and our encoder on the same chunks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from domain_embed_pipeline.bench.speed import REPEATS, Speed, parts_of, take_turns
from domain_embed_pipeline.bench.tutorial import judgments, passage_of, queries_of_test, read_corpus
from domain_embed_pipeline.encoding.base_models import resolve_base_model
from domain_embed_pipeline.encoding.sentence_transformer import SentenceTransformerEncoder, describe_encoder, load_model
from domain_embed_pipeline.evaluation.metrics import recall_at_k
from domain_embed_pipeline.evaluation.retrieval import search

if TYPE_CHECKING:
    import numpy as np

_DEPTH = 10


def encode_speed(folder: Path, *, base_model: str, repeats: int = REPEATS) -> Speed:
    """Encode every chunk once each way, and compare speed, vectors and Recall@10.

    Args:
        folder: BEIR layout.
        base_model: Encoded without prompts, as the tutorial does.
        repeats: Turns; each takes a part of the chunks.
    """
    import numpy as np
    from sentence_transformers import SentenceTransformer

    corpus = read_corpus(folder)
    texts = [passage_of(row) for row in corpus.values()]
    model_folder = resolve_base_model(base_model).folder
    plain = SentenceTransformer(model_folder)
    encoder = _our_encoder(model_folder)
    theirs = np.zeros((len(texts), encoder.spec.dimension), dtype=np.float32)
    ours = np.zeros_like(theirs)

    def tutorial(part: list[int]) -> None:
        """As public recipes do: the library's own call on the chosen texts."""
        chosen = [texts[place] for place in part]
        theirs[part] = plain.encode(chosen, normalize_embeddings=True, show_progress_bar=False)

    def our_way(part: list[int]) -> None:
        """The same texts through the encoder that the pipeline uses."""
        ours[part] = encoder.encode_passages([texts[place] for place in part])

    for warm in (plain.encode, encoder.encode_passages):
        warm(texts[:2])
    turns = take_turns(parts_of(len(texts), repeats), tutorial, our_way)
    cosines = (theirs * ours).sum(axis=1)
    queries = queries_of_test(folder)
    asked = encoder.encode_queries(list(queries.values()))
    recalls = [_recall(folder, list(queries), asked, vectors, list(corpus)) for vectors in (theirs, ours)]
    return Speed(
        f"encoding {len(texts)} chunks in {encoder.spec.dtype}",
        "chunks",
        turns,
        (
            f"cosine between the two: mean {cosines.mean():.6f}, least {cosines.min():.6f}",
            f"Recall@10 of {len(queries)} test queries: {recalls[0]:.4f} and {recalls[1]:.4f}",
        ),
    )


def _our_encoder(model_folder: str) -> SentenceTransformerEncoder:
    model = load_model(model_folder)
    spec = describe_encoder(model, model_folder, model_version="base", query_prompt="", passage_prompt="")
    return SentenceTransformerEncoder(model, spec)


def _recall(
    folder: Path, query_ids: Sequence[str], queries: np.ndarray, passages: np.ndarray, chunk_ids: Sequence[str]
) -> float:
    rankings = search(queries, passages, chunk_ids, _DEPTH)
    relevant = _relevant(folder)
    known = set(chunk_ids)
    found = [
        recall_at_k(relevant[query_id], ranking.chunk_ids, _DEPTH)
        for query_id, ranking in zip(query_ids, rankings, strict=True)
        if relevant[query_id] & known
    ]
    return sum(found) / max(1, len(found))


def _relevant(folder: Path) -> Mapping[str, set[str]]:
    relevant: dict[str, set[str]] = {}
    for query_id, chunk_id in judgments(folder / "qrels" / "test.tsv"):
        relevant.setdefault(query_id, set()).add(chunk_id)
    return relevant
