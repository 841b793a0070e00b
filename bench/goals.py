"""What ticketd was meant to reach, and whether a run reached it. A goal that was missed fails nothing."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Any, Callable

NGINX = "nginx"
LIMIT = "limit probe"
REDIS_ALWAYS = "Redis always"
DEFAULT = "ticketd 3"
UNRESERVED = "ticketd 3 --window 0"
SINGLE = "ticketd 1"
LEASE = "ticketd 3 --lease"

# What every service is compared with.
YARDSTICKS = (NGINX, LIMIT)

Results = dict[str, Any]


@dataclass(frozen=True)
class Verdict:
    """One goal, and what was measured."""

    what: str
    measured: str
    goal: str
    is_met: bool


def judge_failover(
    gaps_ms: dict[str, list[float]], handovers_ms: dict[str, list[float]], failed: dict[str, int]
) -> list[Verdict]:
    """The goals for the ends of ticketd's leader, by the name of the end. A hand-over takes less than the longest gap
    of a few undisturbed seconds, so it is judged by itself: from the last ID of the one to the first of the other."""
    verdicts: list[Verdict] = []

    def at_most(what: str, values: list[float], pick: Callable[[list[float]], float], limit_ms: float) -> None:
        if values:
            value = pick(values)
            verdicts.append(Verdict(what, f"{value:.1f} ms", f"{limit_ms:.0f} ms at most", value <= limit_ms))

    at_most("kill: median gap", gaps_ms.get("kill", []), median, 30)
    at_most("kill: worst gap", gaps_ms.get("kill", []), max, 100)
    at_most("term: median hand-over", handovers_ms.get("term", []), median, 3)
    if "term" in failed:
        verdicts.append(
            Verdict("term: requests that failed", str(failed["term"]), "none", failed["term"] == 0)
        )
    at_most("vanish: worst gap", gaps_ms.get("vanish", []), max, 1000)
    return verdicts


def judge(results: Results) -> list[Verdict]:
    """The goals for which this run has figures."""
    rounds = results["rounds"]
    last = rounds[-1]
    verdicts: list[Verdict] = []

    def ratio(
        what: str,
        goal: str,
        ours: str,
        theirs: str,
        load: str,
        holds: Callable[[float], bool],
        figure: str = "requests_per_second",
    ) -> None:
        if not {ours, theirs} <= set(last):
            return
        pairs = [
            (visits[ours]["cells"][load]["sample"][figure], visits[theirs]["cells"][load]["sample"][figure])
            for visits in rounds
        ]
        value = median(one / other for one, other in pairs if one and other)
        verdicts.append(Verdict(what, f"{value:.2f}", goal, holds(value)))

    def figure(what: str, goal: str, unit: str, value: float | None, holds: Callable[[float], bool]) -> None:
        if value is not None:
            verdicts.append(Verdict(what, f"{value:.2f} {unit}", goal, holds(value)))

    for load in ("64", "1000"):
        ratio(
            f"throughput, {load} connections, to nginx",
            "1.00 at least",
            DEFAULT,
            NGINX,
            load,
            lambda x: x >= 1.0,
        )
    for load in ("64", "1000"):
        ratio(
            f"throughput, {load} connections, to the limit probe",
            "0.90 at least",
            DEFAULT,
            LIMIT,
            load,
            lambda x: x >= 0.9,
        )
    ratio("throughput, 64x16, to nginx", "2.00 at least", DEFAULT, NGINX, "64x16", lambda x: x >= 2.0)
    ratio(
        "p50, 1 connection, to the limit probe",
        "1.25 at most",
        DEFAULT,
        LIMIT,
        "1",
        lambda x: x <= 1.25,
        "p50_us",
    )
    ratio("p99, 64 connections, to nginx", "1.00 at most", DEFAULT, NGINX, "64", lambda x: x <= 1.0, "p99_us")
    ratio(
        "--window 0, 64 connections, to Redis always",
        "1.00 at least",
        UNRESERVED,
        REDIS_ALWAYS,
        "64",
        lambda x: x >= 1.0,
    )
    ratio(
        "--lease, p50, 1 connection, to a single node",
        "1.10 at most",
        LEASE,
        SINGLE,
        "1",
        lambda x: x <= 1.1,
        "p50_us",
    )
    if SINGLE in last:
        starts = median(visits[SINGLE]["start_ms"] for visits in rounds)
        figure("start of a single node to its first ID", "20 at most", "ms", starts, lambda x: x <= 20)
    figure("release binary", "3 at most", "MB", results.get("binary_mb"), lambda x: x <= 3)
    if DEFAULT in last:
        ours = last[DEFAULT]
        figure("memory of a node at rest", "8 at most", "MB", ours["resident_mb"], lambda x: x <= 8)
        at_rest = ours["cpu_at_rest_percent"]
        figure(
            "CPU at rest, each of three nodes",
            "0.2 at most",
            "%",
            at_rest and at_rest / 3,
            lambda x: x <= 0.2,
        )
        batches = median(visits[DEFAULT]["batches"]["requests_per_second"] for visits in rounds)
        figure("IDs a second with ?n=1000", "100 at least", "million", batches / 1e3, lambda x: x >= 100)
        counted = ours["syscalls"]
        figure(
            "system calls for each request, leader, 64 connections",
            "2 at most",
            "",
            counted and counted["answering"],
            lambda x: x <= 2,
        )
    return verdicts
