"""What goes into the report of a comparison, gathered from the assets' records."""

import dataclasses

from domain_embed_pipeline.alternatives.measuring import MeasuredAlternatives
from domain_embed_pipeline.evaluation.charts import Curve
from domain_embed_pipeline.evaluation.comparison import References
from domain_embed_pipeline.evaluation.records import Comparison, Evaluation
from domain_embed_pipeline.evaluation.report import ReportInputs, write_report
from domain_embed_pipeline.evaluation.vocabulary import nearest_terms, specific_terms
from domain_embed_pipeline.pairs.records import LeakageCertificate
from domain_embed_pipeline.questions.generation import GeneratedQuestions
from domain_embed_pipeline.records import Corpus
from domain_embed_pipeline.registry.manifest import ModelVersion
from domain_embed_pipeline.training.stages import CandidateResult
from domain_embed_pipeline.workspace import Workspace

VOCABULARY_TERMS = 300
"""Terms among which neighbours are looked for; the report shows those that changed most."""


@dataclasses.dataclass(frozen=True, slots=True)
class JudgedRun:
    """What a comparison was made of."""

    corpus: Corpus
    candidate: Evaluation
    references: References
    chosen: CandidateResult
    certificate: LeakageCertificate
    questions: GeneratedQuestions
    alternatives: MeasuredAlternatives


def write_comparison_report(workspace: Workspace, comparison: Comparison, run: JudgedRun) -> str:
    """Write the HTML report of a comparison; returns its absolute path or URL."""
    registry, references = workspace.registry, run.references
    terms = nearest_terms(
        registry.encoder(references.base.model_version),
        registry.encoder(run.candidate.model_version),
        specific_terms(run.corpus, VOCABULARY_TERMS),
    )
    path = workspace.reports / f"{comparison.candidate_model_version}.html"
    inputs = ReportInputs(
        comparison=comparison,
        candidate=run.candidate,
        base=references.base,
        serving=references.serving,
        chunks={chunk.chunk_id: chunk for chunk in run.corpus.chunks},
        certificate=_certificate_lines(run.certificate),
        lineage=_lineage_lines(workspace, run.chosen.version),
        settings=_settings_lines(run.chosen),
        cost=_cost_lines(run.questions),
        curves=_curves(workspace, run.chosen.version),
        vocabulary=terms,
        problems={problem.name: problem.reason for problem in run.alternatives.problems},
    )
    write_report(inputs, path)
    return path.address


def report_of(workspace: Workspace, evaluation: Evaluation | None) -> str | None:
    """Absolute path or URL of the report with which a version was judged; None when there is none."""
    path = workspace.reports / f"{evaluation.model_version}.html" if evaluation is not None else None
    return path.address if path is not None and path.is_file() else None


def _certificate_lines(certificate: LeakageCertificate) -> dict[str, str]:
    lines = {
        row.detector: f"{row.found} found, {row.removed} removed from training, {row.remaining} remain"
        if row.ran
        else "did not run"
        for row in certificate.detectors
    }
    return {"passed": "yes" if certificate.passed else "no", **lines, "digest": certificate.digest[:16]}


def _cost_lines(questions: GeneratedQuestions) -> dict[str, str]:
    return {
        "this run": f"${questions.cost_usd:.4f}",
        "all answers behind these questions": f"${questions.ledger_cost_usd:.4f}",
        "per 1,000 questions": f"${questions.cost_per_1000_questions:.4f}",
    }


def _lineage_lines(workspace: Workspace, version: ModelVersion) -> dict[str, str]:
    lines = {
        "model version": version.model_version,
        "parents": " < ".join(workspace.registry.parents(version.model_version)) or "none",
        "base model": version.base_model,
        "corpus": version.corpus_version or "none",
        "pairs": version.pairs_version or "none",
        "evaluation set": version.evaluation_set_version or "none",
        "fingerprint": version.encoder.fingerprint,
    }
    return lines | {f"library {name}": number for name, number in version.libraries.items()}


def _settings_lines(chosen: CandidateResult) -> dict[str, str]:
    shown = ("learning_rate", "epochs", "batch_size", "max_length", "scale", "seed", "tuned_weight", "total_steps")
    settings = chosen.version.settings
    lines = {name: str(settings[name]) for name in shown if settings.get(name) is not None}
    return {"chosen on dev": chosen.reason, **lines}


def _curves(workspace: Workspace, version: ModelVersion) -> list[Curve]:
    """Dev Recall@5 of the version and of the stages it came from."""
    curves = []
    names = [version.model_version, *workspace.registry.parents(version.model_version)]
    for name in reversed(names):
        stage = workspace.registry.manifest(name)
        for label, field in (("training loss", "loss"), ("dev Recall@5", "dev_recall_at_5")):
            points = [(float(point.step), getattr(point, field)) for point in stage.history]
            known = [(step, value) for step, value in points if value is not None]
            if len(known) > 1:
                steps, values = zip(*known, strict=True)
                curves.append(Curve(f"{stage.kind}: {label}", steps, values))
    return curves
