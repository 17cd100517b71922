"""The stores of one deployment, opened from its settings. The Dagster resource and the CLI share it.

What belongs here: which store lies where, among the artifacts or on this machine (see `artifacts`). What does not: what
is done with them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from domain_embed_pipeline.alternatives.measuring import AlternativeSettings
from domain_embed_pipeline.artifacts import Location
from domain_embed_pipeline.corpus.erasures import ErasureList
from domain_embed_pipeline.corpus.settings import CorpusSettings
from domain_embed_pipeline.evaluation.comparators import Workload
from domain_embed_pipeline.questions.ledger import Ledger
from domain_embed_pipeline.records import Corpus
from domain_embed_pipeline.registry.base import register_base_model
from domain_embed_pipeline.registry.lineage import LineageLog
from domain_embed_pipeline.registry.manifest import ModelVersion
from domain_embed_pipeline.registry.versions import ModelRegistry
from domain_embed_pipeline.serving.live import live_collection
from domain_embed_pipeline.serving.records import BuildSettings
from domain_embed_pipeline.serving.retriever import Retriever
from domain_embed_pipeline.serving.store import QdrantSettings, open_store
from domain_embed_pipeline.settings import DeploymentSettings
from domain_embed_pipeline.tables import find_record

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

    from domain_embed_pipeline.evaluation.guards import GuardSet
    from domain_embed_pipeline.pairs.records import UserPairs
    from domain_embed_pipeline.questions.client import MessagesClient

logger = logging.getLogger(__name__)

R = TypeVar("R")


class Workspace:
    """Opens the stores of one deployment."""

    def __init__(self, settings: DeploymentSettings) -> None:
        self.settings = settings
        self.root = Location(settings.artifacts_path)
        self.local = settings.local_folder

    @property
    def unshared(self) -> tuple[str, ...]:
        """Stores that other machines do not see although the artifacts lie in a bucket."""
        if not self.root.is_remote:
            return ()
        ledger = () if self.settings.ledger_url is not None else ("the ledger of LLM answers",)
        index = () if self.settings.qdrant_url is not None else ("the index",)
        return (*ledger, *index)

    @property
    def registry(self) -> ModelRegistry:
        """Model versions and their vector caches."""
        return ModelRegistry(
            self.root / "models",
            vectors_folder=self.local / "vectors",
            engine=self.settings.engine,
            copies_folder=self.local / "models",
            base_model=self.settings.base_model,
        )

    @property
    def lineage(self) -> LineageLog:
        """What happened to the alias, for ever."""
        return LineageLog(self.root / "lineage.jsonl")

    @property
    def erasures(self) -> ErasureList:
        """Documents that must never come back."""
        return ErasureList(self.root / "erasures.jsonl")

    @property
    def checkpoints(self) -> Path:
        """Checkpoints of trainings that are not done."""
        return self.local / "checkpoints"

    @property
    def tensorboard(self) -> Path | None:
        """Curves of trainings for TensorBoard; None when nobody asked for them."""
        return Path(self.settings.tensorboard_path) if self.settings.tensorboard_path else None

    @property
    def reports(self) -> Location:
        """Reports, one a comparison."""
        return self.root / "reports"

    @property
    def frozen_queries(self) -> Location:
        """The generated evaluation set, kept for ever."""
        return self.root / "frozen_evaluation_set"

    @property
    def pair_verdicts(self) -> Location:
        """What the wording filters said of the last run's pairs."""
        return self.root / "pair_verdicts"

    @property
    def locks(self) -> Path:
        """Lock files of aliases."""
        return self.local / "locks"

    @property
    def drops(self) -> Location:
        """What the drop sensor has seen, and what the live collection was last brought up to."""
        return self.root / "drops"

    @property
    def latencies(self) -> Path:
        """How long encoders take on this machine, one file each."""
        return self.local / "latencies"

    @property
    def tables(self) -> Location:
        """Records of the assets."""
        return self.root / "tables"

    @property
    def base_model(self) -> ModelVersion:
        """The base model as a version."""
        return register_base_model(self.registry, self.settings.base_model)

    @property
    def qdrant(self) -> QdrantSettings:
        """Embedded store or server."""
        settings = self.settings
        if settings.qdrant_url is None:
            return QdrantSettings(path=settings.qdrant_path)
        key = settings.qdrant_api_key
        return QdrantSettings(
            url=settings.qdrant_url,
            api_key=key.get_secret_value() if key else None,
            prefer_grpc=settings.qdrant_prefer_grpc,
            grpc_port=settings.qdrant_grpc_port,
            ca_file=settings.qdrant_ca_file,
            client_cert_file=settings.qdrant_client_cert_file,
            timeout_s=settings.qdrant_timeout_s,
        )

    @property
    def build_settings(self) -> BuildSettings:
        """How new collections are laid out and loaded; an embedded store ignores all but the batch size."""
        settings = self.settings
        return BuildSettings(
            batch_size=settings.qdrant_upload_batch,
            parallel=settings.qdrant_upload_parallel,
            shard_number=settings.qdrant_shards,
            replication_factor=settings.qdrant_replicas,
            write_consistency_factor=settings.qdrant_write_consistency,
            quantization=settings.qdrant_quantization,
            vectors_on_disk=settings.qdrant_vectors_on_disk,
        )

    @property
    def alternative_settings(self) -> AlternativeSettings:
        """What is measured beside base and fine-tuned model."""
        settings = self.settings
        names = (name.strip() for name in (settings.other_models or "").split(","))
        return AlternativeSettings(
            models=tuple(filter(None, names)),
            reranker=settings.reranker or None,
            api_key=settings.resolved_embeddings_api_key,
        )

    def workload(self, corpus: Corpus) -> Workload:
        """What the deployment does in a month, with the length of the corpus's own chunks."""
        tokens = sum(chunk.token_count for chunk in corpus.chunks) / max(1, len(corpus.chunks))
        return Workload(
            queries_per_month=self.settings.queries_per_month,
            new_chunks_per_month=self.settings.new_chunks_per_month,
            tokens_per_chunk=round(tokens),
            machine_dollars_per_month=self.settings.machine_dollars_per_month,
        )

    def open_store(self) -> contextlib.AbstractContextManager[QdrantClient]:
        """The vector store, closed in any case."""
        _tell_unshared(self, "the index")
        return open_store(self.qdrant)

    def live_model(self) -> ModelVersion | None:
        """The version that serves; None while nothing does.

        Raises:
            ModelVersionNotFoundError: If the registry lacks the model that the live collection names.
        """
        with self.open_store() as client:
            live = live_collection(client, self.settings.serving_alias)
        return self.registry.manifest(live.model_version) if live is not None else None

    @contextlib.contextmanager
    def open_ledger(self) -> Iterator[Ledger]:
        """The ledger of LLM answers."""
        _tell_unshared(self, "the ledger of LLM answers")
        self.local.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(Ledger(self.settings.resolved_ledger_url)) as ledger:
            yield ledger

    @contextlib.contextmanager
    def messages_client(self) -> Iterator[MessagesClient | None]:
        """Client of the Messages API, or None when there is nobody to ask."""
        if not self.settings.can_ask_llm:
            yield None
            return
        from domain_embed_pipeline.questions.client import MessagesClient

        key = self.settings.anthropic_api_key
        client = MessagesClient(
            api_key=key.get_secret_value() if key else "none", base_url=self.settings.anthropic_base_url
        )
        with contextlib.closing(client):
            yield client

    def retriever(self, *, load_in_background: bool = False) -> Retriever:
        """Searches what is live, with the encoder that the live collection names."""
        registry = self.registry
        return Retriever(
            self.qdrant,
            self.settings.serving_alias,
            lambda spec: registry.encoder(spec.model_version),
            load_in_background=load_in_background,
        )

    def load_user_pairs(self, corpus: Corpus) -> UserPairs | None:
        """The user's own pairs: a click log, train judgments, or both; None when there are none."""
        from domain_embed_pipeline.pairs.user_pairs import load_all_user_pairs, user_pairs_paths

        settings = self.settings
        paths = user_pairs_paths(
            settings.user_pairs_path, settings.queries_path, use_train_qrels=settings.use_train_qrels
        )
        return load_all_user_pairs(paths, corpus)

    def load_guard_sets(self) -> tuple[GuardSet, ...]:
        """Guard sets of the deployment, read anew; empty when they are switched off."""
        from domain_embed_pipeline.alternatives.guard_sets import load_guard_sets

        return load_guard_sets(self.settings.guard_sets)

    def load_corpus(
        self,
        settings: CorpusSettings | None = None,
        *,
        tokenizer: str | None = None,
        client: QdrantClient | None = None,
    ) -> Corpus:
        """The corpus as it is now, where the deployment says it lies: files, or collections of its vector store.

        Args:
            settings: How to read and cut; by default as the last materialization did, so that the two compare.
            tokenizer: Base model in whose tokens chunks are measured; that of the deployment by default.
            client: The vector store, where it is open already; it is opened for collections only.
        """
        from domain_embed_pipeline.corpus.existing_index import SCHEME
        from domain_embed_pipeline.corpus.snapshot import load_corpus
        from domain_embed_pipeline.corpus.tokens import load_token_counter
        from domain_embed_pipeline.encoding.base_models import resolve_base_model

        location = self.settings.corpus_path
        tokenizer = tokenizer or self.settings.base_model
        count_tokens = load_token_counter(resolve_base_model(tokenizer).folder)
        settings = settings or self.corpus_settings
        needs_store = client is None and SCHEME in location
        with self.open_store() if needs_store else contextlib.nullcontext(client) as store:
            corpus = load_corpus(
                location,
                settings=settings,
                count_tokens=count_tokens,
                qdrant_client=store,
                erasures=self.erasures.entries(),
            )
        return dataclasses.replace(corpus, settings={**corpus.settings, "tokenizer": tokenizer})

    @property
    def corpus_settings(self) -> CorpusSettings:
        """How the last materialized corpus was read and cut; the defaults when there was none."""
        stored = self.stored(Corpus, "corpus_chunks")
        return CorpusSettings.from_record(stored.settings if stored else {})

    def stored(self, record_type: type[R], asset: str) -> R | None:
        """What an asset's last materialization stored; None when there was none."""
        return find_record(record_type, self.tables / asset)


_told: set[str] = set()


def _tell_unshared(workspace: Workspace, store: str) -> None:
    """Once in a process: a step on another machine will not find what this one stores."""
    if store in workspace.unshared and store not in _told:
        _told.add(store)
        logger.warning(
            "Artifacts are in %s, but %s is in %s, which other machines do not see.",
            workspace.root,
            store,
            workspace.local,
        )
