"""Group `corpus`: what the documents are now, and which side of the split each is on."""

from datetime import timedelta

import dagster as dg

from domain_embed_pipeline.defs.config.corpus import CorpusConfig, SplitConfig
from domain_embed_pipeline.defs.metadata import corpus as metadata
from domain_embed_pipeline.defs.resources import Deployment
from domain_embed_pipeline.inputs import files_digest
from domain_embed_pipeline.pairs.splits import split_documents
from domain_embed_pipeline.records import Corpus, DocumentSplits

GROUP = "corpus"
OWNERS = ["team:search"]


@dg.asset(
    group_name=GROUP,
    kinds={"python", "parquet"},
    code_version="1",
    owners=OWNERS,
    freshness_policy=dg.FreshnessPolicy.time_window(warn_window=timedelta(days=30), fail_window=timedelta(days=90)),
)
def corpus_chunks(deployment: Deployment, config: CorpusConfig) -> dg.MaterializeResult[Corpus]:
    """Every readable document, cut into chunks along its headings.

    A chunk carries its heading path as title and is named by its content, so the same passage in two files is one
    chunk. Files that cannot be read are in the quarantine table with the reason; the rest goes on.
    """
    files = files_digest(deployment.settings)
    corpus = deployment.workspace.load_corpus(config.to_settings())
    return dg.MaterializeResult(
        value=corpus,
        metadata=metadata.of_corpus(corpus) | {"files_digest": files},
        data_version=dg.DataVersion(corpus.corpus_version),
    )


@dg.asset(group_name=GROUP, kinds={"python", "parquet"}, code_version="1", owners=OWNERS)
def document_splits(
    deployment: Deployment, config: SplitConfig, corpus_chunks: Corpus
) -> dg.MaterializeResult[DocumentSplits]:
    """Train, dev and test sides of the documents, decided before any question is written.

    Near-duplicate documents are one cluster and stay together. A stable hash, and the splits of the last run, keep each
    on its side as the corpus grows. With queries of your own nothing is held out: they are the test.
    """
    splits = split_documents(
        corpus_chunks,
        settings=config.to_settings(),
        has_user_queries=deployment.settings.queries_path is not None,
        previous=deployment.workspace.stored(DocumentSplits, "document_splits"),
    )
    return dg.MaterializeResult(
        value=splits, metadata=metadata.of_splits(splits), data_version=dg.DataVersion(splits.splits_version)
    )
