"""`domain-embed bench --train`: steps of the tutorial's training and of ours on the same pairs.

Only steps are timed, from the end of the first to the end of the last, tokenising included; loading, dev measurements
and checkpoints are not. Both have the same batch size, and so the same in-batch negatives a pair.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from domain_embed_pipeline.bench.speed import REPEATS, Speed, Turn, parts_of
from domain_embed_pipeline.bench.tutorial import Pair, TutorialSettings, read_corpus, read_pairs, training_arguments
from domain_embed_pipeline.encoding.base_models import resolve_base_model
from domain_embed_pipeline.encoding.hardware import quiet_libraries
from domain_embed_pipeline.encoding.sentence_transformer import describe_encoder, load_model
from domain_embed_pipeline.errors import TooFewPairsError
from domain_embed_pipeline.training.fine_tuning import StageTask, training_plan
from domain_embed_pipeline.training.rows import TrainingRow
from domain_embed_pipeline.training.sampler import RowGroups
from domain_embed_pipeline.training.settings import TrainingSettings
from domain_embed_pipeline.training.trainer import make_trainer
from domain_embed_pipeline.training.watching import Watch, WatchPlan


def train_speed(folder: Path, questions: Path | None, *, base_model: str, repeats: int = REPEATS) -> Speed:
    """Train on every pair once each way, from the base model in each turn.

    Raises:
        TooFewPairsError: If there is not a batch and a half a turn.
    """
    source, pairs = read_pairs(folder, questions, read_corpus(folder))
    size = TutorialSettings().batch_size
    parts = parts_of(len(pairs), repeats)
    if len(parts[-1]) < 2 * size:
        raise TooFewPairsError(f"{len(pairs)} pairs for {repeats} turns.", fix=f"Give {2 * size * repeats} or more.")
    model_folder = resolve_base_model(base_model).folder
    quiet_libraries()
    turns = []
    for part in parts:
        # Whole batches alone, so that both do the same steps.
        chosen = [pairs[place] for place in part[: len(part) // size * size]]
        first, second = _tutorial_steps(model_folder, chosen), _our_steps(model_folder, chosen)
        turns.append(Turn(len(chosen) - size, first[0], second[0], first[1], second[1]))
    return Speed(f"training on {len(pairs)} pairs ({source}), batches of {size}", "pairs", tuple(turns))


def _tutorial_steps(model_folder: str, pairs: Sequence[Pair]) -> tuple[float, float]:
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    model = SentenceTransformer(model_folder)
    clock = _step_clock()
    with tempfile.TemporaryDirectory(prefix="domain-embed-bench-") as output:
        arguments = training_arguments(TutorialSettings(epochs=1), Path(output))
        arguments.eval_strategy = arguments.save_strategy = "no"
        arguments.load_best_model_at_end = False
        trainer = SentenceTransformerTrainer(
            model=model,
            args=arguments,
            train_dataset=Dataset.from_dict({"anchor": [pair[0] for pair in pairs], "positive": [p[1] for p in pairs]}),
            loss=MultipleNegativesRankingLoss(model),
            callbacks=[clock],
        )
        trainer.train()
    return clock.seconds()


def _our_steps(model_folder: str, pairs: Sequence[Pair]) -> tuple[float, float]:
    model = load_model(model_folder)
    spec = describe_encoder(model, model_folder, model_version="base", query_prompt="", passage_prompt="")
    # Groups of their own: every batch is full, as the tutorial's are.
    rows = [
        TrainingRow(anchor, positive, (), RowGroups(frozenset({str(number)})))
        for number, (anchor, positive) in enumerate(pairs)
    ]
    settings = dataclasses.replace(TrainingSettings(), epochs=1.0, evaluations_per_epoch=1, patience=None)
    clock = _step_clock()
    with tempfile.TemporaryDirectory(prefix="domain-embed-bench-") as output:
        plan = training_plan(model, StageTask(rows, settings, spec, goal=None, folder=Path(output)))
        model.max_seq_length = min(settings.max_length, model.max_seq_length or settings.max_length)
        trainer = make_trainer(model, plan, Watch(WatchPlan(settings, plan.schedule, start_cosine=0.0)))
        trainer.add_callback(clock)
        trainer.train()
    return clock.seconds()


def _step_clock() -> Any:
    from transformers import TrainerCallback

    class StepClock(TrainerCallback):
        """Notes wall and processor seconds at the end of every step."""

        def __init__(self) -> None:
            self.ends: list[tuple[float, float]] = []

        def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            """Called by the trainer, after the optimizer's step."""
            self.ends.append((time.perf_counter(), time.process_time()))

        def seconds(self) -> tuple[float, float]:
            """Wall and processor seconds between the first step's end and the last one's."""
            first, last = self.ends[0], self.ends[-1]
            return last[0] - first[0], last[1] - first[1]

    return StepClock()
