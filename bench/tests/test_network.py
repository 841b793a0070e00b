"""Networks that are not finished."""

import subprocess
import unittest
from unittest import mock

from bench import machine
from bench.network import Lab, Unavailable, lab


class Unfinished(unittest.TestCase):
    def test_a_lab_whose_building_is_cut_short_is_removed(self) -> None:
        refused = subprocess.CalledProcessError(2, "ip", stderr="Operation not permitted\n")
        for failing, told in ((refused, Unavailable), (KeyboardInterrupt(), KeyboardInterrupt)):
            with (
                self.subTest(repr(failing)),
                mock.patch("os.geteuid", return_value=0),
                mock.patch.object(machine, "find", return_value="/sbin/ip"),
                mock.patch.object(Lab, "build", side_effect=failing),
                mock.patch.object(Lab, "remove") as remove,
            ):
                with self.assertRaises(told), lab(3):
                    self.fail("there is a lab that was not built")
                remove.assert_called_once_with()


if __name__ == "__main__":
    unittest.main()
