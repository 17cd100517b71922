"""What the pairs room costs on synthetic chunks, encoding aside.

`python -m domain_embed_pipeline_tests.pairs.scale 100000` prints it for that many chunks. The second run has 1,000
chunks more and finds on disk what the first one left, as the assets do.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from domain_embed_pipeline.pairs.current_set import QuerySource, current_evaluation_set
from domain_embed_pipeline.pairs.splits import split_documents
from domain_embed_pipeline.pairs.structural import structural_pairs
from domain_embed_pipeline.pairs.training_pairs import PairCandidates, PairTools, build_training_pairs
from domain_embed_pipeline.records import Chunk, DocumentSplits
from domain_embed_pipeline_tests.pairs.helpers import corpus_of, documents_of, question_of

CHUNKS_EACH = 8
_ASPECTS = ((3, "cause"), (20, "treatment"), (40, "outlook"))


class Room:
    """Runs the room again and again over one artifacts folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._splits: DocumentSplits | None = None

    def run(self, chunks: Sequence[Chunk]) -> dict[str, float]:
        """Processor seconds by step; three questions a chunk."""
        corpus = corpus_of(chunks)
        questions = [
            question_of(chunk, f"{aspect} of {' '.join(chunk.text.split()[place : place + 5])}")
            for chunk in corpus.chunks
            for place, aspect in _ASPECTS
        ]
        clock = _Clock()
        splits = self._splits = split_documents(corpus, has_user_queries=False, previous=self._splits)
        clock.lap("clusters and splits")
        evaluation_set = current_evaluation_set(
            corpus, splits, QuerySource(own=None, frozen=self._folder / "frozen"), questions=questions
        )
        clock.lap("evaluation set")
        structural = structural_pairs(corpus, splits)
        clock.lap("structural pairs")
        made = build_training_pairs(
            corpus,
            splits,
            PairCandidates(questions, structural=structural),
            evaluation_set=evaluation_set,
            tools=PairTools(memo_folder=self._folder / "verdicts"),
        )
        clock.lap("filters and certificate")
        assert made.certificate.passed
        assert len(made.pairs) > len(corpus.chunks)
        return clock.seconds


class _Clock:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._started = time.process_time()

    def lap(self, name: str) -> None:
        now = time.process_time()
        self.seconds[name] = now - self._started
        self._started = now


def main(count: int, more: int = 1_000) -> None:
    """Print processor seconds of a first run and of the next `more` chunks."""
    chunks = documents_of((count + more) // CHUNKS_EACH, chunks_each=CHUNKS_EACH)
    with tempfile.TemporaryDirectory() as folder:
        room = Room(Path(folder))
        for name, part in (("first run", chunks[:count]), (f"next {more}", chunks)):
            seconds = room.run(part)
            steps = ", ".join(f"{step} {value:.1f}" for step, value in seconds.items())
            gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
            print(f"{name}: {len(part)} chunks, {sum(seconds.values()):.1f} s ({steps}), peak {gigabytes:.2f} GB")  # noqa: T201


if __name__ == "__main__":
    main(int(sys.argv[1]))
