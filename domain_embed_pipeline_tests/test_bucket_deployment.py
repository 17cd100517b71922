"""Machines that share a bucket, a ledger and a Qdrant server: what one makes, the others find."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from typer.testing import CliRunner

from domain_embed_pipeline.artifacts import Location
from domain_embed_pipeline.cli import app
from domain_embed_pipeline.definitions import build_defs
from domain_embed_pipeline.defs.resources import Deployment
from domain_embed_pipeline.doctor import examine
from domain_embed_pipeline.provenance import trace
from domain_embed_pipeline.questions.imports import import_questions
from domain_embed_pipeline.records import Corpus
from domain_embed_pipeline.status import read_status
from domain_embed_pipeline_tests.places import KINDS, empty_place
from domain_embed_pipeline_tests.planted_corpus import write_planted_corpus
from domain_embed_pipeline_tests.serving.qdrant_double import QdrantDouble, running_double
from domain_embed_pipeline_tests.test_end_to_end import RUN_CONFIG

BUCKET = "s3" if importlib.util.find_spec("s3fs") and importlib.util.find_spec("moto") else "file"


@dataclass(frozen=True)
class Team:
    """What machines share; each has a local folder of its own."""

    place: str
    folder: Path
    base_model: str
    qdrant: QdrantDouble
    patched: pytest.MonkeyPatch

    def machine(self, name: str) -> Deployment:
        """A machine with an empty local folder; the commands that follow run there, too."""
        given = {
            "corpus_path": str(self.folder / "corpus"),
            "queries_path": str(self.folder / "queries"),
            "artifacts_path": self.place,
            "local_path": str(self.folder / "machines" / name),
            "base_model": self.base_model,
            "serving_alias": "planted",
            "qdrant_url": self.qdrant.url,
        }
        for setting, value in given.items():
            self.patched.setenv(f"DOMAIN_EMBED_{setting.upper()}", value)
        return Deployment(**given)


@pytest.fixture
def team(
    tmp_path: Path, tiny_model: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Team]:
    monkeypatch.setenv("DOMAIN_EMBED_LEDGER_URL", f"sqlite:///{tmp_path / 'shared.sqlite'}")
    place = empty_place(getattr(request, "param", BUCKET), tmp_path, request)
    with running_double() as qdrant:
        yield Team(place, tmp_path, tiny_model, qdrant, monkeypatch)


def run(deployment: Deployment, job: str, config: dict[str, Any] | None = None) -> dg.ExecuteInProcessResult:
    definitions = build_defs({"deployment": deployment})
    with dg.instance_for_test() as instance:
        found = definitions.resolve_job_def(job)
        return found.execute_in_process(instance=instance, run_config=config or dict(found.run_config or {}))


def command(*words: str) -> str:
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


@pytest.mark.parametrize("team", KINDS, indirect=True)
def test_what_an_asset_stored_is_read_on_another_machine(team: Team) -> None:
    write_planted_corpus(team.folder)
    job = build_defs({"deployment": team.machine("one")}).resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(instance=instance, asset_selection=[dg.AssetKey("corpus_chunks")])
    (event,) = result.get_asset_materialization_events()
    assert event.materialization.metadata["stored_at"].value == f"{team.place}/tables/corpus_chunks"
    workspace = team.machine("two").workspace
    stored = workspace.stored(Corpus, "corpus_chunks")
    assert stored == workspace.load_corpus()
    assert [finding.level for finding in examine(workspace) if finding.subject == "artifacts"] == [
        "problem" if team.place.startswith("memory") else "ok"
    ]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_second_machine_serves_traces_builds_anew_and_goes_back_to_what_the_first_one_trained(team: Team) -> None:
    planted = write_planted_corpus(team.folder)
    first = team.machine("one")
    with first.workspace.open_ledger() as ledger:
        corpus = first.workspace.load_corpus()
        import_questions(str(planted.questions), corpus=corpus, ledger=ledger, generator="test")
    config = {"ops": {name: knobs for name, knobs in RUN_CONFIG["ops"].items() if name != "generated_questions"}}
    result = run(first, "retrain_and_promote_job", config)
    live = read_status(first.workspace)
    assert live.model_version is not None
    report = next(
        event.materialization.metadata["report"].value
        for event in result.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey("model_comparison")
    )
    assert report.startswith(team.place)
    assert "<html" in Location(str(report)).read_text()

    second = team.machine("two").workspace
    status = read_status(second)
    assert (status.collection, status.model_version) == (live.collection, live.model_version)
    assert status.recall == live.recall != {}
    assert json.loads(command("status", "--json"))["parents"] == list(live.parents)
    line = trace(second)
    assert [move.kind for move in line.moves] == ["promotion"]
    assert line.versions[0].verdict == "better" and line.versions[-1].kind == "base"
    assert not (second.local / "models").exists(), "looking fetches no weights"
    with second.retriever() as retriever:
        hits = retriever.search("how is ask3 ask2", k=3)
    assert any("tell3" in hit.text or "tell2" in hit.text for hit in hits)
    assert [path.name for path in (second.local / "models").iterdir()] == [live.model_version]

    later = "# Later\n\ntell3 tell4 came later and is noted here with words enough.\n"
    (planted.corpus / "later.md").write_text(later, encoding="utf-8")
    run(team.machine("three"), "reindex_job")
    newer = read_status(second)
    assert newer.collection != live.collection and newer.model_version == live.model_version

    fourth = team.machine("four").workspace
    command("rollback", "--reason", "the new index is slow")
    assert read_status(fourth).collection == live.collection
    assert [event.kind for event in second.lineage.events("planted")] == ["promotion", "reindex", "rollback"]
    assert not Path("data").exists(), "nothing lies where nobody looks"


def test_doctor_says_what_other_machines_do_not_see(team: Team) -> None:
    team.machine("one")
    team.patched.delenv("DOMAIN_EMBED_LEDGER_URL")
    team.patched.delenv("DOMAIN_EMBED_QDRANT_URL")
    shown = " ".join(CliRunner().invoke(app, ["doctor"]).stdout.split())
    assert "the ledger of LLM answers and the index" in shown
    assert "DOMAIN_EMBED_QDRANT_URL" in shown


def test_doctor_tells_a_bucket_that_is_not_there(team: Team) -> None:
    if BUCKET != "s3":
        pytest.skip("needs s3fs and moto")
    team.machine("one")
    team.patched.setenv("DOMAIN_EMBED_ARTIFACTS_PATH", "s3://elsewhere")
    (finding,) = [row for row in examine(Deployment().workspace) if row.subject == "artifacts"]
    assert finding.level == "problem"
    assert "s3://elsewhere cannot be written" in finding.message
