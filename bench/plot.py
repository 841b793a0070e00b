"""Pictures: SVG written by hand, readable on light and dark ground alike."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Sequence

from bench import goals, report

WIDTH = 860
INK = "#777"
OURS = "#c2410c"
YARDSTICK = "#2563eb"
OTHERS = "#9ca3af"
COLOURS = ("#c2410c", "#2563eb", "#15803d", "#9333ea", "#b45309", "#0e7490", "#be123c")


@dataclass(frozen=True)
class Bar:
    """One bar, and where the rounds lay that its length is the median of."""

    label: str
    value: float
    lowest: float
    highest: float
    colour: str


@dataclass(frozen=True)
class Line:
    """One line of a diagram: points from left to right."""

    label: str
    points: list[tuple[float, float]]


@dataclass(frozen=True)
class Panel:
    """One diagram, its axes both logarithmic or the vertical one from 0."""

    title: str
    across: str
    lines: list[Line]
    is_logarithmic: bool = False


def throughput(path: Path, results: dict[str, Any]) -> None:
    """For each load a group of bars, one for each service."""
    rounds = results["rounds"]
    names = list(rounds[0])
    groups = []
    for load in rounds[0][names[0]]["cells"]:
        bars = []
        for name in names:
            rates = [report.rate_in(visits, name, load) for visits in rounds]
            bars.append(Bar(name, report.rate(rounds, name, load), min(rates), max(rates), _colour(name)))
        connections, _, depth = load.partition("x")
        heading = f"{connections} connection" if connections == "1" else f"{connections} connections"
        groups.append((f"{heading}, {depth} requests at once on each" if depth else heading, bars))
    path.write_text(
        bar_groups("Requests a second (median; the line shows the lowest and highest round)", groups)
    )


def _colour(name: str) -> str:
    if name.startswith("ticketd"):
        return OURS
    return YARDSTICK if name in goals.YARDSTICKS else OTHERS


def bar_groups(title: str, groups: Sequence[tuple[str, Sequence[Bar]]], unit: str = "") -> str:
    """Groups of horizontal bars, one below the other, each group on a scale of its own."""
    label_width, bar_height, gap = 250, 16, 6
    room = WIDTH - label_width - 110
    parts: list[str] = []
    y = 50
    for heading, bars in groups:
        parts.append(_text(10, y + 12, heading, weight="bold"))
        y += 24
        scale = room / max(1e-9, max(bar.highest for bar in bars))
        for bar in bars:
            middle = y + bar_height / 2
            parts.append(_text(label_width - 8, y + 12, bar.label, anchor="end"))
            parts.append(
                f'<rect x="{label_width}" y="{y}" width="{bar.value * scale:.1f}" height="{bar_height}" '
                f'fill="{bar.colour}"/>'
            )
            parts.append(
                _stroke(
                    [(label_width + bar.lowest * scale, middle), (label_width + bar.highest * scale, middle)],
                    INK,
                    1.5,
                )
            )
            parts.append(_text(label_width + bar.highest * scale + 6, y + 12, _number(bar.value) + unit))
            y += bar_height + gap
        y += 18
    return _document(title, y, parts)


def panels(title: str, drawn: Sequence[Panel]) -> str:
    """Diagrams in two columns."""
    width, height = WIDTH // 2, 250
    parts: list[str] = []
    for position, panel in enumerate(drawn):
        left, top = position % 2 * width, 50 + position // 2 * height
        parts.append(f'<g transform="translate({left},{top})">{_panel(panel, width, height)}</g>')
    return _document(title, 50 + math.ceil(len(drawn) / 2) * height, parts)


def _panel(panel: Panel, width: int, height: int) -> str:
    left, right, top, bottom = 62, 14, 24, 44 + 14 * math.ceil(len(panel.lines) / 2)
    xs = sorted({x for line in panel.lines for x, _ in line.points})
    ys = [y for line in panel.lines for _, y in line.points]
    if not xs:
        return _text(left, top, f"{panel.title}: nothing measured")
    highest = max(ys) or 1.0
    lowest = min(ys) if panel.is_logarithmic else 0.0

    def across(x: float) -> float:
        # Each value that was measured gets as much room as the next, however far apart they are.
        return left + (width - left - right) * (xs.index(x) + 0.5) / len(xs)

    def up(y: float) -> float:
        part = y / highest
        if panel.is_logarithmic:
            part = math.log(max(y, lowest) / lowest) / math.log(highest / lowest) if highest > lowest else 0.5
        return height - bottom - (height - top - bottom) * part

    parts = [_text(left, 14, panel.title, weight="bold")]
    for y in sorted({lowest, math.sqrt(lowest * highest) if panel.is_logarithmic else highest / 2, highest}):
        parts.append(_stroke([(left, up(y)), (width - right, up(y))], "#bbb", 0.5))
        parts.append(_text(left - 6, up(y) + 4, _number(y), anchor="end"))
    parts.extend(_text(across(x), height - bottom + 16, _number(x), anchor="middle") for x in xs)
    parts.append(_text((left + width - right) / 2, height - bottom + 32, panel.across, anchor="middle"))
    for position, line in enumerate(panel.lines):
        colour = COLOURS[position % len(COLOURS)]
        parts.append(_stroke([(across(x), up(y)) for x, y in line.points], colour, 2))
        parts.extend(
            f'<circle cx="{across(x):.1f}" cy="{up(y):.1f}" r="3" fill="{colour}"/>' for x, y in line.points
        )
        if len(panel.lines) > 1:
            x = left + position % 2 * (width - left - right) / 2
            y = height - bottom + 48 + position // 2 * 14
            parts.append(f'<rect x="{x:.0f}" y="{y - 8:.0f}" width="9" height="9" fill="{colour}"/>')
            parts.append(_text(x + 14, y, line.label))
    return "".join(parts)


def _document(title: str, height: float, parts: list[str]) -> str:
    body = "\n".join([_text(10, 26, title, weight="bold", size=15), *parts])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" '
        f'font-family="system-ui, sans-serif" font-size="12" fill="{INK}">\n{body}\n</svg>\n'
    )


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", weight: str = "normal", size: int = 12
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}" '
        f'font-size="{size}">{escape(text)}</text>'
    )


def _stroke(points: Sequence[tuple[float, float]], colour: str, width: float) -> str:
    joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{joined}" fill="none" stroke="{colour}" stroke-width="{width}"/>'


def _number(value: float) -> str:
    """Three digits and a unit of thousands."""
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"
