"""What is made of the probes' answers."""

import unittest

from bench.failover import handover_ms
from bench.history import Taken


def taken(*moments: tuple[float, int]) -> list[Taken]:
    """IDs by when they were answered and by which node."""
    return [Taken(at - 0.1, at, number, node) for number, (at, node) in enumerate(moments, start=1)]


class HandOver(unittest.TestCase):
    def test_it_lasts_from_the_last_id_of_the_one_to_the_first_of_another(self) -> None:
        ids = taken((1.0, 1), (2.0, 1), (2.5, 1), (2.75, 2), (3.0, 3))
        self.assertEqual(handover_ms(ids, 1, 2.0), 250.0)

    def test_an_id_of_the_leader_that_returns_does_not_count(self) -> None:
        self.assertEqual(handover_ms(taken((1.0, 1), (2.0, 3), (4.0, 1)), 1, 1.5), 1000.0)

    def test_where_every_node_gives_ids_or_no_other_does_there_is_none(self) -> None:
        self.assertIsNone(handover_ms(taken((1.0, 1), (1.25, 2), (3.0, 2)), 1, 2.0))
        self.assertIsNone(handover_ms(taken((1.0, 1), (2.0, 1)), 1, 1.5))
