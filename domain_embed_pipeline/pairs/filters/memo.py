"""Verdicts of the wording filters on disk, so that a run judges only pairs that the last one did not have.

What belongs here: what is remembered, and when it counts no longer. What does not: the verdicts themselves (`wording`,
`boilerplate`, ...). Only filters that judge each pair by itself can be remembered; duplicates depend on all pairs.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from domain_embed_pipeline.artifacts import Location
from domain_embed_pipeline.errors import DomainEmbedError
from domain_embed_pipeline.ids import digest_of_json
from domain_embed_pipeline.pairs.filters.base import PairFilter, Verdict, rejection
from domain_embed_pipeline.pairs.filters.settings import FilterSettings
from domain_embed_pipeline.pairs.records import FilterResult
from domain_embed_pipeline.records import TrainingPair
from domain_embed_pipeline.tables import load_record, save_record

logger = logging.getLogger(__name__)

_RULES = ("base", "boilerplate", "chain", "language", "length", "wording", "../shingles")
"""Modules whose text decides the verdicts: a change to any of them makes every pair be judged again."""


@dataclass(frozen=True, slots=True)
class RememberedVerdict:
    """What the wording filters said of one pair."""

    key: int
    reason: str
    """Empty when the pair was kept."""
    detail: str


@dataclass(frozen=True, slots=True)
class RememberedVerdicts:
    """Every verdict of one run under one set of rules."""

    rules: str
    verdicts: tuple[RememberedVerdict, ...]


class VerdictMemo:
    """Verdicts by pair, source and chunk; what is not asked for in a run is forgotten when it is saved.

    Args:
        folder: Where the verdicts of the last run lie.
        settings: Thresholds; others make every pair be judged again.
    """

    def __init__(self, folder: Path | Location, settings: FilterSettings) -> None:
        self._folder, self._rules = folder, _rules_digest(settings)
        self._known = self._load()
        self._used: dict[int, Verdict | None] = {}
        self.judged = 0
        """Pairs that had to be judged in this run."""

    def filtered(self, pairs: Sequence[TrainingPair], filters: Sequence[PairFilter]) -> FilterResult:
        """What `filters` keep and drop, asking them only about pairs that are not remembered."""
        keys = [_key_of(pair) for pair in pairs]
        fresh = {key: pair for key, pair in zip(keys, pairs, strict=True) if key not in self._known}
        self._known.update(zip(fresh, _verdicts(list(fresh.values()), filters), strict=True))
        self._used.update((key, self._known[key]) for key in keys)
        self.judged += len(fresh)
        kept, dropped = [], []
        for key, pair in zip(keys, pairs, strict=True):
            verdict = self._known[key]
            if verdict is None:
                kept.append(pair)
            else:
                dropped.append(rejection(pair, *verdict))
        return FilterResult(tuple(kept), tuple(dropped))

    def save(self) -> None:
        """Keep what this run used."""
        rows = (RememberedVerdict(key, *(verdict or ("", ""))) for key, verdict in sorted(self._used.items()))
        save_record(RememberedVerdicts(self._rules, tuple(rows)), self._folder)
        logger.info("%d of %d pairs had to be judged; the verdicts are kept.", self.judged, len(self._used))

    def _load(self) -> dict[int, Verdict | None]:
        try:
            stored = load_record(RememberedVerdicts, self._folder)
        except FileNotFoundError:
            return {}
        except (DomainEmbedError, OSError, ValueError) as problem:
            logger.warning(
                "Remembered verdicts in %s cannot be read, so all pairs are judged: %s", self._folder, problem
            )
            return {}
        if stored.rules != self._rules:
            return {}
        return {row.key: (row.reason, row.detail) if row.reason else None for row in stored.verdicts}


def _key_of(pair: TrainingPair) -> int:
    """63 bits of what a verdict depends on beside the rules; ids are digests of the texts."""
    name = f"{pair.pair_id}|{pair.source}|{pair.chunk_id}"
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little") >> 1


def _verdicts(pairs: Sequence[TrainingPair], filters: Sequence[PairFilter]) -> Iterable[Verdict | None]:
    """Verdict of each pair: that of the first filter which drops it."""
    found: dict[int, Verdict] = {}
    places = list(range(len(pairs)))
    for pair_filter in filters:
        result = pair_filter([pairs[place] for place in places])
        kept, dropped, left = iter(result.kept), iter(result.dropped), []
        following = next(kept, None)
        for place in places:
            # What is kept comes in the order in which it was given, and so does what is dropped.
            if following is pairs[place]:
                left.append(place)
                following = next(kept, None)
            else:
                row = next(dropped)
                found[place] = (row.reason, row.detail)
        places = left
    return [found.get(place) for place in range(len(pairs))]


def _rules_digest(settings: FilterSettings) -> str:
    folder = Path(__file__).parent
    sources = [(folder / f"{name}.py").read_text(encoding="utf-8") for name in _RULES]
    return digest_of_json([asdict(settings), *sources])
