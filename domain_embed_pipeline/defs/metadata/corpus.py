"""Metadata of the group `corpus`."""

from domain_embed_pipeline.defs.metadata.values import Metadata, counts_by, spread, table
from domain_embed_pipeline.records import Corpus, DocumentSplits


def of_corpus(corpus: Corpus) -> Metadata:
    """Counts, sample chunks and the quarantine."""
    lengths = sorted(chunk.token_count for chunk in corpus.chunks)
    return {
        "corpus_version": corpus.corpus_version,
        "document_count": len(corpus.documents),
        "chunk_count": len(corpus.chunks),
        "duplicate_count": corpus.duplicate_count,
        "quarantine_count": len(corpus.quarantine),
        "token_count": sum(lengths),
        "median_chunk_tokens": lengths[len(lengths) // 2],
        "longest_chunk_tokens": lengths[-1],
        "media_types": table(counts_by(document.media_type for document in corpus.documents)),
        "quarantine": table(
            {"document": row.document_id, "reason": row.reason, "detail": row.detail} for row in corpus.quarantine[:100]
        ),
        "sample_chunks": table(
            {"title": chunk.title, "text": chunk.text, "document": chunk.document_id, "tokens": chunk.token_count}
            for chunk in spread(corpus.chunks)
        ),
    }


def of_splits(splits: DocumentSplits) -> Metadata:
    """Sizes of the sides and of the clusters."""
    documents, chunks = len(splits.documents), len(splits.chunk_clusters)
    sides = {side: sum(row.split == side for row in splits.documents) for side in ("train", "dev", "test")}
    return {
        "splits_version": splits.splits_version,
        "corpus_version": splits.corpus_version,
        "holds_out_documents": splits.holds_out,
        **{f"{side}_document_count": count for side, count in sides.items()},
        "near_duplicate_documents": documents - len({row.cluster_id for row in splits.documents}),
        "near_duplicate_chunks": chunks - len({row.cluster_id for row in splits.chunk_clusters}),
    }
