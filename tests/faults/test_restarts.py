"""The agent stopped and killed at random moments under load, on RabbitMQ: every event that the
broker took is counted, once after clean stops, and after kills at most a flush of them twice."""

import os
import random
import signal
import time

import pytest

from tests.faults.conftest import RATE, Under
from tests.faults.table import LONG, Row
from tests.faults.trial import FLUSH, Record, is_exact, pause

pytestmark = pytest.mark.e2e

RESTARTS = int(os.environ.get("RESTARTS", "50" if LONG else "3"))
"""How often each way."""


def restarted(number: signal.Signals, name: str, under: Under) -> tuple[Row, float]:
    """What has become of the attempts while the agent was ended by that signal RESTARTS times, and
    the seconds for which it was away, in all."""
    chance = random.Random(number)
    trial = under()
    away = 0.0
    for _ in range(RESTARTS):
        pause(chance.uniform(0.3, 1.0))
        began = time.monotonic()
        trial.restart(number)
        away += time.monotonic() - began
    trial.recovered()
    return trial.row(name, f"agent ended by {number.name}, {RESTARTS} times"), away


def test_clean_stops_lose_and_double_nothing(under: Under, record: Record) -> None:
    """SIGTERM at any moment: what was published was counted, to the unit."""
    row, _ = restarted(signal.SIGTERM, "A1", under)
    record(row)

    assert is_exact(row)


def test_kills_lose_nothing_and_double_a_flush_at_most(under: Under, record: Record) -> None:
    """SIGKILL at any moment: nothing is missing; each kill may repeat the flush in hand, the first
    of which holds what waited while it was away."""
    row, away = restarted(signal.SIGKILL, "A2", under)
    record(row)

    assert (0, 0) == (row.lost, row.lost_reported)
    assert row.doubled <= RATE * (RESTARTS * FLUSH + away)
