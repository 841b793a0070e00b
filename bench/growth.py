"""`make growth`: what grows with the IDs that were taken, with the nodes and with the connections, and what not.

- IDs: three nodes; after 10 thousand, 1 million and 100 million IDs the throughput, the memory of the leader,
  the store's size, and the time that a stopped cluster takes to its first ID. The first million is taken one by
  one, the rest with many IDs for each request: a hundred million single requests would take half an hour.
- Nodes: 1, 3, 5 and 7; throughput at 64 connections and latency at one.
- Connections: 1 to 10,000 at three nodes; throughput, latency, the leader's memory.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from bench import clusters, machine, plot, report, web
from bench.clusters import Node, Place, Ticketd
from bench.load import Load, Sample
from bench.process import disk_bytes, run_command, wait_until

# After how many IDs it is looked at.
IDS = (10_000, 1_000_000, 100_000_000)
SIZES = (1, 3, 5, 7)
CONNECTIONS = (1, 10, 100, 1_000, 10_000)
# Up to here IDs are taken one by one.
SINGLE_IDS_MAX = 1_000_000
# Up to so many are taken without a load generator. It would load for a second at least, which is more IDs.
WITHOUT_LOAD_MAX = 20_000
IDS_PER_REQUEST = 1_000
USUAL_CONNECTIONS = 64
START_SECONDS_MAX = 60.0
# Descriptors that are not for connections.
DESCRIPTORS_SPARE = 100


@dataclass
class AfterIds:
    """Three nodes, when so many IDs were taken."""

    ids: int
    requests_per_second: float
    resident_mb: float
    anonymous_mb: float
    disk_mb: float
    restart_ms: float


@dataclass
class WithNodes:
    """A cluster of so many nodes."""

    nodes: int
    requests_per_second: float
    p50_us: float | None
    p50_us_at_one: float | None
    resident_mb: float


@dataclass
class WithConnections:
    """Three nodes and so many connections to the leader."""

    connections: int
    requests_per_second: float
    p50_us: float | None
    p99_us: float | None
    resident_mb: float
    errors: int


def main() -> None:
    options = parse(sys.argv[1:])
    machine.install(["wrk"])
    descriptors = machine.raise_descriptor_limit()
    described = machine.describe()
    connections = [count for count in CONNECTIONS if count + DESCRIPTORS_SPARE <= descriptors]
    with machine.workplace() as workplace:
        with_nodes = [measure_nodes(workplace, size, options.seconds) for size in SIZES]
        with_connections = measure_connections(workplace, connections, options.seconds)
        after_ids = measure_ids(workplace, [count for count in IDS if count <= options.ids], options.seconds)
    results = {
        "machine": described,
        "after_ids": [asdict(one) for one in after_ids],
        "with_nodes": [asdict(one) for one in with_nodes],
        "with_connections": [asdict(one) for one in with_connections],
    }
    text = render(results, after_ids, with_nodes, with_connections)
    report.write_json(options.results / "growth.json", results)
    report.write_text(options.results / "growth.txt", text)
    report.write_text(options.results / "growth.svg", draw(after_ids, with_nodes, with_connections))
    print(f"\n{text}\nwritten to {options.results}/growth.{{txt,json,svg}}")


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench.growth", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ids", type=int, default=IDS[-1], help="how many IDs to take at most [%(default)s]")
    parser.add_argument("--seconds", type=int, default=3, help="how long each load lasts [%(default)s]")
    parser.add_argument("--results", type=Path, default=machine.RESULTS, help="where to write [%(default)s]")
    return parser.parse_args(arguments)


def measure_nodes(workplace: Path, size: int, seconds: int) -> WithNodes:
    print(f"{size} nodes", flush=True)
    cluster = Ticketd(clusters.make_nodes(workplace / f"nodes-{size}", [Place()] * size))
    try:
        leader = begin(cluster)
        at_one = clusters.load_ids(cluster, leader, Load(1, 1, seconds))
        usual = clusters.load_ids(cluster, leader, Load(USUAL_CONNECTIONS, 1, seconds))
        return WithNodes(size, usual.requests_per_second, usual.p50_us, at_one.p50_us, resident_mb(leader))
    finally:
        clusters.stop(cluster)


def measure_connections(workplace: Path, counts: list[int], seconds: int) -> list[WithConnections]:
    cluster = Ticketd(clusters.make_nodes(workplace / "connections", [Place()] * 3))
    measured = []
    try:
        leader = begin(cluster)
        for count in counts:
            print(f"{count} connections", flush=True)
            sample = clusters.load_ids(cluster, leader, Load(count, 1, seconds))
            measured.append(
                WithConnections(
                    count,
                    sample.requests_per_second,
                    sample.p50_us,
                    sample.p99_us,
                    resident_mb(leader),
                    sample.errors,
                )
            )
    finally:
        clusters.stop(cluster)
    return measured


def measure_ids(workplace: Path, counts: list[int], seconds: int) -> list[AfterIds]:
    cluster = Ticketd(clusters.make_nodes(workplace / "ids", [Place()] * 3))
    measured = []
    try:
        leader = begin(cluster)
        taken = 0
        for count in counts:
            print(f"{count} IDs", flush=True)
            while taken < count:
                taken += take(cluster, leader, count - taken, is_single=count <= SINGLE_IDS_MAX)
            memory, disk = leader.running().memory(), disk_bytes(leader.directory / "store")
            restart_ms = restart(cluster) * 1e3
            clusters.wait_until_whole(cluster)
            leader = leader_of(cluster)
            sample = clusters.load_ids(cluster, leader, Load(USUAL_CONNECTIONS, 1, seconds))
            taken += sample.requests
            measured.append(
                AfterIds(
                    count,
                    sample.requests_per_second,
                    memory.resident_bytes / 2**20,
                    memory.anonymous_bytes / 2**20,
                    disk / 2**20,
                    restart_ms,
                )
            )
    finally:
        clusters.stop(cluster)
    return measured


def take(cluster: Ticketd, leader: Node, count: int, *, is_single: bool) -> int:
    """Takes IDs; how many it were. Up to `WITHOUT_LOAD_MAX` single ones are taken one after another: exactly
    as many as were asked for, for as long as that takes. Otherwise it is what a second of load gives, be that
    more or less."""
    if is_single and count <= WITHOUT_LOAD_MAX:
        for _ in range(count):
            clusters.take_id(cluster, leader)
        return count
    ids_per_request = 1 if is_single else IDS_PER_REQUEST
    sample = clusters.load_ids(cluster, leader, Load(USUAL_CONNECTIONS, 1, 1), ids_per_request)
    return must_have_answers(sample).requests * ids_per_request


def must_have_answers(sample: Sample) -> Sample:
    if sample.requests == 0 or sample.errors:
        raise RuntimeError(f"taking IDs failed: {sample}")
    return sample


def restart(cluster: Ticketd) -> float:
    """Stops every node, starts all again, and waits for the first ID from any; the seconds from start to ID."""
    clusters.stop(cluster)
    began = time.monotonic()
    for node in cluster.nodes:
        cluster.restart(node)
    wait_until(
        lambda: any(web.request(node.client)[0] == 200 for node in cluster.nodes),
        START_SECONDS_MAX,
        "the cluster gives an ID again",
        pause_seconds=0.001,
    )
    return time.monotonic() - began


def begin(cluster: Ticketd) -> Node:
    cluster.spawn()
    clusters.wait_until_whole(cluster)
    return leader_of(cluster)


def leader_of(cluster: Ticketd) -> Node:
    leader = cluster.leader()
    if leader is None:
        raise RuntimeError("the cluster lost its leader")
    return leader


def resident_mb(node: Node) -> float:
    return node.running().memory().resident_bytes / 2**20


def render(
    results: report.Results,
    after_ids: list[AfterIds],
    with_nodes: list[WithNodes],
    with_connections: list[WithConnections],
) -> str:
    def number(value: float | None) -> str:
        return "-" if value is None else f"{value:,.0f}"

    return "\n".join(
        [
            report.described(results),
            "After so many IDs (three nodes; memory and disk of the leader)\n"
            + report.table(
                [
                    "IDs",
                    "requests/s, 64",
                    "resident MB",
                    "not of a file",
                    "disk MB",
                    "restart to first ID, ms",
                ],
                [
                    [
                        f"{one.ids:,}",
                        number(one.requests_per_second),
                        f"{one.resident_mb:.1f}",
                        f"{one.anonymous_mb:.1f}",
                        f"{one.disk_mb:.2f}",
                        number(one.restart_ms),
                    ]
                    for one in after_ids
                ],
            ),
            "With so many nodes\n"
            + report.table(
                ["nodes", "requests/s, 64", "p50 us, 64", "p50 us, 1", "resident MB"],
                [
                    [
                        str(one.nodes),
                        number(one.requests_per_second),
                        number(one.p50_us),
                        number(one.p50_us_at_one),
                        f"{one.resident_mb:.1f}",
                    ]
                    for one in with_nodes
                ],
            ),
            "With so many connections (three nodes)\n"
            + report.table(
                ["connections", "requests/s", "p50 us", "p99 us", "resident MB", "errors"],
                [
                    [
                        f"{one.connections:,}",
                        number(one.requests_per_second),
                        number(one.p50_us),
                        number(one.p99_us),
                        f"{one.resident_mb:.1f}",
                        str(one.errors),
                    ]
                    for one in with_connections
                ],
            ),
        ]
    )


def draw(
    after_ids: list[AfterIds], with_nodes: list[WithNodes], with_connections: list[WithConnections]
) -> str:
    def line(label: str, points: list[tuple[float, float | None]]) -> plot.Line:
        return plot.Line(label, [(x, y) for x, y in points if y is not None])

    rate = "requests a second"
    return plot.panels(
        "Growth: what grows and what does not",
        [
            plot.Panel(
                "Throughput",
                "IDs taken before",
                [line(rate, [(a.ids, a.requests_per_second) for a in after_ids])],
            ),
            plot.Panel(
                "Memory and disk, MB",
                "IDs taken before",
                [
                    line("resident", [(one.ids, one.resident_mb) for one in after_ids]),
                    line("disk", [(one.ids, one.disk_mb) for one in after_ids]),
                ],
            ),
            plot.Panel(
                "Restart to first ID, ms",
                "IDs taken before",
                [line("restart", [(one.ids, one.restart_ms) for one in after_ids])],
            ),
            plot.Panel(
                "Throughput",
                "nodes",
                [line(rate, [(one.nodes, one.requests_per_second) for one in with_nodes])],
            ),
            plot.Panel(
                "Latency, us, one connection",
                "nodes",
                [line("p50", [(one.nodes, one.p50_us_at_one) for one in with_nodes])],
            ),
            plot.Panel(
                "Throughput",
                "connections",
                [line(rate, [(one.connections, one.requests_per_second) for one in with_connections])],
            ),
            plot.Panel(
                "Latency, us",
                "connections",
                [
                    line("p50", [(one.connections, one.p50_us) for one in with_connections]),
                    line("p99", [(one.connections, one.p99_us) for one in with_connections]),
                ],
                is_logarithmic=True,
            ),
            plot.Panel(
                "Memory of the leader, MB",
                "connections",
                [line("resident", [(one.connections, one.resident_mb) for one in with_connections])],
            ),
        ],
    )


if __name__ == "__main__":
    run_command(main)
