"""Which attempt of a process an event is of: law 1 of `tracker`.

An event goes to an attempt that lacks what it tells; where there are several, a table says which.
"""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from celery_statsd.events import (
    OUTCOMES,
    Moment,
    Received,
    Revoked,
    Started,
    Succeeded,
    TaskEvent,
)

RECEIPT = Moment.RECEIVED.bit | Moment.ON_ARRIVAL.bit | Moment.FOUND.bit
ENDED = sum(outcome.bit for outcome in OUTCOMES)
CONCLUDED = Moment.RETURNED.bit | Moment.UNREPORTED.bit | Moment.LOST.bit
"""Sets of moments: how an attempt came into sight, its ends, the ends that nobody told."""

_STARTED = Moment.STARTED.bit


class Known(Protocol):
    """What is asked of an attempt: the set of moments that are known, and its start."""

    known: int
    started: float | None


T = TypeVar("T", bound=Known)


def of(mine: list[T], event: TaskEvent) -> T | None:
    """The attempt among `mine`, those of one process, that `event` is of; None: of a new one."""
    found: T | None = _CHOICE.get(type(event), _ended)(mine, event)
    return found


def _received(mine: list[T], event: TaskEvent) -> T | None:  # noqa: ARG001
    """The attempt whose receipt is not known."""
    return next((attempt for attempt in mine if not attempt.known & RECEIPT), None)


def _started(mine: list[T], event: TaskEvent) -> T | None:  # noqa: ARG001
    """The attempt that has not started: one that waits before one whose end was told."""
    lacking = [attempt for attempt in mine if not attempt.known & (_STARTED | CONCLUDED)]
    first = next(iter(lacking), None)
    return next((attempt for attempt in lacking if not attempt.known & ENDED), first)


def _ended(mine: list[T], event: TaskEvent) -> T | None:
    """The attempt that runs, or waits where that is how a waiting one ends."""
    left = [attempt for attempt in mine if not attempt.known & ENDED]
    waiting = [attempt for attempt in left if not attempt.known & _STARTED]
    running = [attempt for attempt in left if attempt.known & _STARTED]
    if waiting and isinstance(event, Revoked) and not event.terminated:
        return waiting[0]
    return _nearest(running, event) if running else next(iter(waiting), None)


def _nearest(running: list[T], event: TaskEvent) -> T:
    """Of several that run: the one that began when the end says, else the latest (an earlier one
    that raised Ignore or was replaced never ends)."""
    runtime = event.runtime if isinstance(event, Succeeded) else None
    if runtime is None or len(running) == 1:
        return running[-1]
    began = event.timestamp - runtime
    return min(running, key=lambda attempt: abs((attempt.started or 0.0) - began))


_CHOICE: dict[type, Callable[[list[Any], TaskEvent], Any]] = {
    Received: _received,
    Started: _started,
}
"""How the attempt of an event is chosen among those of its process; all else is an end."""
