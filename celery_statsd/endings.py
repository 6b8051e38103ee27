"""The ends of attempts that nobody tells: law 5 of `tracker`, one function for each cause."""

from collections.abc import Iterator
from typing import Any

from celery_statsd.events import Moment
from celery_statsd.life import Life
from celery_statsd.task import Attempt, Stage, Task

WARM_SHUTDOWN = 600.0
"""Seconds a worker that said goodbye may still take for the tasks it runs."""

Ending = tuple[Attempt, Moment]


class _Receipts(dict[Task, dict[int | None, float]]):
    """When the messages of a task were last received; looked up once for all its attempts."""

    def __missing__(self, task: Task) -> dict[int | None, float]:
        last = self[task] = task.last_receipts()
        return last

    def after(self, attempt: Attempt) -> bool:
        """Whether a worker has taken the message of `attempt` once more since."""
        return attempt.arrived < self[attempt.task].get(attempt.retries, 0.0)


def doubtful(life: Life) -> bool:
    """Whether a look at what `life` holds may tell anything: it is gone, it came back, it is
    idle, or it holds more than it runs."""
    return (
        life.gone_at is not None
        or life.rejoined_stamp is not None
        or life.idle_stamp is not None
        or (life.proven_active is not None and life.running > life.proven_active)
    )


def endings(
    life: Life, held: list[Attempt], now: float, lost_after: float, unreported_after: float
) -> Iterator[Ending]:
    """Those of the attempts `held` by `life` that are over, and how. Durations in seconds."""
    if life.gone_at is not None:
        yield from _left_behind(life, life.gone_at, held, now, lost_after)
        return
    receipts = _Receipts()
    for attempt in held:
        if _given_back(life, attempt, receipts):
            yield attempt, Moment.RETURNED
        elif _never_started(life, attempt, unreported_after):
            yield attempt, Moment.UNREPORTED
    for attempt in _not_running(life, held, unreported_after):
        yield attempt, Moment.UNREPORTED


def _left_behind(
    life: Life, gone_at: float, held: list[Attempt], now: float, lost_after: float
) -> Iterator[Ending]:
    """The worker is gone. A warm shutdown gives back what has not started and waits for the rest;
    after any other end the broker may deliver anew what was not acknowledged."""
    receipts = _Receipts()
    for attempt in held:
        unstarted = attempt.stage is Stage.RESERVED
        patience = lost_after if unstarted or not life.farewelled else WARM_SHUTDOWN
        if receipts.after(attempt):
            yield attempt, Moment.RETURNED
        elif life.farewelled and unstarted:
            # where starts went unheard, nobody can say that this one did not happen
            yield attempt, Moment.UNREPORTED if life.lost else Moment.RETURNED
        elif now - gone_at >= patience:
            yield attempt, Moment.LOST


def _given_back(life: Life, attempt: Attempt, receipts: _Receipts) -> bool:
    """Whether it was dropped unstarted when its worker lost the broker, and came again."""
    rejoined, received = life.rejoined_stamp, attempt.received
    if rejoined is None or received is None or attempt.stage is not Stage.RESERVED:
        return False
    return received < rejoined and receipts.after(attempt)


def _never_started(life: Life, attempt: Attempt, unreported_after: float) -> bool:
    """Whether an idle worker has held it for so long that its start must have gone unheard."""
    return attempt.stage is Stage.RESERVED and denied(life, attempt, unreported_after)


def denied(life: Life, attempt: Any, unreported_after: float) -> bool:
    """Whether `life` has been idle for so long since `attempt` could have started."""
    if life.idle_stamp is None:
        return False
    due = max(life.idle_stamp, attempt.received or 0.0, attempt.eta or 0.0)
    return life.beat_stamp - due >= unreported_after


def _not_running(life: Life, held: list[Attempt], unreported_after: float) -> list[Attempt]:
    """Those that started before a heartbeat which says that fewer run. Where it says none, that
    is certain of all; else the oldest are taken, when they are old enough."""
    proven, active = life.proven_stamp, life.proven_active
    if proven is None or active is None:
        return []
    before = [
        attempt
        for attempt in held
        if attempt.stage is Stage.RUNNING and (attempt.started or 0.0) <= proven
    ]
    if active == 0:
        return before
    before.sort(key=lambda attempt: attempt.started or 0.0)
    excess = before[: max(0, len(before) - active)]
    return [a for a in excess if (a.started or 0.0) <= proven - unreported_after]
