"""The `README.md` of a model version: what it is, how to use it, what it was made from. It quotes no training text."""

from __future__ import annotations

from domain_embed_pipeline.encoding.base_models import known_model
from domain_embed_pipeline.registry.manifest import ModelVersion

_LICENCES = {"Apache-2.0": "apache-2.0", "MIT": "mit"}


def model_card(version: ModelVersion) -> str:
    """Model card with the front matter that model hubs read."""
    return "\n".join(
        [
            *_front_matter(version),
            "",
            *_description(version),
            "",
            *_usage(version),
            "",
            *_results(version),
            *_origin(version),
            "",
        ]
    )


def _front_matter(version: ModelVersion) -> list[str]:
    known = known_model(version.base_model)
    lines = ["---", "library_name: sentence-transformers", "pipeline_tag: sentence-similarity"]
    lines += ["tags:", "- sentence-transformers", "- feature-extraction", "- dense"]
    if known is not None:
        lines += [f"base_model: {known.hub_name}", f"license: {_LICENCES.get(known.licence, 'other')}"]
    return [*lines, "---"]


def _description(version: ModelVersion) -> list[str]:
    spec = version.encoder
    scores = "".join(f", dev {name} {value:.3f}" for name, value in sorted(version.dev_metrics.items()))
    return [
        f"# {version.model_version}",
        "",
        f"{version.base_model} fine-tuned for retrieval in one domain: {version.kind.replace('_', ' ')}, "
        f"{version.row_count} training rows{scores}.",
        "",
        f"Vectors of {spec.dimension} dimensions, compared by cosine; texts are cut after {spec.max_length} tokens.",
    ]


def _usage(version: ModelVersion) -> list[str]:
    return [
        "```python",
        "from sentence_transformers import SentenceTransformer",
        "",
        'model = SentenceTransformer("path/to/this/folder")',
        f'queries = model.encode_query(["..."])  # prompt {version.encoder.query_prompt!r}',
        f'passages = model.encode_document(["..."])  # prompt {version.encoder.passage_prompt!r}',
        "```",
    ]


def _results(version: ModelVersion) -> list[str]:
    judged = version.judgement
    if judged is None:
        return []
    rows = [
        f"| {name.replace('_at_', '@')} | {judged.base_dense[name]:.3f} | {judged.dense[name]:.3f} | "
        f"{judged.base_served.get(name, float('nan')):.3f} | {judged.served.get(name, float('nan')):.3f} |"
        for name in judged.dense
        if name in judged.base_dense
    ]
    return [
        f"Verdict on {judged.query_count} held-out queries: **{judged.verdict}** than the base model. {judged.reason}",
        "",
        f"| | base, vectors | this, vectors | base, served | this, served ({judged.retrieval_mode}) |",
        "|---|---|---|---|---|",
        *rows,
        "",
    ]


def _origin(version: ModelVersion) -> list[str]:
    facts = {
        "parent": version.parent_model_version,
        "corpus": version.corpus_version,
        "pairs": version.pairs_version,
        "evaluation set": version.evaluation_set_version,
        "seed": version.seed,
        "created": version.created_at,
        "libraries": ", ".join(f"{name} {number}" for name, number in sorted(version.libraries.items())),
    }
    lines = [f"| {name} | {value} |" for name, value in facts.items() if value is not None]
    return ["| made from | |", "|---|---|", *lines]
