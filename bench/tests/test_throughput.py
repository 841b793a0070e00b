"""Rounds of services that cannot be started, or not measured."""

import contextlib
import io
import subprocess
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from bench import throughput
from bench.clusters import Cluster, Node, Place, Ticketd
from bench.load import Load, LoadFailed, Sample
from bench.machine import Missing
from bench.process import Process
from bench.services import Clustered, Service
from bench.throughput import Visit, visit, visit_in_rounds

SLEEP = ["sleep", "600"]


class HalfStarted(Service):
    """Has one process of two, and then no answer."""

    name = "half"

    def start(self, directory: Path) -> float:
        self.first = self.spawn(SLEEP, directory / "log")
        raise TimeoutError("half: no answer")

    def processes(self) -> list[Process]:
        return [self.first]

    def load(self, load: Load) -> Sample:
        raise AssertionError("loaded without having been started")


class HalfSpawned(Ticketd):
    """Starts its first node only."""

    def spawn(self) -> None:
        self.nodes[0].spawn(SLEEP)
        raise RuntimeError("node 2 has ended")


class HalfClustered(Clustered):
    """A service of such a cluster."""

    def make(self, directory: Path) -> Cluster:
        return HalfSpawned([Node(number, Place(), directory / str(number), 1, 2) for number in (1, 2)])


class Visiting(unittest.TestCase):
    def setUp(self) -> None:
        self.directory = Path(self.enterContext(tempfile.TemporaryDirectory()))
        # It would wait for the disk on behalf of others.
        self.enterContext(mock.patch("os.sync"))

    def test_what_was_started_is_stopped_where_the_start_failed_half_way(self) -> None:
        service = HalfStarted()
        with self.assertRaises(TimeoutError):
            visit(service, self.directory, [], is_last=False)
        self.assertFalse(service.first.is_running())

    def test_the_nodes_of_a_cluster_that_came_up_in_part_are_stopped(self) -> None:
        service = HalfClustered("half", 2)
        with self.assertRaises(RuntimeError):
            visit(service, self.directory, [], is_last=False)
        self.assertFalse(service.cluster.nodes[0].running().is_running())

    def test_one_process_that_cannot_be_stopped_does_not_keep_the_others(self) -> None:
        service = HalfStarted()
        with mock.patch.object(Process, "stop", autospec=True, side_effect=[OSError, None]) as stop:
            first, second = (service.spawn(SLEEP, self.directory / "log") for _ in range(2))
            with self.assertRaises(OSError):
                service.stop()
        self.assertEqual([call.args[0] for call in stop.call_args_list], [second, first])
        first.stop()
        second.stop()


class Rounds(unittest.TestCase):
    def setUp(self) -> None:
        self.workplace = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.enterContext(contextlib.redirect_stdout(io.StringIO()))

    def visited(self, *, failing: BaseException) -> tuple[list[dict[str, Visit]], dict[str, str]]:
        """Two rounds of two services, one of which fails in the second."""
        good, bad = HalfStarted(), HalfStarted()
        good.name, bad.name = "good", "bad"
        visits = [Visit(1.0), Visit(2.0), failing, Visit(3.0)]
        with mock.patch.object(throughput, "visit", side_effect=visits):
            return visit_in_rounds([bad, good], self.workplace, [], 2)

    def test_a_service_that_cannot_be_measured_costs_its_own_line_only(self) -> None:
        for failing in (
            LoadFailed("redirects"),
            Missing("no such program"),
            RuntimeError("a node has ended"),
            TimeoutError("not whole"),
            ConnectionRefusedError("nobody there"),
            subprocess.TimeoutExpired("initdb", 60),
            subprocess.CalledProcessError(101, "cargo"),
        ):
            with self.subTest(failing):
                self.workplace = Path(self.enterContext(tempfile.TemporaryDirectory()))
                rounds, left_out = self.visited(failing=failing)
                self.assertEqual(rounds, [{"good": Visit(2.0)}, {"good": Visit(3.0)}])
                self.assertEqual(left_out, {"bad": f"round 2: {failing}"})

    def test_a_mistake_in_the_bench_and_the_end_of_the_command_cost_the_run(self) -> None:
        for failing in (AttributeError("no such field"), KeyboardInterrupt(), SystemExit(143)):
            with self.subTest(repr(failing)), self.assertRaises(type(failing)):
                self.workplace = Path(self.enterContext(tempfile.TemporaryDirectory()))
                self.visited(failing=failing)


if __name__ == "__main__":
    unittest.main()
