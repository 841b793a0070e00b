"""What the load generators say, as they say it."""

import os
import tempfile
import unittest
from pathlib import Path

from bench.load import (
    Load,
    LoadFailed,
    percentile,
    read_pgbench,
    read_redis_benchmark,
    read_wrk,
    running,
    without_id,
)
from bench.process import wait_until
from bench.syscalls import read as read_perf

PLAIN = Load(connections=64, pipeline=1, seconds=2)
PIPELINED = Load(connections=64, pipeline=16, seconds=2)

WRK = """Running 2s test @ http://127.0.0.1:8401/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   651.11us  531.06us  12.34ms   95.68%
    Req/Sec   101.60k     9.10k  113.94k    71.43%
  212345 requests in 2.10s, 37.46MB read
Requests/sec: 101116.66
Transfer/sec:     17.84MB

measured 212345 2100000 612 2411 3
"""

REDIS = """WARNING: Could not fetch server CONFIG
"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms","max_latency_ms"
"INCR","88495.58","0.442","0.160","0.431","0.647","0.863","1.871"
"""

PGBENCH = """pgbench (15.18 (Debian 15.18-0+deb12u1))
transaction type: nextval.sql
number of clients: 64
number of transactions actually processed: 118052
number of failed transactions: 2 (0.002%)
latency average = 1.081 ms
initial connection time = 158.310 ms
tps = 59206.481331 (without initial connection time)
"""


class Wrk(unittest.TestCase):
    def test_rate_latency_and_errors_are_read(self) -> None:
        sample = read_wrk(WRK, PLAIN)
        self.assertEqual(
            (sample.requests, sample.p50_us, sample.p99_us, sample.errors), (212345, 612, 2411, 3)
        )
        self.assertAlmostEqual(sample.requests_per_second, 101116.66, places=1)

    def test_the_latency_of_a_batch_is_not_taken_for_that_of_a_request(self) -> None:
        self.assertIsNone(read_wrk(WRK, PIPELINED).p50_us)

    def test_a_wrk_that_measured_nothing_is_no_sample(self) -> None:
        for said in ("unable to connect to 127.0.0.1:1 Connection refused\n", "measured 0 0 0 0 0\n"):
            with self.assertRaises(LoadFailed):
                read_wrk(said, PLAIN)


class Generator(unittest.TestCase):
    def test_what_it_said_is_had_once_it_has_ended(self) -> None:
        with running(["echo", "measured"], seconds=1) as finish:
            self.assertEqual(finish(), "measured\n")

    def test_one_that_fails_is_told_with_its_words(self) -> None:
        with self.assertRaisesRegex(LoadFailed, "(?s)ended with 3.*no such host"):
            with running(["sh", "-c", "echo no such host >&2; exit 3"], seconds=1) as finish:
                finish()

    def test_it_does_not_outlive_an_interrupted_measurement(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            said = Path(directory) / "pid"
            with self.assertRaises(KeyboardInterrupt):
                with running(["sh", "-c", f"echo $$ >{said}; exec sleep 600"], seconds=600):
                    wait_until(lambda: said.exists() and said.read_text().endswith("\n"), 30, "it runs")
                    raise KeyboardInterrupt
            with self.assertRaises(ProcessLookupError):
                os.kill(int(said.read_text()), 0)


class WithoutId(unittest.TestCase):
    def test_as_many_ids_between_two_others_are_enough(self) -> None:
        self.assertEqual(without_id(100, before=5, after=106), 0)
        self.assertEqual(without_id(100, before=5, after=9_000), 0)

    def test_each_id_too_few_is_an_answer_without_one(self) -> None:
        self.assertEqual(without_id(100, before=5, after=105), 1)
        self.assertEqual(without_id(100, before=5, after=6), 100)
        self.assertEqual(without_id(0, before=5, after=6), 0)

    def test_an_answer_that_lacks_a_part_of_its_ids_is_none(self) -> None:
        self.assertEqual(without_id(10, 0, 10_001, ids_per_answer=1_000), 0)
        self.assertEqual(without_id(10, 0, 10_000, ids_per_answer=1_000), 1)
        self.assertEqual(without_id(10, 0, 101, ids_per_answer=1_000), 10)

    def test_ids_that_go_back_are_none(self) -> None:
        self.assertEqual(without_id(10, before=1_000, after=1), 10)


class RedisBenchmark(unittest.TestCase):
    def test_milliseconds_become_microseconds(self) -> None:
        sample = read_redis_benchmark(REDIS, 1000)
        self.assertEqual((sample.requests, sample.p50_us, sample.p99_us), (1000, 431.0, 863.0))
        self.assertEqual(sample.requests_per_second, 88495.58)

    def test_a_server_that_is_not_there_is_no_sample(self) -> None:
        with self.assertRaises(LoadFailed):
            read_redis_benchmark("Could not connect to Redis at 127.0.0.1:1: Connection refused\n", 1)


class Pgbench(unittest.TestCase):
    def test_rate_and_failures_are_read_and_latencies_come_from_the_log(self) -> None:
        lines = [f"0 {n} {latency} 0 1700000000 {n}" for n, latency in enumerate((900, 100, 500))]
        sample = read_pgbench(PGBENCH, lines, PLAIN)
        self.assertEqual(
            (sample.requests, sample.errors, sample.p50_us, sample.p99_us), (118052, 2, 500.0, 900.0)
        )
        self.assertEqual(sample.requests_per_second, 59206.481331)

    def test_a_pgbench_that_measured_nothing_is_no_sample(self) -> None:
        with self.assertRaises(LoadFailed):
            read_pgbench("pgbench: error: connection refused\n", [], PLAIN)

    def test_a_transaction_of_sixteen_counts_sixteen_times(self) -> None:
        sample = read_pgbench(PGBENCH, [], PIPELINED)
        self.assertEqual(sample.requests, 118052 * 16)
        self.assertIsNone(sample.p50_us)


class Percentile(unittest.TestCase):
    def test_it_is_a_value_that_was_measured(self) -> None:
        values = [float(n) for n in range(1, 101)]
        self.assertEqual([percentile(values, p) for p in (0, 1, 50, 99, 100)], [1, 1, 50, 99, 100])
        self.assertEqual(percentile([7.0], 99), 7)


class Perf(unittest.TestCase):
    def test_the_count_is_found_among_other_words(self) -> None:
        said = "warning: something\n220210;;raw_syscalls:sys_enter;2001398712;100.00;;\n"
        self.assertEqual(read_perf(said), 220210)

    def test_what_was_not_counted_is_no_number(self) -> None:
        self.assertIsNone(read_perf("<not supported>;;raw_syscalls:sys_enter;0;100.00;;\n"))
        self.assertIsNone(read_perf(""))


if __name__ == "__main__":
    unittest.main()
