"""What becomes of processes when a command is told to end."""

import signal
import subprocess
import sys
import unittest

from bench.machine import ROOT

COMMAND = """
import os, signal, time
from bench.process import run_command

def command():
    try:
        print("begun", flush=True)
        time.sleep(600)
    finally:
        # Whoever ends it may be impatient.
        os.kill(os.getpid(), signal.SIGTERM)
        print("stopped what was started", flush=True)

run_command(command)
"""


class Ending(unittest.TestCase):
    def test_sigterm_and_sighup_let_a_command_stop_what_it_has_started(self) -> None:
        for number in (signal.SIGTERM, signal.SIGHUP):
            with self.subTest(number.name), self.begun(COMMAND) as child:
                child.send_signal(number)
                said, _ = child.communicate(timeout=30)
                self.assertEqual((said, child.returncode), ("stopped what was started\n", 128 + number))

    def test_a_signal_that_is_ignored_stays_ignored(self) -> None:
        ignoring = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n" + COMMAND
        with self.begun(ignoring) as child:
            child.send_signal(signal.SIGHUP)
            child.send_signal(signal.SIGTERM)
            child.communicate(timeout=30)
            self.assertEqual(child.returncode, 128 + signal.SIGTERM)

    def begun(self, program: str) -> subprocess.Popen[str]:
        """Python, once the command in it has begun."""
        child = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        self.addCleanup(child.kill)
        assert child.stdout is not None
        self.assertEqual(child.stdout.readline(), "begun\n")
        return child


if __name__ == "__main__":
    unittest.main()
