"""Chunks and settings that the tests of this room share."""

from __future__ import annotations

import random
import re
from typing import Any

from domain_embed_pipeline.ids import chunk_id_of
from domain_embed_pipeline.questions.settings import QuestionSettings
from domain_embed_pipeline.records import Chunk, Corpus

_WORDS = re.findall(r"\w+", """
    anchor bearing blower bolt brake bracket cable canister casing chamber clutch compressor condenser coolant coupling
    crankcase cylinder damper diaphragm drain exhaust fan filter flange flywheel gasket gauge gear governor grommet
    harness heater hose impeller injector inlet jacket journal lever lubricant magnet manifold motor nozzle outlet
    pinion piston plunger pressure pulley pump regulator relay rotor seal sensor shaft sleeve solenoid spindle spring
    starter stator strainer sump switch tank tappet thermostat throttle torque turbine vacuum valve vane vibration
""")  # fmt: skip
_VERBS = ("holds", "opens", "turns", "drives", "cools", "blocks", "feeds", "heats", "drains", "loads", "guards")


def make_chunk(text: str, *, title: str = "", document_id: str = "manual.md", external_id: str = "") -> Chunk:
    """A chunk with the ids that the corpus room would give it."""
    external_ids = (external_id,) if external_id else ()
    return Chunk(chunk_id_of(text, title), text, title, (document_id,), external_ids, 0, len(text) // 4)


def make_text(number: int, *, sentences: int = 4) -> str:
    """Prose that is the same for the same number."""
    source = random.Random(number)
    parts = []
    for _ in range(sentences):
        words = source.sample(_WORDS, 5)
        verb = source.choice(_VERBS)
        parts.append(
            f"The {words[0]} {words[1]} {verb} the {words[2]} while the {words[3]} is within {source.randint(2, 90)} "
            f"percent of its {words[4]} limit."
        )
    return f"Unit {number}. " + " ".join(parts)


def make_chunks(count: int, *, start: int = 0, sentences: int = 4) -> list[Chunk]:
    """Chunks of ten to a document."""
    return [
        make_chunk(
            make_text(number, sentences=sentences),
            title=f"Unit {number}",
            document_id=f"unit-{number // 10}.md",
            external_id=f"u{number}",
        )
        for number in range(start, start + count)
    ]


def corpus_of(chunks: list[Chunk]) -> Corpus:
    """The chunks as a corpus."""
    return Corpus("corpus-test", tuple(chunks), (), (), 0)


def fast(**changes: Any) -> QuestionSettings:
    """Settings without the waits that real servers need."""
    waits: dict[str, Any] = {
        "mode": "direct",
        "requests_per_minute": 60_000,
        "first_backoff_s": 0.01,
        "retry_after_ceiling_s": 0.2,
        "request_timeout_s": 5.0,
        "batch_poll_s": 0.05,
        "batch_adopt_grace_s": 0.3,
    }
    return QuestionSettings(**{**waits, **changes})
