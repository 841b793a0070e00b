"""`make soak`: whether a leader keeps its place under full load, for as long as that lasts.

Three nodes with default settings, and a load generator that asks the leader as fast as it can. Nobody is ended and
nothing is cut, so each new term is a false election: somebody took a leader that was alive for dead. Once in each
slice of time, probes at every node record a history, which is checked as in `make failover`.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from bench import clusters, history, load, machine, report, web
from bench.clusters import Place, Ticketd
from bench.load import Load
from bench.prober import Prober
from bench.process import run_command
from bench.web import Endpoint

SIZE = 3
CONNECTIONS = 64
SLICE_SECONDS = 60
PROBE_SECONDS = 2.0


@dataclass
class Slice:
    """One minute of it."""

    requests_per_second: float
    p50_us: float | None
    p99_us: float | None
    errors: int
    # Answers that were no IDs, at least. Those with a status above 399 are errors as well; redirects, which a
    # node gives that has ceased to lead, are not.
    without_id: int
    # The largest of all nodes.
    resident_mb: float
    # At its end.
    term: int
    leader: int
    machine_load: float


def main() -> None:
    options = parse(sys.argv[1:])
    machine.install(["wrk"])
    machine.raise_descriptor_limit()
    described = machine.describe()
    slices: list[Slice] = []
    taken: list[history.Taken] = []
    violations: list[str] = []
    with machine.workplace() as workplace:
        cluster = Ticketd(clusters.make_nodes(workplace, [Place()] * SIZE))
        try:
            cluster.spawn()
            clusters.wait_until_whole(cluster)
            first_term = term_of(cluster)
            for number in range(options.minutes):
                slices.append(run_slice(cluster, taken))
                violations += history.violations(taken)
                print(f"minute {number + 1}: {line(slices[-1])}", flush=True)
                # Each history is judged against the largest ID of those before it.
                taken = [max(taken, key=lambda one: one.id)] if taken else []
            log = "".join(role_lines(node.directory / "log") for node in cluster.nodes)
        finally:
            clusters.stop(cluster)
    results = {"machine": described, "slices": [asdict(one) for one in slices]}
    text = render(results, slices, first_term, violations, log)
    report.write_json(options.results / "soak.json", results)
    report.write_text(options.results / "soak.txt", text)
    print(f"\n{text}\nwritten to {options.results}/soak.{{txt,json}}")
    if violations:
        sys.exit(1)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench.soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=int, default=60, help="how long it lasts [%(default)s]")
    parser.add_argument("--results", type=Path, default=machine.RESULTS, help="where to write [%(default)s]")
    return parser.parse_args(arguments)


def run_slice(cluster: Ticketd, taken: list[history.Taken]) -> Slice:
    leader = cluster.leader() or cluster.nodes[0]
    endpoints = {node.id: Endpoint(node.place.host, node.client_port) for node in cluster.nodes}
    before = clusters.take_id_anywhere(cluster)
    with load.wrk_running(leader.client, Load(CONNECTIONS, 1, SLICE_SECONDS)) as finish:
        time.sleep(SLICE_SECONDS / 2)
        with Prober(endpoints, cluster.body, cluster.id_of) as prober:
            time.sleep(PROBE_SECONDS)
        taken.extend(prober.taken)
        sample = finish()
    for node in cluster.nodes:
        node.require_alive()
    # The IDs of the probes lie between the two as well.
    answers = sample.requests + len(prober.taken)
    without_id = load.without_id(answers, before, clusters.take_id_anywhere(cluster))
    resident = max(node.running().memory().resident_bytes for node in cluster.nodes) / 2**20
    leads = cluster.leader()
    return Slice(
        sample.requests_per_second,
        sample.p50_us,
        sample.p99_us,
        sample.errors,
        without_id,
        resident,
        term_of(cluster),
        leads.id if leads else 0,
        float(Path("/proc/loadavg").read_text().split()[0]),
    )


def term_of(cluster: Ticketd) -> int:
    """The latest that any node knows of; 0 where none has answered in time."""
    statuses = (web.json_of(node.client, method="GET", path="/status") for node in cluster.nodes)
    return max(int(status.get("term", 0)) for status in statuses)


def role_lines(log: Path) -> str:
    return "".join(one + "\n" for one in log.read_text().splitlines() if "term" in one)


def line(one: Slice) -> str:
    return (
        f"{one.requests_per_second:.0f}/s, p99 {(one.p99_us or 0) / 1e3:.1f} ms, {one.errors} errors, "
        f"{one.without_id} answers without an ID, {one.resident_mb:.1f} MB, term {one.term}, "
        f"load {one.machine_load:.1f}"
    )


def render(
    results: report.Results, slices: list[Slice], first_term: int, violations: list[str], log: str
) -> str:
    false_elections = max(one.term for one in slices) - first_term
    requests = sum(one.requests_per_second * SLICE_SECONDS for one in slices)
    rates = sorted(one.requests_per_second for one in slices)
    header = ["minute", "requests/s", "p50 us", "p99 us", "errors", "no ID", "MB", "term", "machine's load"]
    rows = [
        [
            str(number),
            f"{one.requests_per_second:.0f}",
            f"{one.p50_us or 0:.0f}",
            f"{one.p99_us or 0:.0f}",
            str(one.errors),
            str(one.without_id),
            f"{one.resident_mb:.1f}",
            str(one.term),
            f"{one.machine_load:.1f}",
        ]
        for number, one in enumerate(slices, 1)
        if number == 1 or number % 5 == 0
    ]
    text = report.described(results) + (
        f"\n{len(slices)} minutes of full load at {CONNECTIONS} connections: {false_elections} false elections, "
        f"{requests / 1e6:.0f} million requests,\n{rates[0]:.0f} to {rates[-1]:.0f} a second in each minute, "
        f"{sum(one.errors for one in slices)} errors, "
        f"{sum(one.without_id for one in slices)} answers without an ID, "
        f"the probes' histories are {'sound' if not violations else 'BROKEN'}.\n\n"
    )
    text += report.table(header, rows)
    text += "".join(f"{violation}\n" for violation in violations)
    return text + (f"\nWhat the nodes said of roles and terms:\n{log}" if false_elections else "")


if __name__ == "__main__":
    run_command(main)
