"""`CorpusSettings`: how documents are read and cut. Where they lie is a deployment setting, not one of these."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from domain_embed_pipeline.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class CorpusSettings:
    """How documents are read and cut into chunks.

    Raises:
        ConfigurationError: If a value is out of bounds.
    """

    max_tokens: int = 220
    """Most tokens of a chunk, its title included; more than the encoder takes is cut off silently there. 220 leaves
    room for special tokens and a prompt in the 256 of MiniLM."""
    min_tokens: int = 32
    """A section with fewer tokens is joined to a neighbour in its document: alone, a line such as "See above." matches
    everything. 0 leaves every section on its own."""
    max_file_bytes: int = 20_000_000
    """A larger document is set aside unread. Files of ready chunks are streamed: there the limit holds for one row."""
    sentence_language: str = "en"
    """Two-letter code for abbreviations such as "z.B."; a wrong one costs a few sentence ends, no text."""
    read_hidden: bool = False
    """Whether files and folders whose name starts with a dot are documents too."""

    def __post_init__(self) -> None:
        bounds = (("max_tokens", 16, 100_000), ("min_tokens", 0, self.max_tokens), ("max_file_bytes", 1, 2**40))
        for name, lowest, highest in bounds:
            value = getattr(self, name)
            if not lowest <= value <= highest:
                raise ConfigurationError(
                    f"CorpusSettings.{name} is {value}; it must lie between {lowest} and {highest}.",
                    fix=f"Set {name} within these bounds.",
                )

    @classmethod
    def from_record(cls, stored: Mapping[str, Any]) -> Self:
        """The settings that a `Corpus` names; what it does not name has its default."""
        known = {field.name for field in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in stored.items() if name in known})
