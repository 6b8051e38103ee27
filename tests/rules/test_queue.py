"""Levels of queues."""

import pytest

from celery_statsd.metric import Kind
from celery_statsd.rules import CATALOGUE, queue
from celery_statsd.rules.queue import level, thresholds_of


@pytest.mark.parametrize(
    ("length", "expected"),
    [(0, 0), (99, 0), (100, 1), (499, 1), (500, 2), (999, 2), (1000, 3), (10**9, 3)],
)
def test_a_level_is_reached_with_its_threshold(length: int, expected: int) -> None:
    """100, 500 and 1000, unless others are set."""
    assert expected == level(length)
    assert 3 == level(length + 3, (1, 2, 3))


def test_a_queue_may_have_thresholds_of_its_own() -> None:
    """Else those of all others hold, else the usual ones."""
    levels = {"etl": [1, 2, 3], "default": [4, 5, 6]}
    assert [1, 2, 3] == thresholds_of("etl", levels)
    assert [4, 5, 6] == thresholds_of("mails", levels)
    assert queue.LEVELS == thresholds_of("mails", {"etl": [1, 2, 3]})


def test_the_facts_of_a_queue_are_gauges_of_its_family() -> None:
    """And in the catalogue."""
    assert {("queue",)} == {rule.families for rule in queue.QUEUE}
    assert {Kind.GAUGE} == {rule.kind for rule in queue.QUEUE}
    assert set(queue.QUEUE) | set(queue.BROKER) <= set(CATALOGUE)
