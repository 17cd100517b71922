"""`domain-embed bench --growth`: seconds of every room against the number of chunks, and the slope of their logarithms.

The corpus is made up, so that it has any size: documents of eight chunks of about 50 words, drawn by rank so that few
words are frequent and many rare, with a question for every tenth chunk. The model is the first layer of the base model:
time grows with the number of texts as it does for the whole.
"""

from __future__ import annotations

import json
import math
import random
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from domain_embed_pipeline.bench.rooms import ROOMS, RoomsRun, rooms_job, run_rooms
from domain_embed_pipeline.encoding.base_models import resolve_base_model

SIZES = (1_000, 3_000, 10_000)
_WORDS, _CHUNK_WORDS, _DOCUMENT_CHUNKS, _ASKED = 20_000, 50, 8, 10
_QUERIES = 100
_LEAST_SECONDS = 0.05
"""Shorter times say more about the clock than about the room."""


@dataclass(frozen=True, slots=True)
class Growth:
    """One passage through the rooms at each size."""

    runs: tuple[RoomsRun, ...]

    def slope(self, room: str) -> float | None:
        """Exponent of the room's seconds in the number of chunks (least squares of logarithms); None when too fast."""
        points = [(run.chunk_count, run.seconds.get(room, 0.0)) for run in self.runs]
        logs = [(math.log(count), math.log(seconds)) for count, seconds in points if seconds >= _LEAST_SECONDS]
        if len(logs) < 2:
            return None
        mean_x, mean_y = (sum(values) / len(logs) for values in zip(*logs, strict=True))
        spread = sum((x - mean_x) ** 2 for x, _ in logs)
        return sum((x - mean_x) * (y - mean_y) for x, y in logs) / spread

    def lines(self) -> list[str]:
        """A Markdown table."""
        head = "".join(f" {run.chunk_count:,} |" for run in self.runs)
        lines = [f"| room, seconds |{head} slope |", "|---|" + "---|" * (len(self.runs) + 1)]
        for room in ROOMS:
            slope = self.slope(room)
            cells = "".join(f" {run.seconds.get(room, 0.0):.1f} |" for run in self.runs)
            lines.append(f"| {room} |{cells} {'' if slope is None else f'{slope:.2f}'} |")
        memory = "".join(f" {run.peak_memory_mb:,.0f} |" for run in self.runs)
        return [*lines, f"| peak memory, MB |{memory} |"]


def growth(sizes: Sequence[int], *, base_model: str, plot: Path | None = None) -> Growth:
    """Run every room at each size, smallest first.

    Args:
        sizes: Numbers of chunks.
        base_model: Its first layer encodes.
        plot: Where a log-log plot is written.
    """
    with tempfile.TemporaryDirectory(prefix="domain-embed-growth-") as root:
        model = first_layer(resolve_base_model(base_model).folder, Path(root) / "model")
        runs = []
        for size in sorted(sizes):
            folder = Path(root) / str(size)
            questions = write_corpus(folder, size)
            runs.append(run_rooms(rooms_job(folder, questions, model, folder / "deployment")))
    result = Growth(tuple(runs))
    if plot is not None:
        draw(result, plot)
    return result


def first_layer(model_folder: str, target: Path) -> str:
    """Write the model without its transformer layers but the first; returns the old folder when it has no such list."""
    from domain_embed_pipeline.encoding.sentence_transformer import load_model

    model = load_model(model_folder, device="cpu")
    backbone: Any = model[0].auto_model
    layers = getattr(getattr(backbone, "encoder", None), "layer", None)
    if layers is None:
        return model_folder
    backbone.encoder.layer = layers[:1]
    backbone.config.num_hidden_layers = 1
    model.save_pretrained(str(target), create_model_card=False)
    return str(target)


def write_corpus(folder: Path, size: int, *, chunk_words: int = _CHUNK_WORDS, seed: int = 0) -> Path:
    """Write a made-up corpus of `size` chunks in BEIR layout, queries included; returns its file of questions.

    A word has 2.2 tokens of all-MiniLM-L6-v2.
    """
    generator = random.Random(seed)
    (folder / "qrels").mkdir(parents=True)
    with _lines(folder / "corpus.jsonl") as corpus, _lines(folder / "questions.jsonl") as asked:
        for number in range(size):
            words = list(_words(generator, chunk_words))
            row = {"_id": f"c{number}", "title": "", "text": f"{' '.join(words)}.", "source": f"d{_document(number)}"}
            corpus.write(json.dumps(row) + "\n")
            if number % _ASKED == 1:
                question = f"what is known of {' '.join(words[3:8])}"
                asked.write(json.dumps({"chunk_id": row["_id"], "natural": question}) + "\n")
    numbers = random.Random(seed + 1).sample(range(0, size, _ASKED), min(_QUERIES, size // _ASKED))
    with _lines(folder / "queries.jsonl") as queries:
        queries.writelines(json.dumps({"_id": f"q{n}", "text": f"find number {n}"}) + "\n" for n in numbers)
    judged = "".join(f"q{number}\tc{number}\t1\n" for number in numbers)
    (folder / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{judged}", encoding="utf-8")
    return folder / "questions.jsonl"


def draw(result: Growth, path: Path) -> None:
    """A log-log plot with a line of slope 1 beside the rooms."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    counts = [run.chunk_count for run in result.runs]
    for room in ROOMS:
        axes.loglog(counts, [max(run.seconds.get(room, 0.0), 1e-3) for run in result.runs], marker="o", label=room)
    axes.loglog(counts, [count / counts[0] for count in counts], color="grey", linestyle=":", label="slope 1")
    axes.set_xlabel("chunks")
    axes.set_ylabel("seconds")
    axes.legend()
    figure.savefig(path)


def _lines(path: Path) -> IO[str]:
    return path.open("w", encoding="utf-8")


def _document(number: int) -> int:
    return number // _DOCUMENT_CHUNKS


def _words(generator: random.Random, count: int) -> Iterator[str]:
    """Words by Zipf's law: the rank is exponential in a uniform number."""
    for _ in range(count):
        yield _spelled(int(_WORDS ** generator.random()))


def _spelled(rank: int) -> str:
    syllables = ("ba", "de", "fi", "go", "ku", "la", "me", "ni", "po", "ru", "sa", "te", "vi", "xo", "zu", "ri")
    word = ""
    while rank:
        rank, place = divmod(rank, len(syllables))
        word += syllables[place]
    return word or "a"
