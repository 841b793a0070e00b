"""System calls for each request, counted by the kernel's own tracepoint.

`perf stat` slows a process far less than `strace -c`, and what is slowed behaves differently: it batches more.
"""

from __future__ import annotations

import re
import signal
import subprocess
import time
from contextlib import ExitStack
from dataclasses import dataclass

from bench import machine
from bench.load import Load
from bench.process import Process
from bench.services import Service

EVENT = "raw_syscalls:sys_enter"
# How long perf may take to attach.
ATTACH_SECONDS = 0.3


@dataclass(frozen=True)
class PerRequest:
    """Of the process that answers, and of all the others that it needs for that."""

    answering: float
    others: float


def per_request(service: Service, load: Load) -> PerRequest | None:
    """Nothing where perf cannot count here."""
    perf = machine.find("perf")
    if perf is None:
        return None
    with ExitStack() as stack:
        counters: list[_Counter] = []
        for process in service.processes():
            counters.append(_Counter(perf, process))
            stack.callback(counters[-1].end)
        time.sleep(ATTACH_SECONDS)
        sample = service.load(load)
        counts = [counter.finish() for counter in counters]
    if any(count is None for count in counts) or sample.requests == 0:
        return None
    answering, *others = [count / sample.requests for count in counts if count is not None]
    return PerRequest(answering, sum(others))


class _Counter:
    """perf, attached to a family of processes."""

    def __init__(self, perf: str, process: Process) -> None:
        pids = ",".join(map(str, process.pids()))
        self._child = subprocess.Popen(
            [perf, "stat", "-x", ";", "-e", EVENT, "-p", pids],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self) -> int | None:
        # perf prints what it has counted when it is interrupted.
        self._child.send_signal(signal.SIGINT)
        _, said = self._child.communicate(timeout=10)
        return read(said)

    def end(self) -> None:
        """Ends it, if it still counts."""
        self._child.kill()
        self._child.communicate()


def read(said: str) -> int | None:
    """The count in what perf says, where there is one."""
    found = re.search(rf"^(\d+);[^;]*;{EVENT};", said, re.MULTILINE)
    return int(found[1]) if found else None
