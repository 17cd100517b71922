"""Deployment settings: where things live and whom to call. Read from the environment (`DOMAIN_EMBED_*`) and `.env`.

Run knobs (epochs, questions per chunk, margins) are not here: they are `dg.Config` in `defs/config` and frozen
settings dataclasses beside the function that uses them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from domain_embed_pipeline.artifacts import is_url
from domain_embed_pipeline.encoding.engines.settings import EngineSettings


class DeploymentSettings(BaseSettings):
    """Everything that differs from one deployment to the next."""

    model_config = SettingsConfigDict(
        # `ANTHROPIC_API_KEY=` in an .env or compose file means: none.
        env_prefix="DOMAIN_EMBED_",
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        populate_by_name=True,
    )

    corpus_path: str = Field(
        default="data/corpus",
        description="Folder or file of documents (any fsspec URL), or qdrant://COLLECTION?text=FIELD&title=FIELD for "
        "the chunks of an existing collection. Several are separated by commas.",
    )
    queries_path: str | None = Field(
        default=None,
        description="BEIR folder (queries.jsonl, qrels/*.tsv) with the user's own queries. Without it, evaluation "
        "queries are generated from held-out documents.",
    )
    user_pairs_path: str | None = Field(
        default=None,
        description="The user's own training pairs: a BEIR folder whose qrels/train.tsv is used, or a click log as "
        ".jsonl, .csv or .parquet with the columns query and chunk_id.",
    )
    use_train_qrels: bool = Field(
        default=True,
        description="Train on qrels/train.tsv of queries_path when there is one. Off, those judgments are left alone.",
    )
    artifacts_path: str = Field(
        default="data/artifacts",
        description="Where tables, models and reports are kept: a folder, or a bucket by any fsspec URL such as "
        "s3://bucket/prefix, which steps and services on several machines share.",
    )
    local_path: str | None = Field(
        default=None,
        description="Folder of this machine for vectors, checkpoints, fetched models, locks and embedded stores. "
        "Default: artifacts_path; a folder in data/local when that is a URL. On a disk that goes with its pod, an "
        "interrupted training begins anew and texts are encoded again.",
    )
    ledger_url: str | None = Field(
        default=None,
        description="SQLAlchemy URL of the ledger of LLM answers. Default: SQLite in local_path, which other machines "
        "do not see.",
    )
    base_model: str = Field(
        default="all-MiniLM-L6-v2",
        description="Hub name or folder of the sentence-transformers model to start from.",
    )
    encoding_engine: Literal["process", "devices", "ray"] = Field(
        default="process",
        description="Where many texts are encoded: this process, a process for each device of this machine, or Ray "
        "(extra `ray`). Vectors are the same.",
    )
    encoding_devices: str = Field(
        default="", description="Of the engine `devices`: cuda:0,cuda:1,...; every GPU when empty."
    )
    ray_address: str | None = Field(
        default=None, description="Ray cluster: `auto` or ray://...; one on this machine when not given."
    )
    ray_actors: int = Field(default=1, ge=1, description="Ray actors; more than the cluster holds are refused.")
    ray_gpus_per_actor: float = Field(default=0.0, ge=0, description="GPUs an actor; 0 encodes on CPUs.")
    serving_alias: str = Field(
        default="documents",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,62}$",
        description="The alias that readers query.",
    )
    drop_interval_s: int = Field(
        default=15, ge=1, le=86_400, description="Seconds between two looks of corpus_drop_sensor at the documents."
    )
    drop_quiet_s: float = Field(
        default=10.0,
        ge=0,
        description="Seconds without a change before new documents are indexed; shorter than a writer's pause indexes "
        "half a document, which the next run mends.",
    )
    drop_max_wait_s: float = Field(
        default=900.0,
        ge=1,
        description="Files that keep changing for so many seconds are indexed as they are; a file that is written "
        "without end would otherwise keep all others out.",
    )
    drop_marker: str | None = Field(
        default=None,
        pattern=r"^[^/]+$",
        description="Name of a file that is written last, beside the new documents or in a folder above. It replaces "
        "the waiting for quiet; where it is missing new documents wait for drop_max_wait_s.",
    )
    qdrant_url: str | None = Field(default=None, description="Qdrant server; without it the store is embedded.")
    qdrant_api_key: SecretStr | None = Field(default=None, description="Key of the Qdrant server.")
    qdrant_prefer_grpc: bool = Field(default=False, description="Use gRPC for vectors; needs port 6334.")
    qdrant_timeout_s: int = Field(default=60, ge=1, description="Seconds before one Qdrant request is given up.")
    qdrant_grpc_port: int = Field(default=6334, ge=1, le=65535, description="Port of gRPC on the Qdrant server.")
    qdrant_ca_file: str | None = Field(
        default=None, description="PEM file of the authority that signed the server's certificate, if it is your own."
    )
    qdrant_client_cert_file: str | None = Field(
        default=None, description="PEM file of our certificate and its key, where the server asks for one (mutual TLS)."
    )
    qdrant_shards: int | None = Field(
        default=None,
        ge=1,
        description="Shards of a new collection: a multiple of the number of nodes, or some nodes stay idle.",
    )
    qdrant_replicas: int | None = Field(
        default=None, ge=1, description="Copies of each shard. With one, a node that is down takes its shards along."
    )
    qdrant_write_consistency: int | None = Field(
        default=None, ge=1, description="Replicas that must confirm a write; more than there are refuses every write."
    )
    qdrant_quantization: Literal["none", "int8"] = Field(
        default="none",
        description="int8 needs a quarter of the memory; queries rescore twice the candidates with the full vectors.",
    )
    qdrant_vectors_on_disk: bool = Field(
        default=False, description="Full vectors on disk instead of in memory; slow disks then slow every query."
    )
    qdrant_upload_batch: int = Field(
        default=128, ge=1, le=10_000, description="Points in one upload; large ones hit the server's limit of 32 MB."
    )
    qdrant_upload_parallel: int = Field(
        default=2, ge=1, le=32, description="Uploads at a time; many slow down the queries that the server answers."
    )
    profile: Literal["demo", "cpu", "gpu", "production"] = Field(
        default="cpu",
        description="Named set of run knobs that are the defaults of every run; see defs/profiles.py.",
    )
    anthropic_api_key: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("DOMAIN_EMBED_ANTHROPIC_API_KEY", "ANTHROPIC_API_KEY", "anthropic_api_key"),
        description="Key for the Messages API. Without key and base URL no question is asked.",
    )
    anthropic_base_url: str | None = Field(
        default=None,
        validation_alias=AliasChoices("DOMAIN_EMBED_ANTHROPIC_BASE_URL", "ANTHROPIC_BASE_URL", "anthropic_base_url"),
        description="Another server that speaks the Messages API (Ollama, vLLM, LiteLLM, ...).",
    )

    embeddings_api_key: SecretStr | None = Field(
        default=None,
        description="Key for the OpenAI-compatible embeddings endpoints that are measured beside the own models.",
    )
    other_models: str | None = Field(
        default=None,
        description="Models to be measured beside base and fine-tuned one, separated by commas: hub names, folders, or "
        "URL#MODEL of an OpenAI-compatible endpoint, which gets every chunk and test query once and charges for them.",
    )
    reranker: str | None = Field(
        default=None,
        description="Cross-encoder (hub name or folder) that is measured on top of the base model's results; on a CPU "
        "it takes about a second a query.",
    )
    guard_sets: str | None = Field(
        default=None,
        description="Folders in BEIR layout that show what a model forgot, separated by commas; `none` for no guard. "
        "Default: the sets in data/guards.",
    )
    queries_per_month: int = Field(default=100_000, ge=0, description="Your volume, for the price comparison.")
    new_chunks_per_month: int = Field(default=10_000, ge=0, description="Chunks that are embedded each month.")
    machine_dollars_per_month: float = Field(
        default=60.0, ge=0, description="What a machine that runs an own model costs; 0 when it is there anyway."
    )
    tensorboard_path: str | None = Field(
        default=None, description="Folder for the curves of trainings, which TensorBoard (extra `tensorboard`) reads."
    )
    notifier: str = Field(
        default="log",
        description="Who hears of a failed run: log, the URL of a webhook, or package.module:function.",
    )
    ui_url: str = Field(default="http://localhost:3000", description="The web UI, for links in notices.")
    max_run_hours: float = Field(
        default=24.0, gt=0, le=24 * 14, description="A run that takes longer is ended; too short ends long trainings, "
        "which go on from their checkpoint when they are run again."
    )  # fmt: skip
    retrain_cron: str = Field(
        default="0 3 * * 0", description="When weekly_retrain_schedule looks for changes, as a cron expression."
    )
    retrain_timezone: str = Field(default="UTC", description="Time zone of retrain_cron, such as Europe/Berlin.")

    api_keys: SecretStr | None = Field(
        default=None, description="Keys of the HTTP service, separated by commas; without any it is open."
    )

    @property
    def resolved_embeddings_api_key(self) -> str:
        """The key for embeddings endpoints; empty when there is none."""
        return self.embeddings_api_key.get_secret_value() if self.embeddings_api_key else ""

    @property
    def service_keys(self) -> tuple[SecretStr, ...]:
        """The keys of the HTTP service, one by one."""
        keys = self.api_keys.get_secret_value().split(",") if self.api_keys else []
        return tuple(SecretStr(key.strip()) for key in keys if key.strip())

    @property
    def local_folder(self) -> Path:
        """Folder of this machine for what cannot lie in a bucket."""
        if self.local_path is not None:
            return Path(self.local_path)
        if not is_url(self.artifacts_path):
            return Path(self.artifacts_path)
        return Path("data/local") / re.sub(r"[^A-Za-z0-9]+", "-", self.artifacts_path).strip("-")

    @property
    def resolved_ledger_url(self) -> str:
        """The ledger's URL, with the default filled in."""
        return self.ledger_url or f"sqlite:///{self.local_folder / 'ledger.sqlite'}"

    @property
    def qdrant_path(self) -> str:
        """Folder of the embedded store."""
        return str(self.local_folder / "qdrant")

    @property
    def engine(self) -> EngineSettings:
        """Where many texts are encoded."""
        devices = tuple(name.strip() for name in self.encoding_devices.split(",") if name.strip())
        return EngineSettings(
            engine=self.encoding_engine,
            devices=devices,
            ray_address=self.ray_address,
            actors=self.ray_actors,
            gpus_per_actor=self.ray_gpus_per_actor,
        )

    @property
    def can_ask_llm(self) -> bool:
        """Whether there is anybody to ask."""
        return self.anthropic_api_key is not None or self.anthropic_base_url is not None
