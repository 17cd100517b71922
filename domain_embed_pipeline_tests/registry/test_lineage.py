"""What happened to the alias is appended and never lost."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from domain_embed_pipeline.registry.lineage import LineageLog


def record(log: LineageLog, alias: str, number: int) -> None:
    log.record(
        "promotion",
        alias=alias,
        model_version=f"model-{number}",
        collection=f"documents-{number}",
        previous_collection=f"documents-{number - 1}" if number else None,
        reason="better: Recall@5 +0.05 ünd\nso\u2028on",
    )


def test_events_come_back_oldest_first_and_by_alias(tmp_path: Path) -> None:
    log = LineageLog(tmp_path / "deep" / "lineage.jsonl")
    for number, alias in enumerate(["documents", "other", "documents"]):
        record(log, alias, number)
    assert [event.model_version for event in log.events()] == ["model-0", "model-1", "model-2"]
    events = LineageLog(tmp_path / "deep" / "lineage.jsonl").events("documents")
    assert [(event.model_version, event.previous_collection) for event in events] == [
        ("model-0", None),
        ("model-2", "documents-1"),
    ]
    assert events[0].reason == "better: Recall@5 +0.05 ünd\nso\u2028on"


def test_nothing_happened_yet(tmp_path: Path) -> None:
    assert LineageLog(tmp_path / "lineage.jsonl").events() == []


def test_many_writers_lose_no_event(tmp_path: Path) -> None:
    path = tmp_path / "lineage.jsonl"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: record(LineageLog(path), "documents", number), range(100)))
    assert sorted(int(event.model_version[6:]) for event in LineageLog(path).events()) == list(range(100))


def test_a_line_that_a_crash_cut_short_does_not_hide_the_others(tmp_path: Path) -> None:
    log = LineageLog(tmp_path / "lineage.jsonl")
    record(log, "documents", 0)
    with (tmp_path / "lineage.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"kind": "promo')
    record(log, "documents", 1)
    assert [event.model_version for event in log.events()] == ["model-0", "model-1"]
