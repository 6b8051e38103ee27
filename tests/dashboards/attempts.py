"""What was done in the made cluster, attempt by attempt, and what an agent tells of it."""

import bisect
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

STEP = 10
"""Seconds from flush to flush."""

TASKS = ("shop-tasks-send_mail", "shop-tasks-resize", "shop-tasks-bill", "etl-load")
OUTCOMES = ("succeeded", "failed", "retried", "lost")


class Attempt(NamedTuple):
    """One receipt by a worker and what became of it, in epoch seconds."""

    task: str
    worker: str
    received: float
    started: float
    ended: float
    outcome: str


class Told(NamedTuple):
    """Something counted: what, when, of which attempt."""

    metric: str
    at: float
    attempt: Attempt

    @property
    def slot(self) -> int:
        """The flush that tells of it."""
        return -int(-self.at // STEP) * STEP


def in_hand(attempts: Sequence[Attempt]) -> Callable[[int], Mapping[str, int]]:
    """How many of them are reserved and running at a time."""
    received = sorted(one.received for one in attempts)
    started = sorted(one.started for one in attempts)
    ended = sorted(one.ended for one in attempts)

    def at_time(at: int) -> Mapping[str, int]:
        begun = bisect.bisect_right(started, at)
        return {
            "reserved": bisect.bisect_right(received, at) - begun,
            "running": begun - bisect.bisect_right(ended, at),
        }

    return at_time
