"""`make failover`: for how long nobody answers when the leader ends, ticketd beside etcd.

Three ways to end: `kill` (SIGKILL: the kernel closes its connections), `term` (SIGTERM: it may say goodbye), and
`vanish` (its packets are dropped, and nobody is told; where no network namespace can be made, it is stopped by
SIGSTOP instead, which looks the same to the others but for connections that are still accepted).

Probes go to every node all the time. The gap is the longest time after the end within which no ID came from
any node. Every ID that any probe got, over all repetitions, is checked: none twice, and none smaller than one
that was answered before it was asked for.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Callable

from bench import clusters, goals, history, machine, plot, report
from bench.clusters import Cluster, Etcd, Node, Place, Ticketd
from bench.history import Taken
from bench.network import Lab, Unavailable, lab
from bench.prober import PAUSE_SECONDS, Outcome, Prober, longest_gap
from bench.process import run_command, wait_until
from bench.web import Endpoint

SIZE = 3
ENDS = ("kill", "term", "vanish")
# How long the probes run before the leader ends: links are warm, and connections to every node are open.
LEAD_IN_SECONDS = 0.5
# How long they run afterwards, longer than anybody needs to elect a leader; and before, while nothing ends: what the
# longest gap is then, nobody can tell from what an end does.
WATCH_SECONDS = 4.0
# What a client takes for a failure.
FAILED = (Outcome.UNAVAILABLE, Outcome.BROKEN, Outcome.OVERDUE)
# Between repetitions, so that a start is not measured as a part of an end.
SETTLE_SECONDS = 0.5


@dataclass
class Trial:
    """One end of one leader."""

    gap_ms: float
    # From the last ID of the leader to the first of another node; none where every node gives IDs.
    handover_ms: float | None
    # The longest gap in as long a time before.
    undisturbed_ms: float
    # From the end to the end of the watch, by outcome: at the nodes that were left, and at the one that ended.
    at_survivors: dict[str, int]
    at_leader: dict[str, int]


@dataclass
class Series:
    """All repetitions of one end of one service."""

    service: str
    end: str
    # How `vanish` was brought about.
    means: str
    trials: list[Trial]
    ids: int
    violations: list[str]


def main() -> None:
    options = parse(sys.argv[1:])
    machine.install(["etcd", "ip"])
    machine.raise_descriptor_limit()
    described = machine.describe()
    all_series: list[Series] = []
    for end in options.ends:
        for name, make in makers(options):
            print(f"{name}: {end}, {options.times} times", flush=True)
            all_series.append(run_series(name, make, end, options.times))
            print("  " + summary_line(all_series[-1]), flush=True)
    results = {
        "machine": described,
        "pause_ms": PAUSE_SECONDS * 1e3,
        "series": [asdict(series) for series in all_series],
    }
    text = render(results, all_series)
    report.write_json(options.results / "failover.json", results)
    report.write_text(options.results / "failover.txt", text)
    (options.results / "failover.svg").write_text(draw(all_series))
    print(f"\n{text}\nwritten to {options.results}/failover.{{txt,json,svg}}")
    if any(series.violations for series in all_series if series.service == "ticketd"):
        sys.exit(1)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench.failover", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--times", type=int, default=20, help="how often each end is repeated [%(default)s]")
    parser.add_argument("--ends", nargs="+", choices=ENDS, default=ENDS, help="which ends [all]")
    parser.add_argument("--services", nargs="+", choices=("ticketd", "etcd"), default=("ticketd", "etcd"))
    parser.add_argument("--results", type=Path, default=machine.RESULTS, help="where to write [%(default)s]")
    return parser.parse_args(arguments)


def makers(options: argparse.Namespace) -> list[tuple[str, Callable[[Path, list[Place]], Cluster]]]:
    made: dict[str, Callable[[Path, list[Place]], Cluster]] = {
        "ticketd": lambda directory, places: Ticketd(clusters.make_nodes(directory, places)),
        "etcd": lambda directory, places: Etcd(clusters.make_nodes(directory, places)),
    }
    return [(name, made[name]) for name in options.services]


def run_series(name: str, make: Callable[[Path, list[Place]], Cluster], end: str, times: int) -> Series:
    with ExitStack() as stack:
        workplace = stack.enter_context(machine.workplace())
        network, means = None, "" if end != "vanish" else "packets dropped"
        if end == "vanish":
            try:
                network = stack.enter_context(lab(SIZE))
            except Unavailable as error:
                means = f"SIGSTOP ({error})"
        places = [network.place(number + 1) if network else Place() for number in range(SIZE)]
        cluster = make(workplace, places)
        stack.callback(clusters.stop, cluster)
        cluster.spawn()
        taken: list[Taken] = []
        trials = [run_trial(cluster, end, network, taken) for _ in range(times)]
        return Series(name, end, means, trials, len(taken), history.violations(taken))


def run_trial(cluster: Cluster, end: str, network: Lab | None, taken: list[Taken]) -> Trial:
    wait_until(
        lambda: cluster.leader() is not None and cluster.is_whole(),
        clusters.START_SECONDS_MAX,
        f"{cluster.name} is whole",
    )
    leader = cluster.leader()
    if leader is None:
        raise RuntimeError(f"{cluster.name} lost its leader by itself")
    endpoints = {n.id: Endpoint(n.place.host, n.client_port, cluster.path) for n in cluster.nodes}
    with Prober(endpoints, cluster.body, cluster.id_of) as prober:
        time.sleep(LEAD_IN_SECONDS)
        warm_at = time.monotonic()
        time.sleep(WATCH_SECONDS)
        ended_at = end_leader(leader, end, network)
        time.sleep(WATCH_SECONDS)
        watched_until = time.monotonic()
        bring_back(cluster, leader, end, network)
        # Whoever was away must not give what others have given meanwhile.
        time.sleep(SETTLE_SECONDS)
    taken.extend(prober.taken)
    if not any(one.answered_at <= ended_at for one in prober.taken):
        raise RuntimeError(f"{cluster.name} gave no ID before its leader ended")
    watched = [one for one in prober.missed if ended_at <= one.at <= watched_until]
    last_before = max(one.answered_at for one in prober.taken if one.answered_at <= ended_at)
    return Trial(
        longest_gap(prober.taken, last_before, watched_until) * 1e3,
        handover_ms(prober.taken, leader.id, ended_at),
        longest_gap(prober.taken, warm_at, last_before) * 1e3,
        dict(Counter(one.outcome.value for one in watched if one.node != leader.id)),
        dict(Counter(one.outcome.value for one in watched if one.node == leader.id)),
    )


def handover_ms(taken: list[Taken], leader: int, ended_at: float) -> float | None:
    """From the last ID that the leader gave to the first that another node gave."""
    of_others = [one.answered_at for one in taken if one.node != leader]
    if not of_others or min(of_others) <= ended_at:
        return None
    first = min(of_others)
    return (first - max(one.answered_at for one in taken if one.node == leader and one.answered_at < first)) * 1e3


def end_leader(leader: Node, end: str, network: Lab | None) -> float:
    """When it was done."""
    ended_at = time.monotonic()
    if end == "term":
        leader.running().signal(signal.SIGTERM)
    elif end == "kill":
        leader.running().signal(signal.SIGKILL)
    elif network:
        network.unplug(leader.id)
    else:
        leader.running().signal(signal.SIGSTOP)
    return ended_at


def bring_back(cluster: Cluster, leader: Node, end: str, network: Lab | None) -> None:
    if end != "vanish":
        leader.running().wait()
        cluster.restart(leader)
    elif network:
        network.plug(leader.id)
    else:
        leader.running().signal(signal.SIGCONT)


def summary_line(series: Series) -> str:
    gaps = [trial.gap_ms for trial in series.trials]
    return f"median {median(gaps):.1f} ms, worst {max(gaps):.1f} ms, {series.ids} IDs checked"


def render(results: report.Results, all_series: list[Series]) -> str:
    rows = []
    for series in all_series:
        gaps = sorted(trial.gap_ms for trial in series.trials)
        rows.append(
            [
                f"{series.service}, {series.end}",
                f"{median(gaps):.1f}",
                f"{gaps[0]:.1f}",
                f"{gaps[-1]:.1f}",
                median_of([trial.handover_ms for trial in series.trials]),
                median_of([trial.undisturbed_ms for trial in series.trials]),
                *(
                    str(sum(trial.at_survivors.get(outcome.value, 0) for trial in series.trials))
                    for outcome in FAILED
                ),
                *(
                    str(sum(trial.at_leader.get(outcome.value, 0) for trial in series.trials))
                    for outcome in FAILED
                ),
                str(series.ids),
                "sound" if not series.violations else f"{len(series.violations)} VIOLATIONS",
            ]
        )
    header = [
        "",
        "median ms",
        "least",
        "worst",
        "hand-over",
        "undisturbed",
        "5xx",
        "broken",
        "overdue",
        "L 5xx",
        "L broken",
        "L overdue",
        "IDs",
        "history",
    ]
    times = len(all_series[0].trials) if all_series else 0
    text = (
        report.described(results) + f"\nNobody answers, in ms: the longest time without an ID from any node in the "
        f"{WATCH_SECONDS:.0f} s after an\nend, {times} ends each. The probes pause {results['pause_ms']} ms after each "
        "answer. Undisturbed: the median of the longest such\ntime in as many seconds before, while nothing ends; what is "
        "not longer cannot be told from it. Hand-over: the\nmedian from the last ID of the leader to the first of another "
        "node. Requests that failed, all ends together: at\nthe nodes that were left, and (L) at the leader that ended; a "
        "redirect is no failure, and neither is a refused\nconnection.\n\n" + report.table(header, rows)
    )
    verdicts = goals.judge_failover(
        {one.end: [trial.gap_ms for trial in one.trials] for one in all_series if one.service == "ticketd"},
        {
            one.end: [trial.handover_ms for trial in one.trials if trial.handover_ms is not None]
            for one in all_series
            if one.service == "ticketd"
        },
        {one.end: failed_count(one) for one in all_series if one.service == "ticketd"},
    )
    if verdicts:
        text += "\n" + report.judged(verdicts)
    means = {series.means for series in all_series if series.means}
    text += "".join(f"vanish: {one}\n" for one in sorted(means))
    for series in all_series:
        text += "".join(f"{series.service}, {series.end}: {violation}\n" for violation in series.violations)
    return text


def median_of(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{median(known):.1f}" if known else "-"


def failed_count(series: Series) -> int:
    """At every node, in all repetitions."""
    counts = [count for trial in series.trials for count in (trial.at_survivors, trial.at_leader)]
    return sum(count.get(outcome.value, 0) for count in counts for outcome in FAILED)


def draw(all_series: list[Series]) -> str:
    groups = []
    for end in dict.fromkeys(series.end for series in all_series):
        bars = []
        for series in all_series:
            if series.end == end:
                gaps = [trial.gap_ms for trial in series.trials]
                colour = plot.OURS if series.service == "ticketd" else plot.OTHERS
                bars.append(plot.Bar(series.service, median(gaps), min(gaps), max(gaps), colour))
        groups.append((end, bars))
    return plot.bar_groups(
        "Nobody answers, ms (median; the line shows the least and the worst)", groups, " ms"
    )


if __name__ == "__main__":
    run_command(main)
