"""What ticketd was meant to reach, and whether a run reached it. A goal that was missed fails nothing."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Any, Callable, Literal

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
    of a few undisturbed seconds, so it is judged by itself: from the last ID of the one to the first of the other.
    """
    verdicts: list[Verdict] = []

    def at_most(
        what: str, values: list[float], pick: Callable[[list[float]], float], limit_ms: float
    ) -> None:
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


Direction = Literal["at least", "at most"]
# `None` where a run does not have it.
Value = Callable[[Results], float | None]


@dataclass(frozen=True)
class Goal:
    """What one figure of `make bench` was meant to be."""

    what: str
    value: Value
    direction: Direction
    limit: float
    # `None`: it is a ratio.
    unit: str | None = None

    def verdict(self, value: float) -> Verdict:
        """Whether this value reaches it."""
        is_met = value >= self.limit if self.direction == "at least" else value <= self.limit
        if self.unit is None:
            return Verdict(self.what, f"{value:.2f}", f"{self.limit:.2f} {self.direction}", is_met)
        return Verdict(self.what, f"{value:.2f} {self.unit}", f"{self.limit:g} {self.direction}", is_met)


def judge(results: Results) -> list[Verdict]:
    """The goals for which this run has figures."""
    values = [(goal, goal.value(results)) for goal in GOALS]
    return [goal.verdict(value) for goal, value in values if value is not None]


def ratio(ours: str, theirs: str, load: str, figure: str = "requests_per_second") -> Value:
    """The median of the rounds' ratios."""

    def value(results: Results) -> float | None:
        rounds = results["rounds"]
        if not {ours, theirs} <= set(rounds[-1]):
            return None
        samples = [
            [visits[one]["cells"][load]["sample"][figure] for one in (ours, theirs)] for visits in rounds
        ]
        middle: float = median(one / other for one, other in samples if one and other)
        return middle

    return value


def median_of(service: str, pick: Callable[[Results], float]) -> Value:
    """The median of what the rounds found of a service."""

    def value(results: Results) -> float | None:
        rounds = results["rounds"]
        return median(pick(visits[service]) for visits in rounds) if service in rounds[-1] else None

    return value


def last_of(service: str, pick: Value) -> Value:
    """What the last round found of a service."""

    def value(results: Results) -> float | None:
        visits = results["rounds"][-1]
        return pick(visits[service]) if service in visits else None

    return value


def binary_mb(results: Results) -> float | None:
    """The program's size: of no service."""
    return results.get("binary_mb")


def start_ms(visit: Results) -> float:
    """From the start of the first process to the first answer."""
    taken: float = visit["start_ms"]
    return taken


def resident_mb(visit: Results) -> float | None:
    """Of the largest process, at rest."""
    largest: float | None = visit["resident_mb"]
    return largest


def cpu_of_each_percent(visit: Results) -> float | None:
    """Of three nodes at rest."""
    of_all = visit["cpu_at_rest_percent"]
    return None if of_all is None else of_all / 3


def syscalls(visit: Results) -> float | None:
    """For each request, of the process that answers."""
    counted = visit["syscalls"]
    return counted["answering"] if counted else None


def million_ids(visit: Results) -> float:
    """A second, a thousand with each request."""
    thousands: float = visit["batches"]["requests_per_second"]
    return thousands / 1e3


# The table of goals in docs/performance.rst has these, and those of the other commands.
GOALS = (
    Goal("throughput, 64 connections, to nginx", ratio(DEFAULT, NGINX, "64"), "at least", 1.0),
    Goal("throughput, 1000 connections, to nginx", ratio(DEFAULT, NGINX, "1000"), "at least", 1.0),
    Goal("throughput, 64 connections, to the limit probe", ratio(DEFAULT, LIMIT, "64"), "at least", 0.9),
    Goal("throughput, 1000 connections, to the limit probe", ratio(DEFAULT, LIMIT, "1000"), "at least", 0.9),
    Goal("throughput, 64x16, to nginx", ratio(DEFAULT, NGINX, "64x16"), "at least", 2.0),
    Goal("p50, 1 connection, to the limit probe", ratio(DEFAULT, LIMIT, "1", "p50_us"), "at most", 1.25),
    Goal("p99, 64 connections, to nginx", ratio(DEFAULT, NGINX, "64", "p99_us"), "at most", 1.0),
    Goal(
        "--window 0, 64 connections, to Redis always", ratio(UNRESERVED, REDIS_ALWAYS, "64"), "at least", 1.0
    ),
    Goal("--lease, p50, 1 connection, to a single node", ratio(LEASE, SINGLE, "1", "p50_us"), "at most", 1.1),
    Goal("start of a single node to its first ID", median_of(SINGLE, start_ms), "at most", 20, "ms"),
    Goal("release binary", binary_mb, "at most", 3, "MB"),
    Goal("memory of a node at rest", last_of(DEFAULT, resident_mb), "at most", 8, "MB"),
    Goal("CPU at rest, each of three nodes", last_of(DEFAULT, cpu_of_each_percent), "at most", 0.2, "%"),
    Goal("IDs a second with ?n=1000", median_of(DEFAULT, million_ids), "at least", 100, "million"),
    Goal(
        "system calls for each request, leader, 64 connections", last_of(DEFAULT, syscalls), "at most", 2, ""
    ),
)
