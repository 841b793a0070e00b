"""The load generators: how each is called, and how its words are read."""

from __future__ import annotations

import csv
import re
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterator

from bench import machine
from bench.web import Endpoint

HERE = Path(__file__).resolve().parent

# What a generator may take beyond the time that it was asked to load for: connecting a thousand times, and
# waiting for answers.
PATIENCE_SECONDS = 60.0
# How many transactions each connection takes where it is not known yet how fast they are.
TRIAL_TRANSACTIONS = 10
# How often that is corrected until the load lasts at least half as long as it should.
TRIALS_MAX = 4


class LoadFailed(Exception):
    """The generator ended in disorder, or said what we do not understand."""


@dataclass(frozen=True)
class Load:
    """How a service is loaded."""

    connections: int
    # Requests that are sent at once on each connection, before the first answer.
    pipeline: int
    seconds: float

    def name(self) -> str:
        return f"{self.connections}" if self.pipeline == 1 else f"{self.connections}x{self.pipeline}"


@dataclass(frozen=True)
class Sample:
    """What one load measured. Latencies are absent where the generator cannot say them."""

    requests: int
    requests_per_second: float
    p50_us: float | None
    p99_us: float | None
    errors: int


def wrk(endpoint: Endpoint, load: Load, *, method: str = "POST", body: str = "") -> Sample:
    """Loads an HTTP service. wrk counts whole seconds."""
    with wrk_running(endpoint, load, method=method, body=body) as finish:
        return finish()


@contextmanager
def wrk_running(
    endpoint: Endpoint, load: Load, *, method: str = "POST", body: str = ""
) -> Iterator[Callable[[], Sample]]:
    """Loads an HTTP service while other things are done; calling what is yielded waits for the end."""
    seconds = max(1, round(load.seconds))
    flags = f"--threads 1 --connections {load.connections} --duration {seconds}s --timeout 10s".split()
    program = [machine.need("wrk"), *flags, "--script", str(HERE / "answering.lua")]
    arguments = [*program, str(endpoint), "--", method, endpoint.path, body, str(load.pipeline)]
    with running(arguments, seconds) as finish:
        yield lambda: read_wrk(finish(), load)


def read_wrk(said: str, load: Load) -> Sample:
    measured = re.search(r"^measured (\d+) (\d+) (\d+) (\d+) (\d+)$", said, re.MULTILINE)
    if measured is None:
        raise LoadFailed(f"wrk said:\n{said}")
    requests, microseconds, p50_us, p99_us, errors = map(int, measured.groups())
    if microseconds == 0:
        raise LoadFailed(f"wrk ran for no time:\n{said}")
    # wrk takes the time of a batch of requests only, and puts it down for one of them.
    is_plain = load.pipeline == 1
    return Sample(
        requests,
        requests * 1e6 / microseconds,
        float(p50_us) if is_plain else None,
        float(p99_us) if is_plain else None,
        errors,
    )


def without_id(answers: int, before: int, after: int, ids_per_answer: int = 1) -> int:
    """How many of the answers between the IDs `before` and `after` were no IDs, at least: IDs that nobody
    got, or whose answers were not counted, make it smaller, and nothing makes it larger."""
    missing = answers * ids_per_answer - max(0, after - before - 1)
    return max(0, -(-missing // ids_per_answer))


def redis_benchmark(endpoint: Endpoint, load: Load) -> Sample:
    """Loads Redis with INCR. It counts requests and not seconds, so a short load first says how many to take."""
    trial = _redis_benchmark(endpoint, load, max(2_000, load.connections * load.pipeline * 4))
    requests = max(trial.requests, round(trial.requests_per_second * load.seconds))
    return _redis_benchmark(endpoint, load, requests)


def _redis_benchmark(endpoint: Endpoint, load: Load, requests: int) -> Sample:
    target = f"-h {endpoint.host} -p {endpoint.port} -t incr --csv".split()
    amount = f"-c {load.connections} -P {load.pipeline} -n {requests}".split()
    said = _run([machine.need("redis-benchmark"), *target, *amount], load.seconds * 4)
    return read_redis_benchmark(said, requests)


def read_redis_benchmark(said: str, requests: int) -> Sample:
    # Warnings may come before the two lines of the table.
    lines = [line for line in said.splitlines() if line.startswith('"')]
    rows = list(csv.DictReader(lines))
    if len(rows) != 1 or "rps" not in rows[0]:
        raise LoadFailed(f"redis-benchmark said:\n{said}")
    row = rows[0]
    return Sample(
        requests, float(row["rps"]), float(row["p50_latency_ms"]) * 1e3, float(row["p99_latency_ms"]) * 1e3, 0
    )


def pgbench(endpoint: Endpoint, load: Load, directory: Path) -> Sample:
    """Loads PostgreSQL with `nextval('ids')`. Its seconds would include connecting, a thousand times perhaps, so
    it counts transactions, and shorter loads, the first of which is slow, say how many to take."""
    one = "SELECT nextval('ids');\n"
    pipelined = f"\\startpipeline\n{one * load.pipeline}\\endpipeline\n"
    (directory / "nextval.sql").write_text(one if load.pipeline == 1 else pipelined)
    transactions = TRIAL_TRANSACTIONS
    for _ in range(TRIALS_MAX):
        sample = _pgbench(endpoint, load, directory, transactions)
        if sample.requests >= sample.requests_per_second * load.seconds / 2:
            break
        each_per_second = sample.requests_per_second / load.pipeline / load.connections
        transactions = max(TRIAL_TRANSACTIONS, round(each_per_second * load.seconds))
    return sample


def _pgbench(endpoint: Endpoint, load: Load, directory: Path, transactions_each: int) -> Sample:
    for log in directory.glob("latency.*"):
        log.unlink()
    files = ["--file", str(directory / "nextval.sql"), "--log-prefix", str(directory / "latency")]
    target = f"-h {endpoint.host} -p {endpoint.port} -U postgres -n -M prepared --log --sampling-rate 0.1"
    amount = f"-c {load.connections} -j 1 -t {transactions_each} postgres"
    said = _run([machine.need("pgbench"), *files, *target.split(), *amount.split()], load.seconds * 4)
    lines = [line for log in directory.glob("latency.*") for line in log.read_text().splitlines()]
    return read_pgbench(said, lines, load)


def read_pgbench(said: str, latency_lines: list[str], load: Load) -> Sample:
    transactions = re.search(r"^number of transactions actually processed: (\d+)", said, re.MULTILINE)
    rate = re.search(r"^tps = ([0-9.]+) \(without initial connection time\)", said, re.MULTILINE)
    failed = re.search(r"^number of failed transactions: (\d+)", said, re.MULTILINE)
    if transactions is None or rate is None:
        raise LoadFailed(f"pgbench said:\n{said}")
    # client, transaction, latency in microseconds, script, and when.
    latencies = sorted(float(line.split()[2]) for line in latency_lines)
    is_plain = load.pipeline == 1 and bool(latencies)
    return Sample(
        int(transactions[1]) * load.pipeline,
        float(rate[1]) * load.pipeline,
        percentile(latencies, 50) if is_plain else None,
        percentile(latencies, 99) if is_plain else None,
        int(failed[1]) if failed else 0,
    )


def percentile(sorted_values: list[float], percent: float) -> float:
    """The smallest value that at least so many percent do not exceed."""
    position = -(-len(sorted_values) * percent // 100)
    return sorted_values[max(0, int(position) - 1)]


def _run(arguments: list[str], seconds: float) -> str:
    with running(arguments, seconds) as finish:
        return finish()


@contextmanager
def running(arguments: list[str], seconds: float) -> Iterator[Callable[[], str]]:
    """A generator at work; calling what is yielded waits for its end, and returns what it said. However the
    `with` is left, the generator does not outlive it."""
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:

        def finish() -> str:
            try:
                said, complaint = child.communicate(timeout=seconds + PATIENCE_SECONDS)
            except subprocess.TimeoutExpired as error:
                raise LoadFailed(f"{arguments[0]} did not end") from error
            if child.returncode != 0:
                raise LoadFailed(f"{arguments[0]} ended with {child.returncode}:\n{said}{complaint}")
            return said

        try:
            yield finish
        finally:
            child.kill()
