"""A harmed model, an identical copy of the base and a good model, judged through Dagster: only the last goes live."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from domain_embed_pipeline.definitions import build_defs
from domain_embed_pipeline.defs.resources import Deployment
from domain_embed_pipeline.encoding.fingerprint import fingerprinted, folder_digest
from domain_embed_pipeline.evaluation.records import Comparison, Verdict
from domain_embed_pipeline.questions.imports import import_questions
from domain_embed_pipeline.registry.manifest import ModelVersion
from domain_embed_pipeline.status import read_status
from domain_embed_pipeline.tables import save_record
from domain_embed_pipeline.training.stages import CandidateResult
from domain_embed_pipeline_tests.planted_corpus import write_planted_corpus
from domain_embed_pipeline_tests.tiny_model import TOPICS, build_tiny_model, change_weights, planted_words

BEFORE_TRAINING = [
    "corpus_chunks", "document_splits", "generated_questions", "structural_pairs", "evaluation_set", "training_pairs",
    "baseline_evaluation", "expanded_baseline_evaluation", "alternatives",
]  # fmt: skip
AFTER_TRAINING = [
    "serving_evaluation",
    "finetuned_evaluation",
    "model_comparison",
    "serving_collection",
    "serving_alias",
]


@dataclass(frozen=True, slots=True)
class World:
    """A deployment whose base model knows some of the topics."""

    deployment: Deployment
    instance: dg.DagsterInstance
    folder: Path

    def materialize(self, assets: list[str]) -> dg.ExecuteInProcessResult:
        job = build_defs({"deployment": self.deployment}).get_implicit_global_asset_job_def()
        return job.execute_in_process(
            instance=self.instance,
            asset_selection=[dg.AssetKey(asset) for asset in assets],
            run_config={"ops": {"training_pairs": {"config": {"leak_similarity": 1.01}}}}
            if "training_pairs" in assets
            else {},
            raise_on_error=False,
        )

    def serve_base(self) -> bool:
        """Whether `serve_base_job` went through, with the config that it comes with."""
        job = build_defs({"deployment": self.deployment}).resolve_job_def("serve_base_job")
        return job.execute_in_process(instance=self.instance, run_config=job.run_config, raise_on_error=False).success

    def judge(self, name: str) -> tuple[Verdict, bool]:
        """Verdict on the model in the folder `name` as candidate, and whether all the rest of the run went through."""
        workspace = self.deployment.workspace
        candidate = CandidateResult(_registered(self, name), f"{name}, planted by the test", ())
        save_record(candidate, str(workspace.tables / "finetuned_model"))
        succeeded = self.materialize(AFTER_TRAINING).success
        comparison = workspace.stored(Comparison, "model_comparison")
        assert comparison is not None
        assert comparison.candidate_model_version == candidate.version.model_version
        return comparison.verdict, succeeded


def _registered(world: World, name: str) -> ModelVersion:
    """The model of a folder as a child of the base model."""
    workspace = world.deployment.workspace
    base = workspace.base_model
    spec = dataclasses.replace(base.encoder, model_version=f"model-{name}", fingerprint="")
    manifest = dataclasses.replace(
        base, model_version=f"model-{name}", kind="stage_one", weights_folder=None,
        parent_model_version=base.model_version, encoder=spec,
    )  # fmt: skip

    def write(staged: Path) -> ModelVersion:
        shutil.copytree(world.folder / name, staged, dirs_exist_ok=True)
        return dataclasses.replace(manifest, encoder=fingerprinted(spec, weights=folder_digest(str(staged))))

    return workspace.registry.save(manifest, write=write)


def _teach(folder: Path, topics: range) -> None:
    """Give the two words of a topic one embedding, which is what training on pairs amounts to."""
    from safetensors.torch import load_file, save_file
    from transformers import AutoTokenizer

    path = folder / "model.safetensors"
    weights, words = load_file(path), AutoTokenizer.from_pretrained(str(folder)).get_vocab()
    table = next(weight for name, weight in weights.items() if name.endswith("word_embeddings.weight"))
    for topic in topics:
        table[words[f"ask{topic}"]] = table[words[f"tell{topic}"]]
    save_file(weights, path, metadata={"format": "pt"})


def _reduce_to_words(folder: Path) -> None:
    """Take out position, attention and feed-forward layers, so that a text is the mean of its words' embeddings."""
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    weights = load_file(path)
    for name, weight in weights.items():
        if "position_embeddings" in name or "output.dense" in name:
            weight.zero_()
    save_file(weights, path, metadata={"format": "pt"})


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("verdicts")
    base = folder / "base"
    build_tiny_model(base, planted_words())
    _reduce_to_words(base)
    _teach(base, range(TOPICS // 2))
    for name in ("harmed", "copy", "good"):
        shutil.copytree(base, folder / name)
    for seed in range(6):
        change_weights(folder / "harmed", seed=seed)
    _teach(folder / "good", range(TOPICS))
    planted = write_planted_corpus(folder)
    deployment = Deployment(
        corpus_path=str(planted.corpus),
        queries_path=str(planted.queries),
        artifacts_path=str(folder / "artifacts"),
        base_model=str(base),
        serving_alias="verdicts",
    )
    workspace = deployment.workspace
    with workspace.open_ledger() as ledger:
        import_questions(str(planted.questions), corpus=workspace.load_corpus(), ledger=ledger, generator="test")
    with dg.instance_for_test() as instance:
        yield World(deployment, instance, folder)


@pytest.mark.slow
def test_of_harmed_copied_and_good_models_only_the_good_one_takes_the_place_of_the_base(world: World) -> None:
    assert world.materialize(BEFORE_TRAINING).success
    assert world.judge("harmed") == ("worse", False)
    assert world.judge("copy") == ("not_shown", False)
    nothing = read_status(world.deployment.workspace)
    assert nothing.collection is None
    assert any("serve_base_job" in line for line in nothing.lines())
    assert world.serve_base()
    assert read_status(world.deployment.workspace).model_version == world.deployment.workspace.base_model.model_version
    assert world.judge("copy") == ("not_shown", False)
    assert world.judge("good") == ("better", True)
    live = read_status(world.deployment.workspace)
    assert live.model_version == "model-good"
    assert not world.serve_base()
    # Judged against what is live now, the harmed one is still refused and the good one stays.
    assert world.judge("harmed") == ("worse", False)
    assert read_status(world.deployment.workspace).collection == live.collection
