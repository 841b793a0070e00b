"""Probes against a service that does as it is told."""

import gc
import socket
import threading
import unittest
from typing import Callable

from bench.history import Taken
from bench.prober import Outcome, Prober, longest_gap
from bench.process import wait_until
from bench.web import Endpoint

FAR_SECONDS = 30.0


class Script:
    """A server that answers the n-th request, counted over all connections, by the n-th of its answers; the last
    is repeated. `None` closes the connection, an empty answer leaves the request without one."""

    def __init__(self, answers: list[bytes | None]) -> None:
        self._answers = answers
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = Endpoint("127.0.0.1", self._listener.getsockname()[1])
        self._lock = threading.Lock()
        self._requests = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            while connection.recv(4096):
                with self._lock:
                    position = min(self._requests, len(self._answers) - 1)
                    self._requests += 1
                answer = self._answers[position]
                if answer is None:
                    return
                connection.sendall(answer)

    def close(self) -> None:
        self._listener.close()


def ok(body: str) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


UNAVAILABLE = b"HTTP/1.1 503 Leader unavailable\r\ncontent-length: 0\r\n\r\n"
REDIRECT = b"HTTP/1.1 301 Moved Permanently\r\nContent-Length: 0\r\n\r\n"


def number(body: str) -> int | None:
    return int(body) if body.isdigit() else None


def probe(answers: list[bytes | None], is_enough: Callable[[Prober], bool]) -> Prober:
    """What a prober saw by the time at which that was enough."""
    server = Script(answers)
    try:
        with Prober({1: server.endpoint}, "", number) as prober:
            wait_until(
                lambda: is_enough(prober), FAR_SECONDS, "the prober has seen enough", pause_seconds=0.002
            )
    finally:
        server.close()
    return prober


class Probes(unittest.TestCase):
    def test_every_id_is_recorded_with_its_node_and_times(self) -> None:
        prober = probe([ok("5"), ok("6"), ok("7"), UNAVAILABLE], lambda prober: len(prober.taken) >= 3)
        self.assertEqual({one.id for one in prober.taken}, {5, 6, 7})
        self.assertTrue(all(one.sent_at <= one.answered_at and one.node == 1 for one in prober.taken))

    def test_answers_without_an_id_are_told_apart(self) -> None:
        prober = probe(
            [REDIRECT, UNAVAILABLE, None, ok("1")],
            lambda prober: len(prober.missed) >= 3 and len(prober.taken) >= 1,
        )
        outcomes = {one.outcome for one in prober.missed}
        self.assertLessEqual({Outcome.REDIRECT, Outcome.UNAVAILABLE, Outcome.BROKEN}, outcomes)

    def test_a_request_without_an_answer_does_not_hold_up_the_next(self) -> None:
        prober = probe([b"", ok("1")], lambda prober: len(prober.taken) >= 1)
        self.assertEqual(prober.taken[0].id, 1)

    def test_a_port_where_nobody_listens_is_refused(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        with Prober({1: Endpoint("127.0.0.1", port)}, "", number) as prober:
            wait_until(lambda: len(prober.missed) >= 1, FAR_SECONDS, "the prober has been refused")
        self.assertEqual(prober.missed[0].outcome, Outcome.REFUSED)

    def test_what_interrupts_the_measurement_ends_the_thread(self) -> None:
        # A thread that went on would keep Python from ending.
        with socket.create_server(("127.0.0.1", 0)) as listener:
            endpoint = Endpoint("127.0.0.1", listener.getsockname()[1])
            with self.assertRaises(KeyboardInterrupt):
                with Prober({1: endpoint}, "", number):
                    raise KeyboardInterrupt
        self.assertNotIn("prober", [thread.name for thread in threading.enumerate()])
        self.assertTrue(gc.isenabled())

    def test_what_the_probes_died_of_is_told_unless_something_else_has_ended_the_measurement(self) -> None:
        def broken(_: str) -> int | None:
            raise ValueError("no such body")

        server = Script([ok("1")])
        try:
            with self.assertRaisesRegex(ValueError, "no such body"):
                with Prober({1: server.endpoint}, "", broken):
                    self._wait_until_no_prober_runs()
            with self.assertRaises(KeyboardInterrupt):
                with Prober({1: server.endpoint}, "", broken):
                    self._wait_until_no_prober_runs()
                    raise KeyboardInterrupt
        finally:
            server.close()

    def _wait_until_no_prober_runs(self) -> None:
        wait_until(
            lambda: "prober" not in [thread.name for thread in threading.enumerate()],
            FAR_SECONDS,
            "the prober has ended",
        )


class Gap(unittest.TestCase):
    def test_it_is_the_longest_time_without_an_answer_from_anywhere(self) -> None:
        taken = [
            Taken(at - 1, at, number, node)
            for number, (at, node) in enumerate([(1, 1), (2, 2), (7, 3), (8, 1)])
        ]
        self.assertEqual(longest_gap(taken, since=1, until=10), 5)

    def test_the_time_before_the_watch_does_not_count(self) -> None:
        self.assertEqual(longest_gap([Taken(0, 50, 1, 1), Taken(0, 101, 2, 1)], since=100, until=103), 2)

    def test_without_any_answer_it_is_the_whole_watch(self) -> None:
        self.assertEqual(longest_gap([], since=1, until=4), 3)


if __name__ == "__main__":
    unittest.main()
