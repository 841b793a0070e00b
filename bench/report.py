"""Figures as text: what a run measured, in tables that a person reads."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import Any, Callable, Iterable

from bench import goals

Results = dict[str, Any]


def write_json(path: Path, results: Results) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n")


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def table(header: list[str], rows: Iterable[list[str]]) -> str:
    """Columns as wide as their widest cell; the first to the left, the others to the right."""
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    rule = "  ".join("-" * width for width in widths)

    def join(line: list[str]) -> str:
        cells = [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:]))]
        return "  ".join(cells).rstrip()

    return "\n".join([join(header), rule, *map(join, lines[1:])]) + "\n"


def described(results: Results) -> str:
    """What it was measured on."""
    return "".join(f"{name}: {value}\n" for name, value in results["machine"].items())


def throughput(results: Results) -> str:
    """All that `make bench` prints."""
    rounds = results["rounds"]
    names = list(rounds[0])
    loads = list(rounds[0][names[0]]["cells"])
    parts = [
        described(results),
        f"{len(rounds)} rounds of {results['seconds']} s for each load; medians. Load generator and servers "
        "share the machine: only ratios\nwithin one run mean anything. 64x16: 64 connections, 16 requests at "
        "once on each.\n",
        "Thousand requests a second\n"
        + table(
            ["", *loads],
            [[name, *(_thousands(rate(rounds, name, load)) for load in loads)] for name in names],
        ),
    ]
    for yardstick in goals.YARDSTICKS:
        if yardstick in names:
            parts.append(
                f"Ratio to {yardstick} (median of the rounds' ratios)\n"
                + table(
                    ["", *loads],
                    [
                        [name, *(_ratio(rate_ratio(rounds, name, yardstick, load)) for load in loads)]
                        for name in names
                    ],
                )
            )
    parts.append(
        "Latency, cost and start\n"
        + table(
            [
                "",
                "p50 us, 1",
                "p99 us, 1",
                "p50 us, 64",
                "p99 us, 64",
                "CPU us/req, 64",
                "syscalls/req",
                "others'",
                "start ms",
                "MB",
            ],
            [_costs(rounds, name) for name in names],
        )
    )
    failures = _errors(rounds, names, loads)
    if failures:
        parts.append(
            "Errors that the generator counted, all rounds\n" + table(["", "load", "errors"], failures)
        )
    parts.extend(f"Left out: {name}: {why}\n" for name, why in results.get("left_out", {}).items())
    verdicts = goals.judge(results)
    if verdicts:
        parts.append(judged(verdicts))
    return "\n".join(parts)


def judged(verdicts: list[goals.Verdict]) -> str:
    """What was wanted, and whether it was reached."""
    rows = [[one.what, one.measured, one.goal, "yes" if one.is_met else "NO"] for one in verdicts]
    return "Goals\n" + table(["", "measured", "goal", "met"], rows)


def rate(rounds: list[Results], name: str, load: str) -> float:
    """The median over the rounds, in requests a second."""
    return median(rate_in(visits, name, load) for visits in rounds)


def rate_ratio(rounds: list[Results], name: str, yardstick: str, load: str) -> float:
    """The median over the rounds of the ratio within one round."""
    return median(rate_in(visits, name, load) / rate_in(visits, yardstick, load) for visits in rounds)


def latency(rounds: list[Results], name: str, load: str, which: str) -> float | None:
    """The median over the rounds of a percentile, in microseconds."""
    return median_known(cell(visits, name, load)[which] for visits in rounds)


def median_known(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


def rate_in(visits: Results, name: str, load: str) -> float:
    """In one round."""
    return float(cell(visits, name, load)["requests_per_second"])


def cell(visits: Results, name: str, load: str) -> Results:
    sample: Results = visits[name]["cells"][load]["sample"]
    return sample


def _costs(rounds: list[Results], name: str) -> list[str]:
    def over(pick: Callable[[Results], float | None]) -> float | None:
        return median_known(pick(visits[name]) for visits in rounds)

    counted = next((visits[name]["syscalls"] for visits in rounds if visits[name]["syscalls"]), None)
    return [
        name,
        *(
            _whole(latency(rounds, name, load, which))
            for load in ("1", "64")
            for which in ("p50_us", "p99_us")
        ),
        _tenths(over(lambda one: one["cells"]["64"]["cpu_us_per_request"])),
        _hundredths(counted and counted["answering"]),
        _hundredths(counted and counted["others"]),
        _whole(over(lambda one: one["start_ms"])),
        _tenths(over(lambda one: one["resident_mb"])),
    ]


def _errors(rounds: list[Results], names: list[str], loads: list[str]) -> list[list[str]]:
    rows = []
    for name in names:
        for load in loads:
            errors = sum(cell(visits, name, load)["errors"] for visits in rounds)
            if errors:
                rows.append([name, load, str(errors)])
    return rows


def _thousands(value: float) -> str:
    return f"{value / 1e3:.1f}"


def _ratio(value: float) -> str:
    return f"{value:.2f}"


def _whole(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def _tenths(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _hundredths(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
