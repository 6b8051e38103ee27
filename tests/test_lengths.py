"""`celery-statsd queues`: the same facts for people, for programs and for cron."""

import json

import pytest

from celery_statsd.lengths import UNKNOWN, as_json, as_table, rows, span, verdict
from celery_statsd.probes.base import QueueFacts, Sight
from tests.bodies import NOON

LEVELS = {"default": [100, 500, 1000], "etl": [1, 2, 3]}


def sight(*facts: QueueFacts) -> Sight:
    return Sight(facts, 0.0)


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        ([], UNKNOWN),
        ([QueueFacts("q", 99)], 0),
        ([QueueFacts("q", 499)], 0),
        ([QueueFacts("q", 500)], 1),
        ([QueueFacts("q", 1000)], 2),
        ([QueueFacts("q", 0, consumers=0)], 0),
        ([QueueFacts("q", 1, consumers=0)], 1),
        ([QueueFacts("q", 1000, consumers=0)], 2),
        ([QueueFacts("q")], UNKNOWN),
        ([QueueFacts("q"), QueueFacts("r", 500)], UNKNOWN),
        ([QueueFacts("q"), QueueFacts("r", 1000)], 2),
        ([QueueFacts("etl", 3)], 2),
    ],
)
def test_the_worst_queue_is_the_exit_code(facts: list[QueueFacts], code: int) -> None:
    """0, 1 and 2 as Nagios has them; 3 when one cannot be told and none is bad."""
    assert code == verdict(rows(sight(*facts), NOON, LEVELS))


def test_json_is_names_and_lengths() -> None:
    """By name; or all that is known."""
    found = rows(sight(QueueFacts("q", 7, 1, 2, 64, NOON - 5), QueueFacts("a")), NOON, LEVELS)
    assert {"a": None, "q": 7} == json.loads(as_json(found, long=False))
    whole = json.loads(as_json(found, long=True))
    assert {
        "length": 7, "unacked": 1, "consumers": 2, "memory_bytes": 64, "oldest_age_s": 5.0,
        "rate": None, "drained_in_s": None, "level": 0,
    } == whole["q"]  # fmt: skip


def test_between_two_looks_there_is_a_rate() -> None:
    """And, where it falls, a time until all is drained."""
    before = sight(QueueFacts("q", 100), QueueFacts("r", 5), QueueFacts("s"), QueueFacts("t", 9))
    now = sight(
        QueueFacts("q", 80), QueueFacts("r", 10), QueueFacts("s", 1), QueueFacts("t", 0),
        QueueFacts("new", 1),
    )  # fmt: skip
    found = rows(now, NOON + 10, LEVELS, (before, NOON))
    assert {
        "q": (-2.0, 40.0), "r": (0.5, None), "s": (None, None), "t": (-0.9, None),
        "new": (None, None),
    } == {row.name: (row.rate, row.drained_in_s) for row in found}  # fmt: skip


def test_the_table_is_aligned_and_coloured() -> None:
    """By level; red is what nobody takes, or nobody knows."""
    now = sight(
        QueueFacts("celery", 1234, 5, 2, oldest_at=NOON - 190), QueueFacts("b", 1, 0, 0),
        QueueFacts("c"), QueueFacts("d", 100), QueueFacts("e", 500), QueueFacts("f", 0),
    )  # fmt: skip
    lines = list(as_table(rows(now, NOON, LEVELS)))
    assert [
        "queue   length  unacked  consumers  oldest  a second  drained in  level",
        "b            1        0          0       -         -           -  good, nobody takes it",
        "c            -        -          -       -         -           -  unknown",
        "celery    1234        5          2   3m10s         -           -  bad",
        "d          100        -          -       -         -           -  fine",
        "e          500        -          -       -         -           -  careful",
        "f            0        -          -       -         -           -  good",
    ] == [line for line, _ in lines]
    assert [None, "red", "red", "red", "cyan", "yellow", "green"] == [colour for _, colour in lines]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"), (0.0, "0.0s"), (59.94, "59.9s"), (59.96, "1m00s"), (60.0, "1m00s"),
        (3599.0, "59m59s"), (3600.0, "1h00m"), (86_399.0, "23h59m"), (86_400.0, "1d00h"),
        (90_000.0, "1d01h"), (99 * 86_400.0, "99d00h"), (400 * 86_400.0, "400d"),
    ],
)  # fmt: skip
def test_durations_are_short(seconds: float | None, text: str) -> None:
    """Two units at most."""
    assert text == span(seconds)
