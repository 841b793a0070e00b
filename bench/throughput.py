"""`make bench`: every service in interleaved rounds, and one table.

A round starts each service in turn, from nothing, loads it in every way, and stops it. So no service runs
beside another, and what changes on the machine from one round to the next changes for all of them.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench import goals, load, machine, plot, report, syscalls
from bench.load import Load, Sample
from bench.services import Service, TicketdService, all_services

CONNECTIONS = (1, 64, 1_000)
PIPELINES = (1, 16)
WARM_UP_SECONDS = 1.0
# For the goal that speaks of `?n=1000`.
IDS_PER_REQUEST = 1_000
# How long a cluster is left alone before what it uses at rest is measured, and how long that is measured.
SETTLE_SECONDS = 3.0
REST_SECONDS = 10.0


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
    rounds: list[dict[str, Visit]] = []
    # A service that cannot be measured costs its own line, not the whole run.
    left_out: dict[str, str] = {}
    with machine.workplace() as workplace:
        for number in range(1, options.rounds + 1):
            visits: dict[str, Visit] = {}
            for position, service in enumerate(services):
                print(f"round {number} of {options.rounds}: {service.name}", flush=True)
                directory = workplace / f"{number}-{position}"
                directory.mkdir()
                try:
                    visits[service.name] = visit(service, directory, loads, is_last=number == options.rounds)
                except (load.LoadFailed, RuntimeError, TimeoutError) as error:
                    left_out[service.name] = f"round {number}: {error}"
                    print(f"left out from now on: {error}", flush=True)
            services = [service for service in services if service.name not in left_out]
            rounds.append(visits)
    results = {
        "machine": described,
        "seconds": options.seconds,
        "binary_mb": Path(machine.ticketd()).stat().st_size / 2**20,
        "left_out": left_out,
        "rounds": [
            {name: asdict(one) for name, one in visits.items() if name not in left_out} for visits in rounds
        ],
    }
    report.write_json(options.results / "throughput.json", results)
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


def visit(service: Service, directory: Path, loads: list[Load], *, is_last: bool) -> Visit:
    """Starts a service, loads it, stops it."""
    # What the service before has not written yet would be written by this one's first sync, and timed as its start.
    os.sync()
    start_seconds = service.start(directory)
    try:
        visited = Visit(start_ms=start_seconds * 1e3)
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
    """Warms up, loads, and makes sure that what was counted as answers were IDs."""
    service.load(Load(one.connections, one.pipeline, WARM_UP_SECONDS))
    before = service.last_id()
    cpu_before = cpu_seconds(service)
    sample = service.load(one)
    cpu_used = cpu_seconds(service) - cpu_before
    after = service.last_id()
    if before is not None and after is not None and after - before <= sample.requests:
        raise load.LoadFailed(f"{service.name}: {sample.requests} answers, but only IDs {before} to {after}")
    return Cell(sample, cpu_used * 1e6 / max(1, sample.requests))


def cpu_at_rest_percent(service: Service) -> float:
    time.sleep(SETTLE_SECONDS)
    before = cpu_seconds(service)
    time.sleep(REST_SECONDS)
    return (cpu_seconds(service) - before) / REST_SECONDS * 100


def cpu_seconds(service: Service) -> float:
    return sum(process.cpu_seconds() for process in service.processes())


if __name__ == "__main__":
    main()
