"""How a model version was judged: the verdict and its Recall@k, kept in its manifest and on its model card."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Judgement:
    """The last comparison of a version with the base model, on the test queries."""

    verdict: str
    """`better`, `not_shown` or `worse`."""
    reason: str
    corpus_version: str
    evaluation_set_version: str
    query_count: int
    retrieval_mode: str
    """The mode that would be served; `served` is measured in it."""
    certificate_passed: bool
    """Whether no evaluation query leaked into the training pairs."""
    dense: dict[str, float] = field(default_factory=dict)
    """Measure to its mean over the queries, by vectors alone."""
    base_dense: dict[str, float] = field(default_factory=dict)
    served: dict[str, float] = field(default_factory=dict)
    base_served: dict[str, float] = field(default_factory=dict)
    """The base model in the mode that was best for it."""
    judged_at: str = ""
