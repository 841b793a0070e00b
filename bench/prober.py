"""Probes: requests to every node, one after another, that never wait for an answer that may not come.

One thread and one selector, so that what is measured is not Python's own scheduling. To each node goes the next
request as soon as the last is answered; where an answer is overdue, another goes out on a connection of its own.
"""

from __future__ import annotations

import gc
import selectors
import socket
import threading
import time
from dataclasses import dataclass, field
from enum import Enum
from types import TracebackType
from typing import Callable

from bench.history import Taken
from bench.web import Endpoint

# Between an answer and the next request to the same node: what a gap cannot be told from.
PAUSE_SECONDS = 0.0005
# After an answer that was not an ID. A node that says at once that it cannot serve is not hammered.
REFUSED_PAUSE_SECONDS = 0.001
# After so long without an answer another request goes out beside the first.
OVERDUE_SECONDS = 0.010
# After so long a request is given up.
PATIENCE_SECONDS = 0.300
# Requests under way to one node.
PROBES_MAX = 1 + int(PATIENCE_SECONDS / OVERDUE_SECONDS)
ANSWER_BYTES_MAX = 64 * 1024


class Outcome(Enum):
    """What became of a request that got no ID."""

    REDIRECT = "redirect"
    # 5xx: the node said that it cannot serve.
    UNAVAILABLE = "unavailable"
    # Sent, and no whole answer before the connection ended.
    BROKEN = "broken"
    # Sent, and given up.
    OVERDUE = "overdue"
    # No connection could be had.
    REFUSED = "refused"


@dataclass(frozen=True)
class Missed:
    """One request that got no ID."""

    # When that was known.
    at: float
    node: int
    outcome: Outcome


@dataclass(eq=False)
class _Probe:
    target: "_Target"
    socket: socket.socket
    # When it was dialled, or when the last request was written.
    began_at: float
    # When the request under way was written; none while connecting and while idle.
    sent_at: float | None = None
    received: bytes = b""
    is_connected: bool = False


@dataclass(eq=False)
class _Target:
    node: int
    endpoint: Endpoint
    request: bytes
    probes: list[_Probe] = field(default_factory=list)
    idle: list[_Probe] = field(default_factory=list)
    next_at: float = 0.0


class Prober:
    """Runs in a thread for as long as its `with` lasts; what it saw is in `taken` and `missed`."""

    def __init__(self, endpoints: dict[int, Endpoint], body: str, id_of: Callable[[str], int | None]) -> None:
        self.taken: list[Taken] = []
        self.missed: list[Missed] = []
        self._id_of = id_of
        self._targets = [
            _Target(node, endpoint, _request(endpoint, body)) for node, endpoint in endpoints.items()
        ]
        # epoll and poll count milliseconds, which is as long as some gaps; there are few sockets.
        self._selector = selectors.SelectSelector()
        self._is_stopping = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="prober")

    def __enter__(self) -> Prober:
        gc.disable()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._is_stopping = True
        self._thread.join()
        gc.enable()
        # What ended the `with` is told rather than what the probes died of meanwhile.
        if self._failure is not None and error is None:
            raise self._failure

    def _run(self) -> None:
        try:
            while not self._is_stopping:
                self._turn(time.monotonic())
        except BaseException as error:
            self._failure = error
        for target in self._targets:
            for probe in target.probes:
                probe.socket.close()
        self._selector.close()

    def _turn(self, now: float) -> None:
        for target in self._targets:
            self._give_up(target, now)
            if now >= target.next_at:
                self._send_next(target, now)
        wake_at = min(target.next_at for target in self._targets)
        for key, events in self._selector.select(max(0.0, wake_at - time.monotonic())):
            probe: _Probe = key.data
            if events & selectors.EVENT_WRITE:
                self._on_connected(probe)
            elif events & selectors.EVENT_READ:
                self._on_readable(probe)

    def _send_next(self, target: _Target, now: float) -> None:
        target.next_at = now + OVERDUE_SECONDS
        if target.idle:
            self._send(target.idle.pop())
        elif len(target.probes) < PROBES_MAX:
            self._connect(target, now)

    def _connect(self, target: _Target, now: float) -> None:
        probe = _Probe(target, socket.socket(), now)
        probe.socket.setblocking(False)
        probe.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        target.probes.append(probe)
        try:
            probe.socket.connect((target.endpoint.host, target.endpoint.port))
        except BlockingIOError:
            pass
        except OSError:
            self._end(probe, Outcome.REFUSED)
            return
        self._selector.register(probe.socket, selectors.EVENT_WRITE, probe)

    def _on_connected(self, probe: _Probe) -> None:
        if probe.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0:
            self._end(probe, Outcome.REFUSED)
            return
        probe.is_connected = True
        self._selector.modify(probe.socket, selectors.EVENT_READ, probe)
        self._send(probe)

    def _send(self, probe: _Probe) -> None:
        probe.received = b""
        probe.began_at = probe.sent_at = time.monotonic()
        try:
            probe.socket.send(probe.target.request)
        except OSError:
            self._end(probe, Outcome.BROKEN)

    def _on_readable(self, probe: _Probe) -> None:
        try:
            received = probe.socket.recv(ANSWER_BYTES_MAX)
        except OSError:
            received = b""
        if not received:
            # The end of an idle connection is nobody's loss.
            self._end(probe, Outcome.BROKEN if probe.sent_at is not None else None)
            return
        probe.received += received
        answer = _parse(probe.received)
        if answer is not None and probe.sent_at is not None:
            self._on_answer(probe, *answer)

    def _on_answer(self, probe: _Probe, status: int, body: str) -> None:
        now, target = time.monotonic(), probe.target
        id_ = self._id_of(body) if status == 200 else None
        if id_ is not None and probe.sent_at is not None:
            self.taken.append(Taken(probe.sent_at, now, id_, target.node))
        else:
            outcome = Outcome.REDIRECT if 300 <= status < 400 else Outcome.UNAVAILABLE
            self.missed.append(Missed(now, target.node, outcome))
        probe.sent_at = None
        target.idle.append(probe)
        target.next_at = min(target.next_at, now + (REFUSED_PAUSE_SECONDS if id_ is None else PAUSE_SECONDS))

    def _give_up(self, target: _Target, now: float) -> None:
        for probe in [one for one in target.probes if one.began_at + PATIENCE_SECONDS < now]:
            if probe.sent_at is not None:
                self._end(probe, Outcome.OVERDUE)
            elif not probe.is_connected:
                self._end(probe, Outcome.REFUSED)

    def _end(self, probe: _Probe, outcome: Outcome | None) -> None:
        now, target = time.monotonic(), probe.target
        if outcome is not None:
            self.missed.append(Missed(now, target.node, outcome))
            target.next_at = min(target.next_at, now + REFUSED_PAUSE_SECONDS)
        if probe in target.idle:
            target.idle.remove(probe)
        target.probes.remove(probe)
        if probe.socket.fileno() in self._selector.get_map():
            self._selector.unregister(probe.socket)
        probe.socket.close()


def longest_gap(taken: list[Taken], since: float, until: float) -> float:
    """The longest time within which no ID came from anywhere, in seconds."""
    moments = [since, *sorted(one.answered_at for one in taken if since < one.answered_at < until), until]
    return max(later - earlier for earlier, later in zip(moments, moments[1:]))


def _request(endpoint: Endpoint, body: str) -> bytes:
    head = f"POST {endpoint.path} HTTP/1.1\r\nHost: {endpoint.host}:{endpoint.port}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


def _parse(received: bytes) -> tuple[int, str] | None:
    """The status and the body, once they are whole. Both services say how long the body is."""
    head, end, body = received.partition(b"\r\n\r\n")
    if not end:
        return None
    length = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    if len(body) < length:
        return None
    return int(head.split(b" ", 2)[1]), body.decode(errors="replace")
