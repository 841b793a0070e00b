"""Tables, goals and pictures of figures that were made up."""

import unittest
from typing import Any
from xml.etree import ElementTree

from bench import goals, plot, report


def visit(rate: float, p50_us: float = 100, p99_us: float = 1000) -> dict[str, Any]:
    sample = {"requests": 1, "requests_per_second": rate, "p50_us": p50_us, "p99_us": p99_us, "errors": 0}
    batched = {**sample, "p50_us": None, "p99_us": None}
    cells = {"1": sample, "64": sample, "1000": sample, "64x16": batched}
    return {
        "cells": {load: {"sample": one, "cpu_us_per_request": 5.0} for load, one in cells.items()},
        "start_ms": 10.0,
        "resident_mb": 4.0,
        "cpu_at_rest_percent": 0.3,
        "syscalls": None,
        "batches": {**sample, "requests_per_second": 120_000.0},
    }


def results(*rounds: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {"machine": {"processor": "made up"}, "seconds": 1, "rounds": list(rounds)}


class Ratios(unittest.TestCase):
    def test_they_are_taken_within_a_round(self) -> None:
        # The machine was twice as fast in the second round; the ratio was not.
        rounds = [{"a": visit(100), "b": visit(50)}, {"a": visit(200), "b": visit(100)}]
        self.assertEqual(report.rate_ratio(rounds, "a", "b", "64"), 2.0)
        self.assertEqual(report.rate(rounds, "a", "64"), 150)


class Goals(unittest.TestCase):
    def test_a_goal_is_met_or_not_by_what_was_measured(self) -> None:
        made = results({goals.NGINX: visit(100), goals.LIMIT: visit(110), goals.DEFAULT: visit(105)})
        verdicts = {one.what: one for one in goals.judge(made)}
        self.assertTrue(verdicts["throughput, 64 connections, to nginx"].is_met)
        self.assertTrue(verdicts["throughput, 64 connections, to the limit probe"].is_met)
        self.assertFalse(verdicts["throughput, 64x16, to nginx"].is_met)
        self.assertTrue(verdicts["IDs a second with ?n=1000"].is_met)
        self.assertEqual(verdicts["CPU at rest, each of three nodes"].measured, "0.10 %")

    def test_what_was_not_measured_is_not_judged(self) -> None:
        self.assertEqual(goals.judge(results({goals.NGINX: visit(100)})), [])


class FailoverGoals(unittest.TestCase):
    def test_the_median_and_the_worst_are_judged_apart(self) -> None:
        verdicts = {one.what: one for one in goals.judge_failover({"kill": [10, 20, 150]}, {}, {"kill": 5})}
        self.assertTrue(verdicts["kill: median gap"].is_met)
        self.assertFalse(verdicts["kill: worst gap"].is_met)
        self.assertEqual(len(verdicts), 2)

    def test_one_failed_request_is_too_many_for_a_polite_end(self) -> None:
        for failed, is_met in ((0, True), (1, False)):
            verdicts = goals.judge_failover({"term": [9.0]}, {"term": [2.0]}, {"term": failed})
            self.assertEqual([one.is_met for one in verdicts], [True, is_met])


class Tables(unittest.TestCase):
    def test_columns_are_as_wide_as_their_widest_cell(self) -> None:
        self.assertEqual(
            report.table(["", "x"], [["long name", "1"], ["b", "22"]]),
            "            x\n---------  --\nlong name   1\nb          22\n",
        )

    def test_the_whole_text_names_every_service_and_the_machine(self) -> None:
        text = report.throughput(results({goals.NGINX: visit(100), goals.LIMIT: visit(90), "etcd": visit(7)}))
        for expected in ("made up", "etcd", "Ratio to nginx", "Ratio to limit probe", "0.07"):
            self.assertIn(expected, text)


class Pictures(unittest.TestCase):
    def test_bars_are_as_long_as_their_values_say(self) -> None:
        bars = [plot.Bar("a < b", 100, 90, 110, "red"), plot.Bar("c", 50, 50, 50, "blue")]
        document = ElementTree.fromstring(plot.bar_groups("title", [("group", bars)]))
        long, short = [
            float(one.attrib["width"]) for one in document.iter("{http://www.w3.org/2000/svg}rect")
        ]
        self.assertAlmostEqual(long / short, 2, places=2)

    def test_points_lie_higher_the_larger_they_are(self) -> None:
        for is_logarithmic in (False, True):
            line = plot.Line("l", [(1, 10), (10, 1000), (100, 100)])
            drawn = plot.panels("title", [plot.Panel("p", "x", [line], is_logarithmic)])
            circles = list(ElementTree.fromstring(drawn).iter("{http://www.w3.org/2000/svg}circle"))
            first, highest, last = [float(one.attrib["cy"]) for one in circles]
            self.assertTrue(highest < last < first)

    def test_equal_values_and_none_at_all_can_be_drawn(self) -> None:
        flat = plot.Panel("flat", "x", [plot.Line("l", [(1, 5), (2, 5)])], is_logarithmic=True)
        empty = plot.Panel("empty", "x", [plot.Line("l", [])])
        ElementTree.fromstring(plot.panels("title", [flat, empty]))


if __name__ == "__main__":
    unittest.main()
