"""The checker must find what is broken, and leave alone what is sound."""

import random
import unittest

from bench.history import Taken, violations


def taken(sent_at: float, answered_at: float, id_: int) -> Taken:
    return Taken(sent_at, answered_at, id_, node=1)


class Violations(unittest.TestCase):
    def test_ids_in_the_order_of_their_requests_are_sound(self) -> None:
        self.assertEqual(violations([taken(0, 1, 5), taken(2, 3, 6), taken(4, 5, 900)]), [])

    def test_requests_that_overlap_may_be_answered_in_either_order(self) -> None:
        self.assertEqual(violations([taken(0, 10, 2), taken(1, 2, 1)]), [])

    def test_an_id_that_was_given_twice_is_found(self) -> None:
        found = violations([taken(0, 9, 7), taken(1, 9, 7)])
        self.assertEqual(len(found), 1)
        self.assertIn("twice", found[0])

    def test_a_smaller_id_asked_for_after_a_larger_was_answered_is_found(self) -> None:
        found = violations([taken(0, 1, 7), taken(2, 3, 6)])
        self.assertEqual(len(found), 1)
        self.assertIn("after ID 7", found[0])

    def test_the_order_of_the_record_does_not_matter(self) -> None:
        self.assertEqual(len(violations([taken(2, 3, 6), taken(0, 1, 7)])), 1)

    def test_a_larger_id_counts_even_when_smaller_ones_were_answered_later(self) -> None:
        history = [taken(0, 1, 100), taken(0, 2, 50), taken(3, 4, 60)]
        self.assertEqual(len(violations(history)), 1)

    def test_an_answer_at_the_very_moment_of_the_next_request_says_nothing(self) -> None:
        self.assertEqual(violations([taken(0, 1, 7), taken(1, 2, 6)]), [])

    def test_no_more_is_told_than_was_asked_for(self) -> None:
        self.assertEqual(len(violations([taken(n, n + 0.5, 100 - n) for n in range(50)], most=3)), 3)

    def test_it_agrees_with_comparing_all_pairs(self) -> None:
        for seed in range(300):
            chance = random.Random(seed)
            starts = [chance.uniform(0, 10) for _ in range(8)]
            ids = chance.sample(range(1, 100), len(starts))
            if chance.random() < 0.5:
                ids.sort()
                starts.sort()
            history = [taken(at, at + chance.uniform(0.1, 3), id_) for at, id_ in zip(starts, ids)]
            broken = any(
                one.answered_at < other.sent_at and one.id > other.id for one in history for other in history
            )
            self.assertEqual(bool(violations(history)), broken, f"seed {seed}: {history}")


if __name__ == "__main__":
    unittest.main()
