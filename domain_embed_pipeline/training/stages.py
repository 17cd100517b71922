"""Stages as model versions: train, mine, train again, choose; each step is found again by its content id.

This is what the assets call. A step whose version is in the registry is not done twice; one that a kill cut short goes
on from its last checkpoint.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from domain_embed_pipeline.encoding.base_models import resolve_base_model
from domain_embed_pipeline.encoding.fingerprint import fingerprinted, folder_digest
from domain_embed_pipeline.encoding.hardware import choose_device
from domain_embed_pipeline.encoding.sentence_transformer import SentenceTransformerEncoder, load_model
from domain_embed_pipeline.errors import TrainingError
from domain_embed_pipeline.evaluation.guards import GuardSet, guard_score
from domain_embed_pipeline.ids import digest_of_json
from domain_embed_pipeline.records import Corpus, EvaluationSet, TrainingPair
from domain_embed_pipeline.registry.base import base_model_version
from domain_embed_pipeline.registry.learned import (
    LearnedChunk,
    learned_from_negatives,
    learned_from_pairs,
    write_learned,
)
from domain_embed_pipeline.registry.manifest import ModelKind, ModelVersion, library_versions
from domain_embed_pipeline.registry.model_card import model_card
from domain_embed_pipeline.registry.versions import ModelRegistry
from domain_embed_pipeline.training.blending import average, blend
from domain_embed_pipeline.training.candidate import CandidateScore, Contender, choose_candidate
from domain_embed_pipeline.training.checkpoints import remove_abandoned
from domain_embed_pipeline.training.dev_set import DevGoal, DevSet, make_dev_set, score_on_dev
from domain_embed_pipeline.training.fine_tuning import StageTask
from domain_embed_pipeline.training.launching import Launcher, StageJob, run_stage
from domain_embed_pipeline.training.negatives import HardNegatives
from domain_embed_pipeline.training.rows import TrainingRow, negative_rows, pair_rows, rows_digest
from domain_embed_pipeline.training.settings import TRAINING_VERSION, CandidateSettings, TrainingSettings
from domain_embed_pipeline.training.trainer import training_precision

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CandidateResult:
    """The candidate and what it was chosen among."""

    version: ModelVersion
    reason: str
    contenders: tuple[CandidateScore, ...]


@dataclass(frozen=True, slots=True)
class TrainingInputs:
    """What every stage needs besides its own rows."""

    registry: ModelRegistry
    base: ModelVersion
    corpus: Corpus
    evaluation_set: EvaluationSet
    clusters: Mapping[str, str]
    pairs_version: str
    checkpoints: Path
    certificate: Mapping[str, Any] = field(default_factory=dict)
    """The leakage certificate of the pairs, for the manifests."""
    pool_size: int = CandidateSettings().pool_size
    guards: tuple[GuardSet, ...] = ()
    """Sets of other domains, for what a contender forgot."""
    curves: Path | None = None
    """Folder for TensorBoard, with a folder a version."""
    launch: Launcher | None = None
    """Starts a training in several processes; a plain subprocess when not given."""

    def dev_set(self) -> DevSet | None:
        """Dev queries; their pool is chosen with the base model, so that every contender meets the same one."""
        encoder = self.registry.encoder(self.base.model_version)
        return make_dev_set(self.corpus, self.evaluation_set, encoder=encoder, pool_size=self.pool_size)


def train_stage_one(
    inputs: TrainingInputs,
    pairs: Sequence[TrainingPair],
    *,
    settings: TrainingSettings,
    start: ModelVersion | None = None,
) -> ModelVersion:
    """Stage one: pairs with in-batch negatives.

    Args:
        inputs: What every stage needs.
        pairs: All pairs, those of earlier trainings included: what is not seen again is forgotten.
        settings: How to train.
        start: Version to go on from, such as the live one; the base model when not given.

    Raises:
        TooFewPairsError: If there are too few pairs to train on.
        TrainingError: If `start` comes from another base model.
    """
    parent = start or inputs.base
    _check_start(parent, inputs.base)
    rows = pair_rows(pairs, inputs.clusters, anchors_per_row=settings.anchors_per_row)
    learned = learned_from_pairs(pairs, inputs.corpus.chunks)
    return _train(inputs, _Stage("stage_one", parent, rows, settings, learned))


def train_stage_two(
    inputs: TrainingInputs,
    stage_one: ModelVersion,
    negatives: HardNegatives,
    *,
    settings: TrainingSettings,
) -> ModelVersion:
    """Stage two: question and user pairs with mined negatives, from the stage-one model.

    Raises:
        TooFewPairsError: If too few negatives were mined.
    """
    rows = negative_rows(negatives.negatives, inputs.clusters, anchors_per_row=settings.anchors_per_row)
    learned = learned_from_negatives(negatives.negatives, inputs.corpus.chunks)
    return _train(inputs, _Stage("stage_two", stage_one, rows, settings, learned))


def choose_finetuned(
    inputs: TrainingInputs, stages: Sequence[ModelVersion], *, settings: CandidateSettings
) -> CandidateResult:
    """Compare the base, the stages and blends of the best stage with the base on dev, and keep the winner.

    Args:
        inputs: As for training.
        stages: Stage one, and stage two when it was trained.
        settings: Blend weights and the tolerance of the simplicity rule.
    """
    dev = inputs.dev_set()
    if dev is None:
        return CandidateResult(stages[-1], "There are no dev queries to choose on: the last stage is taken.", ())
    contenders = [_contender(inputs, version, place, dev) for place, version in enumerate((inputs.base, *stages))]
    best_stage = max(contenders[1:], key=lambda contender: contender.dev.means()["selection"]).model_version
    for weight in settings.blend_weights:
        blended = blend_version(inputs, inputs.registry.manifest(best_stage), weight)
        contenders.append(_contender(inputs, blended, len(stages) + 1, dev))
    scores = choose_candidate(
        contenders, tolerance=settings.simplicity_tolerance, guard_tolerance=settings.guard_tolerance
    )
    winner = next(score for score in scores if score.chosen)
    within = f"within {settings.simplicity_tolerance:g} standard errors of the best of {len(scores)}"
    is_base = winner.kind == "base"
    why = "no trained model that forgot little is above it" if is_base else f"the simplest trained model {within}"
    reason = f"{winner.kind} {winner.model_version}: dev Recall@5 {winner.dev_recall_at_5:.3f}, {why}."
    return CandidateResult(inputs.registry.manifest(winner.model_version), reason, scores)


def blend_version(inputs: TrainingInputs, tuned: ModelVersion, weight: float) -> ModelVersion:
    """The version whose weights are `weight` parts of `tuned` and the rest of the base."""
    content = ["blend", TRAINING_VERSION, inputs.base.model_version, tuned.model_version, weight]
    version = _version_of(content)
    if inputs.registry.has(version):
        return inputs.registry.manifest(version)
    registry = inputs.registry
    base_model = load_model(registry.verified_folder(inputs.base.model_version), device="cpu")
    tuned_model = load_model(registry.verified_folder(tuned.model_version), device="cpu")
    manifest = dataclasses.replace(
        _manifest(inputs, version, "blend", tuned),
        row_count=tuned.row_count,
        seed=tuned.seed,
        settings={"tuned_weight": weight, "blended_with": inputs.base.model_version},
    )
    return _save(registry, blend(base_model, tuned_model, tuned_weight=weight), manifest)


def _contender(inputs: TrainingInputs, version: ModelVersion, simplicity: int, dev: DevSet) -> Contender:
    encoder = inputs.registry.encoder(version.model_version)
    guards = [guard_score(encoder, guard) for guard in inputs.guards]
    return Contender(
        model_version=version.model_version,
        kind=version.kind,
        simplicity=simplicity,
        dev=score_on_dev(encoder, dev),
        guard_ndcg_at_10=sum(guards) / len(guards) if guards else None,
    )


def _check_start(start: ModelVersion, base: ModelVersion) -> None:
    """Only a version of the same base model, used in the same way, can be gone on from and blended with it."""
    ours, theirs = base.encoder, start.encoder
    same = (ours.query_prompt, ours.passage_prompt) == (theirs.query_prompt, theirs.passage_prompt)
    if start.base_model != base.base_model or not same:
        raise TrainingError(
            f"{start.model_version} is a version of {start.base_model}, not of {base.base_model} as it is used now.",
            fix="Start from the base model, or set DOMAIN_EMBED_BASE_MODEL to the one the version was made from.",
        )


@dataclass(frozen=True, slots=True)
class _Stage:
    """One stage to train."""

    kind: ModelKind
    parent: ModelVersion
    rows: Sequence[TrainingRow]
    settings: TrainingSettings
    learned: tuple[LearnedChunk, ...]


def _train(inputs: TrainingInputs, stage: _Stage) -> ModelVersion:
    version = _version_of_stage(inputs, stage)
    if inputs.registry.has(version):
        logger.info("%s is in the registry already; nothing is trained.", version)
        return inputs.registry.manifest(version)
    if stage.settings.averaged_seeds > 1:
        return _train_average(inputs, stage, version)
    remove_abandoned(inputs.checkpoints)
    trained = run_stage(_job(inputs, stage, version), launch=inputs.launch)
    settings = dataclasses.asdict(stage.settings) | dataclasses.asdict(trained.schedule)
    manifest = dataclasses.replace(
        _manifest(inputs, version, stage.kind, stage.parent),
        row_count=len(stage.rows),
        seed=stage.settings.seed,
        settings=settings | {"best_step": trained.best_step},
        dev_metrics=trained.dev_metrics,
        duration_s=round(trained.duration_s, 1),
        history=trained.history,
        notes=trained.notes,
    )
    return _save(inputs.registry, trained.model, manifest, stage.learned)


def _job(inputs: TrainingInputs, stage: _Stage, version: str) -> StageJob:
    task = StageTask(
        rows=stage.rows,
        settings=stage.settings,
        spec=stage.parent.encoder,
        goal=_goal(inputs, stage.parent),
        folder=inputs.checkpoints / version,
        curves=inputs.curves / version if inputs.curves else None,
    )
    return StageJob(inputs.registry.verified_folder(stage.parent.model_version), task)


def _goal(inputs: TrainingInputs, parent: ModelVersion) -> DevGoal | None:
    """A checkpoint is chosen by what it gained on the model it started from."""
    dev = inputs.dev_set()
    if dev is None:
        return None
    return DevGoal(dev, score_on_dev(inputs.registry.encoder(parent.model_version), dev))


def _train_average(inputs: TrainingInputs, stage: _Stage, version: str) -> ModelVersion:
    """One version for each seed, each found again by its own id, and the mean of their weights."""
    first = stage.settings.seed
    members = [
        _train(inputs, _with_one_seed(stage, seed)) for seed in range(first, first + stage.settings.averaged_seeds)
    ]
    models = [
        load_model(inputs.registry.verified_folder(member.model_version), max_length=member.encoder.max_length)
        for member in members
    ]
    model = average(models, [1 / len(models)] * len(models))
    manifest = dataclasses.replace(
        _manifest(inputs, version, stage.kind, stage.parent),
        row_count=len(stage.rows),
        seed=first,
        settings=dataclasses.asdict(stage.settings) | {"averaged": [member.model_version for member in members]},
        duration_s=round(sum(member.duration_s for member in members), 1),
        history=members[0].history,
        notes=tuple(f"{note} ({member.model_version})" for member in members for note in member.notes),
    )
    dev = inputs.dev_set()
    if dev is not None:
        means = score_on_dev(SentenceTransformerEncoder(model, manifest.encoder), dev).means()
        manifest = dataclasses.replace(
            manifest, dev_metrics={name: means[name] for name in ("recall_at_5", "ndcg_at_10")}
        )
    return _save(inputs.registry, model, manifest, stage.learned)


def _with_one_seed(stage: _Stage, seed: int) -> _Stage:
    return dataclasses.replace(stage, settings=dataclasses.replace(stage.settings, seed=seed, averaged_seeds=1))


def _version_of_stage(inputs: TrainingInputs, stage: _Stage) -> str:
    """Named by all that changes the weights: the device only as far as it chooses the precision."""
    precision = training_precision(choose_device(), stage.settings)
    return _version_of(
        {
            "kind": stage.kind,
            "training": TRAINING_VERSION,
            "parent": [stage.parent.model_version, stage.parent.encoder.fingerprint],
            "rows": rows_digest(stage.rows),
            "evaluation_set": inputs.evaluation_set.evaluation_set_version,
            "corpus": inputs.corpus.corpus_version,
            "dev_pool": [inputs.base.encoder.fingerprint, inputs.pool_size],
            "settings": dataclasses.asdict(stage.settings) | {"precision": precision},
            "guide": _guide_id(stage.settings),
        }
    )


def _version_of(content: Any) -> str:
    return f"model-{digest_of_json(content)[:12]}"


def _guide_id(settings: TrainingSettings) -> str | None:
    return base_model_version(resolve_base_model(settings.guide_model)) if settings.guide_model is not None else None


def _manifest(inputs: TrainingInputs, version: str, kind: ModelKind, parent: ModelVersion) -> ModelVersion:
    """Manifest of a child of `parent`; the encoder's fingerprint is set once its files are written."""
    return ModelVersion(
        model_version=version,
        kind=kind,
        encoder=dataclasses.replace(parent.encoder, model_version=version, fingerprint=""),
        base_model=inputs.base.base_model,
        parent_model_version=parent.model_version,
        corpus_version=inputs.corpus.corpus_version,
        pairs_version=inputs.pairs_version,
        certificate=dict(inputs.certificate),
        evaluation_set_version=inputs.evaluation_set.evaluation_set_version,
        libraries=library_versions(),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _save(
    registry: ModelRegistry,
    model: SentenceTransformer,
    manifest: ModelVersion,
    learned: Sequence[LearnedChunk] | None = None,
) -> ModelVersion:
    """Write the weights and what they learned from, then the manifest with the fingerprint of what was written."""
    spec = manifest.encoder

    def write(folder: Path) -> ModelVersion:
        """Fill the version's folder; the fingerprint is of the files as they were written."""
        model.prompts.update({"query": spec.query_prompt, "document": spec.passage_prompt})
        model.save_pretrained(str(folder), create_model_card=False, safe_serialization=True)
        (folder / "README.md").write_text(model_card(manifest), encoding="utf-8")
        if learned is not None:
            write_learned(folder, learned)
        return dataclasses.replace(manifest, encoder=fingerprinted(spec, weights=folder_digest(str(folder))))

    return registry.save(manifest, write=write)
