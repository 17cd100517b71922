"""Pictures as inline SVG: recall with intervals, training curves.

What belongs here: geometry. What does not: which figures are shown (`report`) and colours, which the page's style sheet
gives by class so that one picture serves light, dark and print.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _LEFT, _RIGHT, _ROW = 360, 12, 46, 19


@dataclass(frozen=True, slots=True)
class Bar:
    """A mean with its interval; `series` picks colour and marker."""

    series: str
    label: str
    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Curve:
    """A quantity over training steps."""

    name: str
    steps: tuple[float, ...]
    values: tuple[float, ...]


def interval_chart(groups: Sequence[tuple[str, Sequence[Bar]]], *, title: str) -> str:
    """Dots with whiskers on one axis from 0 to 1, a row per bar, under a heading per group."""
    parts, y = [], 8.0
    for name, bars in groups:
        y += 15
        parts.append(f'<text class="group" x="{_LEFT}" y="{y:.0f}">{escape(name)}</text>')
        for bar in bars:
            y += _ROW
            parts.append(_whisker(bar, y - 5))
        y += 6
    axis_top, axis_bottom = 6, y + 2
    ticks = "".join(
        f'<line class="grid" x1="{_x(value):.1f}" x2="{_x(value):.1f}" y1="{axis_top}" y2="{axis_bottom:.0f}"/>'
        f'<text class="tick" x="{_x(value):.1f}" y="{axis_bottom + 13:.0f}">{value:g}</text>'
        for value in (0, 0.25, 0.5, 0.75, 1)
    )
    return _svg(ticks + "".join(parts), height=axis_bottom + 18, title=title)


def curve_chart(curve: Curve, *, title: str) -> str:
    """One line; the axis spans what it covers."""
    height, top, bottom = 130.0, 10.0, 108.0
    low, high = min(curve.values), max(curve.values)
    first, last = min(curve.steps), max(curve.steps)
    points = [
        (
            _LEFT + (step - first) / ((last - first) or 1) * (_WIDTH - _LEFT - _RIGHT),
            bottom - (value - low) / ((high - low) or 1) * (bottom - top),
        )
        for step, value in zip(curve.steps, curve.values, strict=True)
    ]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = "".join(f'<circle class="candidate" cx="{x:.1f}" cy="{y:.1f}" r="2"/>' for x, y in points)
    body = (
        f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{bottom}" y2="{bottom}"/>'
        f'<polyline class="curve" points="{path}"/>{dots}'
        f'<text class="value" x="{_WIDTH - _RIGHT + 6}" y="{points[-1][1] + 4:.1f}">{curve.values[-1]:.3g}</text>'
        f'<text class="tick start" x="{_LEFT}" y="{bottom + 15}">step {first:g}</text>'
        f'<text class="tick end" x="{_WIDTH - _RIGHT}" y="{bottom + 15}">step {last:g}</text>'
    )
    return _svg(body, height=height, title=title)


def _x(value: float) -> float:
    return _LEFT + value * (_WIDTH - _LEFT - _RIGHT)


def _whisker(bar: Bar, y: float) -> str:
    low, mean, high = _x(bar.low), _x(bar.mean), _x(bar.high)
    series = escape(bar.series)
    if bar.series == "candidate":
        marker = f'<circle class="{series}" cx="{mean:.1f}" cy="{y:.1f}" r="5"/>'
    elif bar.series == "base":
        marker = f'<rect class="{series}" x="{mean - 4.5:.1f}" y="{y - 4.5:.1f}" width="9" height="9"/>'
    else:
        diamond = f"{mean:.1f},{y - 6:.1f} {mean + 6:.1f},{y:.1f} {mean:.1f},{y + 6:.1f} {mean - 6:.1f},{y:.1f}"
        marker = f'<polygon class="{series}" points="{diamond}"/>'
    text = escape(f"{bar.label}: {bar.mean:.3f}, 95% interval {bar.low:.3f} to {bar.high:.3f}")
    return (
        f"<g><title>{text}</title>"
        f'<line class="whisker {series}" x1="{low:.1f}" x2="{high:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>{marker}'
        f'<text class="value" x="{_WIDTH - _RIGHT + 8}" y="{y + 4:.1f}">{bar.mean:.3f}</text></g>'
    )


def _svg(body: str, *, height: float, title: str) -> str:
    return (
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>{body}</svg>"
    )
