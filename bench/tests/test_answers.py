"""Answers count only if they were IDs, in whatever measures them."""

import contextlib
import unittest
from pathlib import Path
from typing import Iterator
from unittest import mock

from bench import clusters, growth, load, soak, web
from bench.clusters import Node, Place, Ticketd
from bench.history import Taken
from bench.load import Load, LoadFailed, Sample
from bench.services import TicketdService
from bench.web import Endpoint

ANY_LOAD = Load(64, 1, 1)
REDIRECT = (301, "")


def answered(requests: int) -> Sample:
    return Sample(requests, float(requests), 100.0, 200.0, 0)


def made_cluster() -> Ticketd:
    return Ticketd([Node(1, Place(), Path("/nowhere"), 8001, 9001)])


class Answers(unittest.TestCase):
    """The node gives the IDs that it is told to, and wrk counts as many answers as it is told to."""

    def given(self, *, ids: list[int], answers: int) -> mock.MagicMock:
        said = [(200, str(one)) for one in ids]
        self.enterContext(mock.patch.object(web, "request", side_effect=said))
        return self.enterContext(mock.patch.object(load, "wrk", return_value=answered(answers)))

    def test_as_many_ids_as_answers_are_a_sample(self) -> None:
        self.given(ids=[10, 111], answers=100)
        cluster = made_cluster()
        self.assertEqual(clusters.load_ids(cluster, cluster.nodes[0], ANY_LOAD), answered(100))

    def test_fewer_ids_than_answers_are_none(self) -> None:
        self.given(ids=[10, 110], answers=100)
        cluster = made_cluster()
        with self.assertRaisesRegex(LoadFailed, "100 IDs were counted, but only those between 10 and 110"):
            clusters.load_ids(cluster, cluster.nodes[0], ANY_LOAD)

    def test_a_node_that_redirects_before_the_load_is_not_loaded(self) -> None:
        wrk = self.given(ids=[], answers=100)
        cluster = made_cluster()
        with mock.patch.object(web, "request", return_value=REDIRECT):
            with self.assertRaisesRegex(RuntimeError, "node 1 of ticketd answers 301"):
                clusters.load_ids(cluster, cluster.nodes[0], ANY_LOAD)
        wrk.assert_not_called()

    def test_batches_must_have_all_of_their_ids(self) -> None:
        service = TicketdService("ticketd 1", 1)
        service.cluster = made_cluster()
        service._target = service.cluster.nodes[0]
        wrk = self.given(ids=[10, 100_011, 200_000, 300_000], answers=100)
        self.assertEqual(service.load_batches(ANY_LOAD, 1_000), answered(100))
        wrk.assert_called_once_with(Endpoint("127.0.0.1", 8001, "/?n=1000"), ANY_LOAD, body="")
        with self.assertRaises(LoadFailed):
            service.load_batches(ANY_LOAD, 1_000)

    def test_every_load_of_a_cluster_is_checked(self) -> None:
        service = TicketdService("ticketd 1", 1)
        service.cluster = made_cluster()
        service._target = service.cluster.nodes[0]
        self.given(ids=[10, 50], answers=100)
        with self.assertRaises(LoadFailed):
            service.load(ANY_LOAD)

    def test_growth_counts_ids_and_not_answers(self) -> None:
        cluster = made_cluster()
        leader = cluster.nodes[0]
        self.given(ids=[10, 100_011, 200_000, 200_101, 300_000, 300_100], answers=100)
        self.assertEqual(growth.take(cluster, leader, 10**6, is_single=False), 100_000)
        self.assertEqual(growth.take(cluster, leader, 10**6, is_single=True), 100)
        with self.assertRaises(LoadFailed):
            growth.take(cluster, leader, 10**6, is_single=True)

    def test_growth_takes_a_few_ids_exactly(self) -> None:
        wrk = self.given(ids=[1, 2, 3], answers=100)
        cluster = made_cluster()
        self.assertEqual(growth.take(cluster, cluster.nodes[0], 3, is_single=True), 3)
        wrk.assert_not_called()

    def test_an_id_is_taken_from_whichever_node_gives_one(self) -> None:
        cluster = made_cluster()
        cluster.nodes.append(Node(2, Place(), Path("/nowhere"), 8002, 9002))
        said = [REDIRECT, (503, ""), REDIRECT, (200, "7")]
        with mock.patch.object(web, "request", side_effect=said) as request:
            self.assertEqual(clusters.take_id_anywhere(cluster), 7)
        self.assertEqual(request.call_args.args[0].port, 8002)


class Soak(unittest.TestCase):
    def sliced(self, *, ids: list[int], answers: int, probes: int) -> soak.Slice:
        """A minute in which so many answers were counted and so many IDs were given to the probes."""

        @contextlib.contextmanager
        def wrk_running(*_: object) -> Iterator[mock.Mock]:
            yield mock.Mock(return_value=answered(answers))

        process = mock.Mock()
        process.memory.return_value.resident_bytes = 2**20
        cluster = mock.Mock(nodes=[mock.Mock(id=1)])
        cluster.nodes[0].running.return_value = process
        cluster.leader.return_value = cluster.nodes[0]
        prober = mock.MagicMock()
        prober.__enter__.return_value.taken = [Taken(0.0, 0.0, number, 1) for number in range(probes)]
        with (
            mock.patch("time.sleep"),
            mock.patch.object(load, "wrk_running", wrk_running),
            mock.patch.object(soak, "Prober", return_value=prober),
            mock.patch.object(soak, "term_of", return_value=1),
            mock.patch.object(clusters, "take_id_anywhere", side_effect=ids),
        ):
            return soak.run_slice(cluster, [])

    def test_ids_for_all_answers_and_probes_are_well(self) -> None:
        self.assertEqual(self.sliced(ids=[10, 121], answers=100, probes=10).without_id, 0)

    def test_answers_without_an_id_are_counted_and_do_not_end_the_hour(self) -> None:
        one = self.sliced(ids=[10, 51], answers=100, probes=10)
        self.assertEqual(one.without_id, 70)
        self.assertIn("70 answers without an ID", soak.line(one))
        text = soak.render({"machine": {}}, [one], 1, [], "")
        self.assertIn("0 errors, 70 answers without an ID,", text)


if __name__ == "__main__":
    unittest.main()
