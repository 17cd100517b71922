"""Metadata of what happens between two trainings."""

import dataclasses

from domain_embed_pipeline.defs.metadata.values import Metadata, table
from domain_embed_pipeline.drops.decision import RetrainDecision
from domain_embed_pipeline.drops.indexing import ServedDocuments


def of_served_documents(served: ServedDocuments) -> Metadata:
    """What was added, changed and deleted, and how long it took."""
    result = served.reconciliation
    documents = {
        "added": served.added_documents,
        "changed": served.changed_documents,
        "deleted": served.deleted_documents,
    }
    return {
        "alias": served.alias,
        "reason": served.reason,
        "collection": result.collection if result else "nothing is live yet",
        "model_version": served.model_version or "none",
        "corpus_version": result.corpus_version if result else "none",
        "added": result.added if result else 0,
        "changed": result.updated if result else 0,
        "deleted": result.deleted if result else 0,
        "unchanged": result.unchanged if result else 0,
        "point_count": result.point_count if result else 0,
        **{f"{change}_document_count": len(names) for change, names in documents.items()},
        "quarantine_count": served.quarantine_count,
        "indexing_duration_s": float(served.duration_s),
        "documents": table(
            {"document": name, "change": change} for change, names in documents.items() for name in names[:50]
        ),
    }


def of_decision(decision: RetrainDecision) -> Metadata:
    """The decision with each measure beside its bound."""
    novelty, bounds = decision.novelty, decision.settings
    recall = {"recall_at_5_on_new": float(novelty.recall_at_5)} if novelty.recall_at_5 is not None else {}
    return {
        "decision": decision.action,
        "reason": decision.reason,
        "trained_corpus_version": novelty.trained_corpus_version,
        "trained_chunk_count": novelty.trained_chunk_count,
        "new_chunk_count": novelty.new_chunk_count,
        "gone_chunk_count": novelty.gone_chunk_count,
        "new_cluster_share": float(novelty.new_cluster_share),
        "new_word_share": float(novelty.new_word_share),
        "question_count_on_new": novelty.question_count,
        **recall,
        "new_words": ", ".join(novelty.new_words) or "none",
        "bounds": table({"bound": name, "value": value} for name, value in dataclasses.asdict(bounds).items()),
    }
