"""The facts of one entity: sums, rates, percentiles, and what is missing."""

import random

import pytest

from celery_statsd.metric import Timing
from celery_statsd.top.facts import ENDED, Facts, percentile
from tests.top.scenes import facts, timing


def test_what_was_never_counted_is_0_and_what_was_never_gauged_is_unknown() -> None:
    """So a new row can be drawn."""
    empty = Facts("shop.pay")
    assert (0, 0, 0.0) == (empty.total("sent"), empty.lately("sent"), empty.rate("sent"))
    assert (None, None, None) == (
        empty.gauge("queued"), empty.upper("wait", 95), empty.highest("wait"),
    )  # fmt: skip
    assert (0, 0, 0) == (empty.in_flight, empty.difference, empty.timed("wait"))


def test_a_rate_is_of_the_window_alone() -> None:
    """Several counters make one rate; what was before is in the total only."""
    one = facts("t", {"succeeded": 20, "failed": 10}, before={"succeeded": 1000})
    assert 3.0 == one.rate("succeeded", "failed")
    assert (1030, 30) == (one.total("succeeded", "failed"), one.lately("succeeded", "failed"))


@pytest.mark.parametrize("end", ENDED)
def test_the_difference_is_what_neither_ended_nor_flies(end: str) -> None:
    """Each end takes one away, and so does each attempt in flight."""
    came = {"received": 5, "on_arrival": 1, "found": 1}
    balanced = facts("t", {**came, end: 4}, {"reserved": 2, "running": 1})
    missing = facts("t", {**came, end: 3}, {"reserved": 2, "running": 1})
    assert (0, 1) == (balanced.difference, missing.difference)


@pytest.mark.parametrize(
    ("percent", "value"), [(1, 1.0), (50, 50.0), (90, 90.0), (95, 95.0), (99, 99.0), (100, 100.0)]
)
def test_a_percentile_is_the_nearest_rank(percent: float, value: float) -> None:
    """Of 1 to 100 the n-th is n, in whatever pieces they came."""
    values = [float(number) for number in range(1, 101)]
    random.Random(3).shuffle(values)
    pieces = [timing(*values[:30]), timing(*values[30:31]), timing(*values[31:])]
    assert value == percentile(pieces, percent)


def test_a_sample_weighs_as_much_as_it_stands_for() -> None:
    """900 values of which 9 were kept, and 100 that were all kept."""
    many = Timing(900, 900.0, 1.0, 1.0, (1.0,) * 9)
    few = timing(*[50.0] * 100)
    assert 1.0 == percentile([many, few], 50)
    assert 1.0 == percentile([many, few], 90)
    assert 50.0 == percentile([many, few], 90.1)
    assert 50.0 == percentile([few, many], 100)


def test_the_longest_and_the_number_are_exact() -> None:
    """Whatever was kept."""
    one = Facts("t", timers={"wait": [Timing(900, 900.0, 1.0, 77.0, (1.0,)), timing(2.0, 3.0)]})
    assert (902, 77.0) == (one.timed("wait"), one.highest("wait"))
