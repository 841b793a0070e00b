"""`make bench`: every service in interleaved rounds, and one table.

A round starts each service in turn, from nothing, loads it in every way, and stops it. So no service runs
beside another, and what changes on the machine from one round to the next changes for all of them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench import goals, load, machine, plot, report, syscalls
from bench.load import Load, Sample
from bench.process import run_command
from bench.services import Service, TicketdService, all_services

CONNECTIONS = (1, 64, 1_000)
PIPELINES = (1, 16)
WARM_UP_SECONDS = 1.0
# For the goal that speaks of `?n=1000`.
IDS_PER_REQUEST = 1_000
# How long a cluster is left alone before what it uses at rest is measured, and how long that is measured.
SETTLE_SECONDS = 3.0
REST_SECONDS = 10.0
# What may keep one service from being measured and says nothing of the others: it costs a line of the tables,
# not the whole run. What only a mistake in here can raise is not among them.
UNMEASURABLE = (load.LoadFailed, machine.Missing, RuntimeError, subprocess.SubprocessError, OSError)


@dataclass
class Cell:
    """One service under one load, in one round."""

    sample: Sample
    # What the service's processes used, for each request.
    cpu_us_per_request: float


@dataclass
class Visit:
    """One service in one round."""

    start_ms: float
    cells: dict[str, Cell] = field(default_factory=dict)
    batches: Sample | None = None
    resident_mb: float = 0.0
    # Of one core, all processes together; measured in the last round only.
    cpu_at_rest_percent: float | None = None
    syscalls: syscalls.PerRequest | None = None


def main() -> None:
    options = parse(sys.argv[1:])
    services = [
        service
        for service in all_services()
        if options.services.lower() in service.name.lower() or service.name in goals.YARDSTICKS
    ]
    machine.install(["wrk", "perf", *(program for service in services for program in service.programs)])
    machine.raise_descriptor_limit()
    loads = [
        Load(connections, pipeline, options.seconds) for pipeline in PIPELINES for connections in CONNECTIONS
    ]
    described = machine.describe()
    with machine.workplace() as workplace:
        rounds, left_out = visit_in_rounds(services, workplace, loads, options.rounds)
    results = {
        "machine": described,
        "seconds": options.seconds,
        "binary_mb": Path(machine.ticketd()).stat().st_size / 2**20,
        "left_out": left_out,
        "rounds": [{name: asdict(one) for name, one in visits.items()} for visits in rounds],
    }
    report.write_json(options.results / "throughput.json", results)
    if not any(rounds):
        sys.exit("no service could be measured")
    table = report.throughput(results)
    report.write_text(options.results / "throughput.txt", table)
    plot.throughput(options.results / "throughput.svg", results)
    print(f"\n{table}\nwritten to {options.results}/throughput.{{txt,json,svg}}")


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.throughput", description=__doc__)
    parser.add_argument(
        "--rounds", type=int, default=5, help="how often each service is visited [%(default)s]"
    )
    parser.add_argument("--seconds", type=int, default=2, help="how long each load lasts [%(default)s]")
    parser.add_argument(
        "--services", default="", help="only those whose name contains this, and the yardsticks"
    )
    parser.add_argument("--results", type=Path, default=machine.RESULTS, help="where to write [%(default)s]")
    return parser.parse_args(arguments)


def visit_in_rounds(
    services: list[Service], workplace: Path, loads: list[Load], count: int
) -> tuple[list[dict[str, Visit]], dict[str, str]]:
    """The rounds, with those services only that could be measured in each; and why the others could not."""
    rounds: list[dict[str, Visit]] = []
    left_out: dict[str, str] = {}
    for number in range(1, count + 1):
        visits: dict[str, Visit] = {}
        for position, service in enumerate(services):
            print(f"round {number} of {count}: {service.name}", flush=True)
            directory = workplace / f"{number}-{position}"
            directory.mkdir()
            try:
                visits[service.name] = visit(service, directory, loads, is_last=number == count)
            except UNMEASURABLE as error:
                left_out[service.name] = f"round {number}: {error}"
                print(f"left out from now on: {error}", flush=True)
        services = [service for service in services if service.name not in left_out]
        rounds.append(visits)
    whole = [{name: one for name, one in visits.items() if name not in left_out} for visits in rounds]
    return whole, left_out


def visit(service: Service, directory: Path, loads: list[Load], *, is_last: bool) -> Visit:
    """Starts a service, loads it, stops it."""
    # What the service before has not written yet would be written by this one's first sync, and timed as its
    # start.
    os.sync()
    try:
        visited = Visit(start_ms=service.start(directory) * 1e3)
        if is_last:
            visited.cpu_at_rest_percent = cpu_at_rest_percent(service)
        visited.resident_mb = max(process.memory().resident_bytes for process in service.processes()) / 2**20
        for one in loads:
            visited.cells[one.name()] = measure(service, one)
        if isinstance(service, TicketdService):
            visited.batches = service.load_batches(Load(64, 1, loads[0].seconds), IDS_PER_REQUEST)
        if is_last:
            visited.syscalls = syscalls.per_request(service, Load(64, 1, 1.0))
        return visited
    finally:
        service.stop()


def measure(service: Service, one: Load) -> Cell:
    """Warms up, and loads. The CPU time includes that of the two IDs between which the answers must lie; they
    weigh nothing among thousands."""
    service.load(Load(one.connections, one.pipeline, WARM_UP_SECONDS))
    cpu_before = cpu_seconds(service)
    sample = service.load(one)
    cpu_used = cpu_seconds(service) - cpu_before
    return Cell(sample, cpu_used * 1e6 / max(1, sample.requests))


def cpu_at_rest_percent(service: Service) -> float:
    time.sleep(SETTLE_SECONDS)
    before = cpu_seconds(service)
    time.sleep(REST_SECONDS)
    return (cpu_seconds(service) - before) / REST_SECONDS * 100


def cpu_seconds(service: Service) -> float:
    return sum(process.cpu_seconds() for process in service.processes())


if __name__ == "__main__":
    run_command(main)
