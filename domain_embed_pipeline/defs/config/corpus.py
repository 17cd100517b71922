"""Knobs of the group `corpus`."""

import dagster as dg
from pydantic import Field

from domain_embed_pipeline.corpus.settings import CorpusSettings
from domain_embed_pipeline.defs.profiles import defaults_of
from domain_embed_pipeline.pairs.splits import SplitSettings


@defaults_of("corpus_chunks")
class CorpusConfig(dg.Config):
    """How documents are cut into chunks."""

    max_tokens: int = Field(
        default=220, ge=32, le=8000, description="Most tokens a chunk; more than the model reads is cut off silently."
    )
    max_file_mb: int = Field(default=20, ge=1, le=2000, description="Larger files go to quarantine unread.")

    def to_settings(self) -> CorpusSettings:
        """The library's settings."""
        return CorpusSettings(max_tokens=self.max_tokens, max_file_bytes=self.max_file_mb * 1_000_000)


class SplitConfig(dg.Config):
    """What is held out when there are no queries of the user's own."""

    dev_share: float = Field(default=0.1, gt=0, lt=0.5, description="Share of documents on the dev side.")
    test_share: float = Field(default=0.1, gt=0, lt=0.5, description="Share of documents on the test side.")
    seed: int = Field(default=13, description="A new one moves documents between sides; old scores no longer compare.")

    def to_settings(self) -> SplitSettings:
        """The library's settings."""
        return SplitSettings(dev_share=self.dev_share, test_share=self.test_share, seed=self.seed)
