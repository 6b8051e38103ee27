"""Several agents of one group on RabbitMQ, ended and started at random: each event once."""

import os
import random
import signal
import time

import pytest

from celery_statsd.agent import CHECKPOINT
from tests.faults.conftest import RATE, Under, at_length
from tests.faults.table import LONG
from tests.faults.trial import FLUSH, Record, pause

pytestmark = pytest.mark.e2e

SECONDS = float(os.environ.get("SEVERAL_SECONDS", "60" if LONG else "3"))
"""How long agents come and go."""


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGTERM, id="SIGTERM"),
        pytest.param(signal.SIGKILL, id="SIGKILL", marks=at_length),
    ],
)
def test_three_agents_count_each_event_once(
    number: signal.Signals, under: Under, record: Record
) -> None:
    """Whoever is ended, the others count on, and it goes on with what it had when it is back.

    Killed, it may have written down what the broker then gives to another one: what comes in
    between two checkpoints.
    """
    chance = random.Random(number)
    trial = under()
    agents = [trial.agent, trial.stand_by(trial.url), trial.stand_by(trial.url)]
    deadline, ended = time.monotonic() + SECONDS, 0
    while time.monotonic() < deadline:
        pause(chance.uniform(0.2, 1.0))
        one = chance.choice(agents)
        os.kill(one.pid, number)
        one.stop()
        one.listen()
        ended += 1
    row = trial.row("B17", f"3 agents, one of them ended by {number.name}, {ended} times")
    record(row)

    assert (0, 0) == (row.lost, row.lost_reported)
    window = RATE * (CHECKPOINT + FLUSH) if number == signal.SIGKILL else 0
    assert row.doubled <= ended * window
