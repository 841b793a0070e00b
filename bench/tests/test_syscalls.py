"""Counters of system calls whose load fails."""

import os
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from bench import machine, syscalls
from bench.load import Load, LoadFailed
from bench.process import wait_until


class Counters(unittest.TestCase):
    def test_they_are_ended_where_the_load_fails(self) -> None:
        directory = Path(self.enterContext(tempfile.TemporaryDirectory()))
        perf, said = directory / "perf", directory / "pid"
        perf.write_text(f"#!/bin/sh\necho $$ >{said}\nexec sleep 600\n")
        perf.chmod(0o755)

        def load(_: Load) -> None:
            wait_until(lambda: said.exists() and said.read_text().endswith("\n"), 30, "it counts")
            raise LoadFailed("redirects")

        service = mock.Mock(load=load)
        service.processes.return_value = [mock.Mock(pids=lambda: [1])]
        with mock.patch.object(machine, "find", return_value=str(perf)), self.assertRaises(LoadFailed):
            syscalls.per_request(service, Load(64, 1, 1))
        with self.assertRaises(ProcessLookupError):
            os.kill(int(said.read_text()), 0)


if __name__ == "__main__":
    unittest.main()
