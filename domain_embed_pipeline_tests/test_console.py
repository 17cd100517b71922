"""What a run shows while it goes on."""

from __future__ import annotations

import pytest

from domain_embed_pipeline.console import RunScreen
from domain_embed_pipeline.defs.execution import RunEvent

EVENTS = (
    RunEvent("step_started", "stage_one_model", ""),
    RunEvent("log", "stage_one_model", "run - stage_one_model - [20/50] dev Recall@5 0.61"),
    RunEvent("step_succeeded", "stage_one_model", ""),
    RunEvent("step_started", "stage_one_model_pairs_suffice", ""),
    RunEvent("check_failed", "model_comparison", "candidate_is_better: not shown"),
)


@pytest.mark.parametrize(("enabled", "expected"), [(True, 4), (False, 1)])
def test_without_a_terminal_each_thing_that_happens_is_a_line(
    enabled: bool, expected: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with RunScreen(enabled=enabled) as screen:
        for event in EVENTS:
            screen.show(event)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == expected
    if enabled:
        assert lines[:3] == [
            "stage_one_model: started",
            "stage_one_model: [20/50] dev Recall@5 0.61",
            "stage_one_model: succeeded",
        ]
    assert lines[-1] == "check model_comparison: candidate_is_better: not shown"
