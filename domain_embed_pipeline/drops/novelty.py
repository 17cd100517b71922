"""How new the documents are to the model: what came since the last training, measured against what it was trained on.

What belongs here: the measures. What does not: what follows from them (`decision`).
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from domain_embed_pipeline.drops.indexing import ServedDocuments
from domain_embed_pipeline.evaluation.records import Comparison
from domain_embed_pipeline.pairs.clusters import cluster_near_duplicates
from domain_embed_pipeline.pairs.shingles import words_of
from domain_embed_pipeline.records import Chunk, Corpus
from domain_embed_pipeline.tables import find_record, save_record
from domain_embed_pipeline.workspace import Workspace

RECALL_K = 5
_FEWEST_CHUNKS = 2
_MOST_QUESTIONS = 500


@dataclass(frozen=True, slots=True)
class Novelty:
    """What came since the last training."""

    trained_corpus_version: str
    trained_chunk_count: int
    new_chunk_count: int
    """Chunks that are served and were not there at the last training."""
    gone_chunk_count: int
    """Chunks that were there and are not any more."""
    new_cluster_count: int
    """Near-duplicate clusters without any chunk of the last training: new chunks less copies and edits."""
    cluster_count: int
    new_word_count: int
    """Words that several new chunks use and no chunk of the last training does."""
    word_count: int
    """Words that several new chunks use."""
    question_count: int = 0
    """Questions on new chunks that the ledger has."""
    recall_at_5: float | None = None
    """Of the live model on these questions, in its retrieval mode; None without any."""
    new_words: tuple[str, ...] = ()
    """The most frequent of the new words."""
    new_chunk_ids: tuple[str, ...] = ()

    @property
    def new_chunk_share(self) -> float:
        """New chunks per chunk of the last training."""
        return self.new_chunk_count / max(1, self.trained_chunk_count)

    @property
    def new_cluster_share(self) -> float:
        """Clusters that are new, of all that are served."""
        return self.new_cluster_count / max(1, self.cluster_count)

    @property
    def new_word_share(self) -> float:
        """Words that are new, of those that several new chunks use."""
        return self.new_word_count / max(1, self.word_count)


def measure_novelty(workspace: Workspace, served: ServedDocuments, *, is_training: bool = False) -> Novelty:
    """Novelty of what is served against the corpus of the last training.

    Args:
        workspace: The deployment.
        served: What is served now.
        is_training: Whether a training runs at this moment; what it learns from is no news then.
    """
    novelty = novelty_of(served.chunks, trained_corpus(workspace, is_training=is_training))
    if not novelty.new_chunk_ids:
        return novelty
    questions = _questions_on(workspace, novelty.new_chunk_ids)
    recall = _recall(workspace, questions) if questions else None
    # The ids have served; a record of a decision need not carry thousands of them.
    return dataclasses.replace(novelty, question_count=len(questions), recall_at_5=recall, new_chunk_ids=())


def novelty_of(served: Sequence[Chunk], trained: Corpus | None) -> Novelty:
    """The measures that need no model and no question."""
    old_chunks = trained.chunks if trained is not None else ()
    known = {chunk.chunk_id for chunk in old_chunks}
    new = [chunk for chunk in served if chunk.chunk_id not in known]
    new_clusters, clusters = _clusters(served, old_chunks, new)
    words, unknown = _words(new, old_chunks)
    return Novelty(
        trained_corpus_version=trained.corpus_version if trained is not None else "none",
        trained_chunk_count=len(known),
        new_chunk_count=len(new),
        gone_chunk_count=len(known - {chunk.chunk_id for chunk in served}),
        new_cluster_count=new_clusters,
        cluster_count=clusters,
        new_word_count=len(unknown),
        word_count=len(words),
        new_words=tuple(unknown[:20]),
        new_chunk_ids=tuple(chunk.chunk_id for chunk in new),
    )


def trained_corpus(workspace: Workspace, *, is_training: bool = False) -> Corpus | None:
    """The corpus of the last training that came to a verdict, or of the one that runs; None before the first."""
    kept = keep_judged_corpus(workspace)
    if is_training or kept is None:
        return workspace.stored(Corpus, "corpus_chunks")
    return kept


def keep_judged_corpus(workspace: Workspace) -> Corpus | None:
    """Put the corpus of the last verdict aside, and return what lies there; None before the first verdict.

    The table of `corpus_chunks` changes when a training starts or an index is built anew. Should the training fail,
    what came before it is still new to the model.
    """
    place = workspace.drops / "trained"
    current = workspace.stored(Corpus, "corpus_chunks")
    comparison = workspace.stored(Comparison, "model_comparison")
    kept = find_record(Corpus, place)
    if current is None or comparison is None or comparison.corpus_version != current.corpus_version:
        return kept
    if kept is None or kept.corpus_version != current.corpus_version:
        save_record(current, place)
    return current


def _clusters(served: Sequence[Chunk], trained: Sequence[Chunk], new: Sequence[Chunk]) -> tuple[int, int]:
    """Clusters that hold new chunks only, and clusters of what is served.

    A chunk that was edited away still counts as known: its successor is no news.
    """
    if not new:
        return 0, len(served)
    cluster_of = cluster_near_duplicates({chunk.chunk_id: chunk.text for chunk in (*trained, *served)})
    old = {cluster_of[chunk.chunk_id] for chunk in trained}
    return len({cluster_of[chunk.chunk_id] for chunk in new} - old), len({cluster_of[row.chunk_id] for row in served})


def _words(new: Sequence[Chunk], trained: Iterable[Chunk]) -> tuple[list[str], list[str]]:
    """Words that at least two new chunks use, and those of them that are unknown; most frequent first."""
    counts = Counter(word for chunk in new for word in set(words_of(f"{chunk.title} {chunk.text}")))
    words = [word for word, count in counts.most_common() if count >= _FEWEST_CHUNKS and not word.isdigit()]
    if not words:
        return [], []
    known = {word for chunk in trained for word in words_of(f"{chunk.title} {chunk.text}")}
    return words, [word for word in words if word not in known]


def _questions_on(workspace: Workspace, chunk_ids: Sequence[str]) -> list[tuple[str, str]]:
    """Questions of the ledger with the chunk that answers them: imported ones, and answers of any model."""
    with workspace.open_ledger() as ledger:
        found = ledger.question_texts(chunk_ids)
    pairs = [(text, chunk_id) for chunk_id, texts in sorted(found.items()) for text in texts]
    return pairs[:: max(1, -(-len(pairs) // _MOST_QUESTIONS))]


def _recall(workspace: Workspace, questions: Sequence[tuple[str, str]]) -> float:
    """Share of questions whose chunk is among the first five of the live index."""
    with workspace.retriever() as retriever:
        answers = retriever.search_batch([text for text, _ in questions], k=RECALL_K)
    found = [
        any(hit.chunk_id == chunk_id for hit in hits) for hits, (_, chunk_id) in zip(answers, questions, strict=True)
    ]
    return sum(found) / len(found)
