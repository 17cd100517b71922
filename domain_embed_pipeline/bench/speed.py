"""Our way and the tutorial's on the same work, in turn, in one process: ratios that other load hardly touches.

What belongs here: taking turns, medians, the printed lines. What does not: the work (`encode_speed`, `train_speed`).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

REPEATS = 5


@dataclass(frozen=True, slots=True)
class Turn:
    """The same work done both ways, one right after the other."""

    units: int
    """Chunks or pairs."""
    tutorial_s: float
    ours_s: float
    tutorial_cpu_s: float
    """Processor seconds of this process: what other processes do in between is not in it."""
    ours_cpu_s: float


@dataclass(frozen=True, slots=True)
class Speed:
    """All turns of one kind of work."""

    work: str
    unit: str
    turns: tuple[Turn, ...]
    notes: tuple[str, ...] = ()

    @property
    def ratio(self) -> float:
        """Median over the turns of our rate by the tutorial's."""
        return statistics.median(turn.tutorial_s / turn.ours_s for turn in self.turns)

    @property
    def cpu_ratio(self) -> float:
        """The same by processor seconds; on a GPU they say little."""
        return statistics.median(turn.tutorial_cpu_s / turn.ours_cpu_s for turn in self.turns)

    def rates(self) -> tuple[float, float]:
        """Median units a second: the tutorial's and ours."""
        return (
            statistics.median(turn.units / turn.tutorial_s for turn in self.turns),
            statistics.median(turn.units / turn.ours_s for turn in self.turns),
        )

    def lines(self) -> list[str]:
        """What is printed."""
        tutorial, ours = self.rates()
        return [
            f"{self.work}: {ours:.1f} {self.unit}/s against {tutorial:.1f} of the tutorial's way: "
            f"{self.ratio:.2f} times ({self.cpu_ratio:.2f} by processor seconds), medians of {len(self.turns)}",
            *self.notes,
        ]


def timed(work: Callable[[], None]) -> tuple[float, float]:
    """Wall and processor seconds of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def parts_of(count: int, repeats: int) -> list[list[int]]:
    """Places 0 to count - 1 dealt out to at most `repeats` parts, so that each is like the whole."""
    return [part for part in ([*range(start, count, repeats)] for start in range(repeats)) if part]


def take_turns(
    parts: Sequence[list[int]], tutorial: Callable[[list[int]], None], ours: Callable[[list[int]], None]
) -> tuple[Turn, ...]:
    """Each part both ways; who begins changes from part to part."""
    turns = []
    for number, part in enumerate(parts):
        if number % 2:
            second, first = timed(lambda part=part: ours(part)), timed(lambda part=part: tutorial(part))
        else:
            first, second = timed(lambda part=part: tutorial(part)), timed(lambda part=part: ours(part))
        turns.append(Turn(len(part), first[0], second[0], first[1], second[1]))
    return tuple(turns)
