"""What passes between the benchmark, the processes of its recipes, and whoever reads the result.

What does not belong here: how anything is measured (`stopwatch`, `judging`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from domain_embed_pipeline.evaluation.records import MetricDifference

SEED = 42
STAGES = ("start", "prepare", "train", "mine", "choose", "encode", "evaluate")
"""In the order of the table. `start` is importing libraries."""


@dataclass(frozen=True, slots=True)
class BenchSettings:
    """What is run on what."""

    folder: str
    """BEIR layout: corpus.jsonl, queries.jsonl, qrels/test.tsv; dev.tsv and train.tsv if there are any."""
    recipes: tuple[str, ...]
    base_model: str
    questions: str | None = None
    """Recorded questions, a JSON line per chunk: `chunk_id`, and styles such as `plain`."""
    sample: int | None = None
    """A quick look: so many queries of test and of dev, about four times so many chunks and pairs."""
    train_qrels: bool | None = None
    """Whether our recipes train on qrels/train.tsv; None: where there are no plain questions, as the tutorial does."""
    seed: int = SEED
    artifacts: str | None = None
    """Where the recipes' files stay; a temporary folder by default."""


@dataclass(frozen=True, slots=True)
class RecipeJob:
    """What the process of one recipe is told."""

    recipe: str
    folder: str
    questions: str | None
    use_train_judgments: bool
    """Whether qrels/train.tsv is trained on."""
    base_model: str
    artifacts: str
    """Of this recipe alone."""
    seed: int = SEED


@dataclass(frozen=True, slots=True)
class RankedLine:
    """What one way of asking found, for every test query."""

    name: str
    mode: str
    """How the index was asked, in words."""
    rankings: dict[str, list[str]]
    """Query id to chunk ids, best first; either ids of the BEIR folder or ours."""


@dataclass(frozen=True, slots=True)
class RecipeOutput:
    """What the process of one recipe hands back."""

    lines: tuple[RankedLine, ...]
    pair_count: int = 0
    """Pairs that the first stage trained on."""
    pairs_seen: int = 0
    """Pairs that went through the model in training, over all epochs and stages."""
    passages_encoded: int = 0
    """Passages encoded outside training's own dev measurements."""
    dollars: float = 0.0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RecipeRun:
    """A recipe's output with what it cost."""

    output: RecipeOutput
    seconds: dict[str, float]
    """Wall seconds by stage; each second is counted once."""
    peak_memory_mb: float
    peak_gpu_memory_mb: float | None
    """Largest allocation by torch; None without a GPU."""


@dataclass(frozen=True, slots=True)
class BenchLine:
    """A line's quality on the test queries."""

    recipe: str
    name: str
    mode: str
    metrics: dict[str, float]
    differences: tuple[MetricDifference, ...] = ()
    """From the reference recipe, paired by query; empty for the reference itself, or when it was not run."""


@dataclass(frozen=True, slots=True)
class RecipeCost:
    """What a recipe cost, or why it has no result."""

    recipe: str
    error: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    total_seconds: float = 0.0
    pair_count: int = 0
    pairs_per_second: float | None = None
    """Over the whole training stage, loading and checkpoints included; None when nothing was trained."""
    chunks_per_second: float | None = None
    peak_memory_mb: float = 0.0
    peak_gpu_memory_mb: float | None = None
    dollars: float = 0.0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BenchResult:
    """Everything that the table shows."""

    settings: BenchSettings
    chunk_count: int
    query_count: int
    reference: str | None
    """Name of the line that differences are taken from."""
    lines: tuple[BenchLine, ...]
    costs: tuple[RecipeCost, ...]
    machine: dict[str, str]

    @property
    def failed(self) -> tuple[str, ...]:
        """Recipes without a result."""
        return tuple(cost.recipe for cost in self.costs if cost.error)
