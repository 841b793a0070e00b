"""What is changed on the machine for a while."""

import subprocess
import tempfile
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

from bench import machine


class Policy(unittest.TestCase):
    def test_the_ban_on_starting_services_goes_even_where_it_was_not_completed(self) -> None:
        run = subprocess.run

        def without_chmod(arguments: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
            if "chmod" in arguments:
                raise subprocess.CalledProcessError(1, arguments)
            return run(arguments, **options)

        policy = Path(self.enterContext(tempfile.TemporaryDirectory())) / "policy-rc.d"
        with mock.patch.object(machine, "POLICY", policy), mock.patch("subprocess.run", without_chmod):
            with self.assertRaises(subprocess.CalledProcessError), machine._services_not_started([]):
                self.fail("packages are installed though their services may start")
        self.assertFalse(policy.exists())


if __name__ == "__main__":
    unittest.main()
