"""Processes that were started here, and what the kernel says of them.

Only what was started here is ever ended, and by its pid. It knows nothing of what the processes do.
"""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Callable, Sequence

# How long a process may take to end after SIGTERM, before it is killed.
STOP_SECONDS_MAX = 15.0


@dataclass(frozen=True)
class Memory:
    """Resident memory in bytes: all of it, and the part that is not backed by a file."""

    resident_bytes: int
    anonymous_bytes: int


class Process:
    """A child, with its output in a file."""

    def __init__(
        self,
        arguments: Sequence[str],
        log: Path,
        *,
        prefix: Sequence[str] = (),
        user: str | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.log = log
        self.arguments = list(arguments)
        with open(log, "ab") as output:
            self._child = subprocess.Popen(
                [*prefix, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                user=user,
                group=_group(user),
                extra_groups=[] if user else None,
                start_new_session=True,
                env={**os.environ, **(environment or {})},
                cwd=log.parent,
            )

    @property
    def pid(self) -> int:
        return self._child.pid

    def is_running(self) -> bool:
        return self._child.poll() is None

    def signal(self, number: signal.Signals) -> None:
        self._child.send_signal(number)

    def kill(self) -> None:
        """Ends it at once, as a crash would."""
        self._child.kill()
        self._child.wait()

    def wait(self, seconds_max: float = STOP_SECONDS_MAX) -> int:
        """Waits for its end; its exit status."""
        return self._child.wait(seconds_max)

    def stop(self) -> None:
        """Asks it to end, and makes it where it does not."""
        if not self.is_running():
            return
        # A stopped process would take no notice before it goes on.
        self._child.send_signal(signal.SIGCONT)
        self._child.terminate()
        try:
            self._child.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.kill()

    def last_words(self, lines: int = 5) -> str:
        """The end of what it said."""
        said = self.log.read_text(errors="replace").splitlines()
        return "\n".join(said[-lines:])

    def pids(self) -> list[int]:
        """It and all that descends from it."""
        family = [self.pid]
        for pid in family:
            family.extend(_children(pid))
        return family

    def memory(self) -> Memory:
        """Of the whole family."""
        return Memory(self._sum_status("VmRSS:"), self._sum_status("RssAnon:"))

    def cpu_seconds(self) -> float:
        """That the whole family has used so far, in user and kernel mode."""
        nanoseconds = 0
        for pid in self.pids():
            for path in _of_threads(pid, "schedstat"):
                nanoseconds += int(_read(path).split(" ", 1)[0] or 0)
            nanoseconds += _ended_children_nanoseconds(pid)
        return nanoseconds / 1e9

    def _sum_status(self, field: str) -> int:
        kilobytes = 0
        for pid in self.pids():
            lines = _read(Path(f"/proc/{pid}/status")).splitlines()
            kilobytes += sum(int(line.split()[1]) for line in lines if line.startswith(field))
        return kilobytes * 1024


def run_command(command: Callable[[], None]) -> None:
    """Runs a command so that SIGTERM and SIGHUP end it as Ctrl-C does: through its `finally` blocks, which
    stop what it has started. By default they would end this process alone, and its children would go on."""
    is_ending = False

    def end(number: int, _: FrameType | None) -> None:
        nonlocal is_ending
        # A second signal must not cut short what the first has begun.
        if not is_ending:
            is_ending = True
            sys.exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        # What is ignored was meant to be: nohup does so.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)
    command()


def disk_bytes(directory: Path) -> int:
    """What the files below a directory occupy; holes do not count."""
    return sum(path.stat().st_blocks * 512 for path in directory.rglob("*") if path.is_file())


def wait_until(
    condition: Callable[[], bool], seconds_max: float, what: str, *, pause_seconds: float = 0.02
) -> None:
    """Calls `condition` until it holds."""
    deadline = time.monotonic() + seconds_max
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds_max:.0f} s")
        time.sleep(pause_seconds)


def _children(pid: int) -> list[int]:
    words = [_read(path).split() for path in _of_threads(pid, "children")]
    return [int(word) for line in words for word in line]


def _of_threads(pid: int, name: str) -> list[Path]:
    """The files of this name, one for each thread; none where the process has ended meanwhile."""
    try:
        return list(Path(f"/proc/{pid}/task").glob(f"*/{name}"))
    except FileNotFoundError:
        return []


def _ended_children_nanoseconds(pid: int) -> int:
    """What those children used that have ended and were waited for: a PostgreSQL backend, say."""
    # The name of the program, in parentheses, may hold anything; `cutime` and `cstime` are the 14th and the 15th
    # field after it.
    fields = _read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    ticks = sum(map(int, fields[13:15]))
    return ticks * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def _read(path: Path) -> str:
    """What a file of /proc says; nothing where the process has gone."""
    try:
        return path.read_text()
    except OSError:
        return ""


def _group(user: str | None) -> str | int | None:
    if user is None:
        return None
    return pwd.getpwnam(user).pw_gid
