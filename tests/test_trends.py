"""How fast a queue drains, and since when nothing moves."""

import pytest

from celery_statsd.trends import WINDOW, Trend


def trend(*lengths: int, processed: tuple[int, ...] = (), every: float = 10.0) -> Trend:
    """One look each `every` seconds."""
    made = Trend(0.0)
    for number, length in enumerate(lengths):
        begun = processed[number] if processed else 0
        made.note(number * every, length, begun)
    return made


@pytest.mark.parametrize(
    ("lengths", "drain_s"),
    [
        ((), None),
        ((0,), 0.0),
        ((5,), None),
        ((100, 80), 40.0),
        ((100, 110), None),
        ((100, 100), None),
        ((100, 50, 0), 0.0),
        ((100, 120, 60), 30.0),
    ],
)
def test_a_queue_that_shrinks_is_drained_in_time(lengths, drain_s):
    """At its pace since the first look; one that grows, never."""
    assert drain_s == trend(*lengths).drain_s


def test_what_was_long_ago_is_forgotten():
    """The pace is that of the last minute."""
    lengths = [1000] + [100] * int(WINDOW / 10) + [90]
    assert pytest.approx(90 * 60 / 10) == trend(*lengths).drain_s


@pytest.mark.parametrize(
    ("lengths", "processed", "stalled"),
    [
        ((5, 5, 5), (0, 0, 0), 20.0),
        ((5, 6, 7), (0, 0, 0), 20.0),
        ((5, 4, 4), (0, 0, 0), 10.0),
        ((5, 5, 5), (0, 1, 1), 10.0),
        ((5, 5, 5), (0, 1, 2), 0.0),
        ((0, 0, 0), (0, 0, 0), 0.0),
        ((0, 0, 5), (0, 0, 0), 10.0),
        ((5, 5, 0), (0, 0, 0), 0.0),
    ],
)
def test_a_queue_stands_still_while_nobody_takes_or_begins_anything(lengths, processed, stalled):
    """Also one that grows."""
    assert stalled == trend(*lengths, processed=processed).stalled
