"""A task as far as it is seen: its sendings, its attempts, and which event is of which of them.

The laws stand at the head of `tracker`; here are the first three of them, as code.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Self

from celery_statsd import choice
from celery_statsd.choice import ENDED, RECEIPT
from celery_statsd.clocks import host_of
from celery_statsd.events import (
    OUTCOMES,
    Cancelled,
    Failed,
    Moment,
    Received,
    Rejected,
    Retried,
    Revoked,
    Sent,
    Started,
    Succeeded,
    TaskEvent,
    epoch,
)
from celery_statsd.life import Index, Life

END_OF = {
    Succeeded: Moment.SUCCEEDED,
    Failed: Moment.FAILED,
    Retried: Moment.RETRIED,
    Revoked: Moment.REVOKED,
    Rejected: Moment.REJECTED,
    Cancelled: Moment.RETURNED,
}
"""Which outcome an event tells. A cancelled task goes back to the broker where it may."""

SECOND_ENDS = {
    (Moment.FAILED, Moment.FAILED),  # 5.7: a hard time limit is told twice
    (Moment.FAILED, Moment.REJECTED),  # 5.7: Reject with acks_late
    (Moment.REVOKED, Moment.REVOKED),  # 4.4, 3.1: a terminated task
    (Moment.REVOKED, Moment.SUCCEEDED),  # gevent: terminated
    (Moment.SUCCEEDED, Moment.REVOKED),  # eventlet: terminated
}
"""Ends that say the same end once more, as (what was told, what comes behind it)."""

LATE_SENDING = 1.0
"""Seconds a sending may be stamped after the receipt of what it sent: it is published later."""

LONGEST_HISTORY = 100
"""Attempts of one task that are remembered: some are retried for years."""

MOST_OPEN = 1000
"""Attempts, or sendings, of one task that may be open at once: a Broadcast to so many workers.
Each event of a task looks at all of them."""

_SENDING = ("eta", "expires", "host", "name", "queue", "retries", "sent", "taken")
_ATTEMPT = (
    "apart", "arrived", "ended", "error", "eta", "known", "name", "received",
    "retries", "runtime", "started", "told",
)  # fmt: skip
# What is plain of a sending and of an attempt: the fields that are written to a snapshot.


class Stage(StrEnum):
    """Where work waits or runs: the in-flight gauges. Texts, since they are looked up by the
    ten thousand."""

    QUEUED = "queued"
    RESERVED = "reserved"
    RUNNING = "running"


class Sending:
    """One publication of a task. `sent` is the sender's clock, in epoch seconds.

    `taken`: it no longer waits in its queue, as far as anybody can tell.
    """

    __slots__ = (
        "eta", "expires", "host", "name", "queue", "retries", "sent", "stage", "taken", "task",
    )  # fmt: skip

    def __init__(self, task: "Task", event: Sent) -> None:
        self.task = task
        self.name = event.name or "unknown"
        self.queue = label(event.queue)
        self.retries = event.retries or 0
        self.sent = event.timestamp
        self.host = host_of(event.hostname)
        self.eta = epoch(event.eta)
        self.expires = epoch(event.expires)
        self.taken = False
        self.stage: Stage | None = None

    def dump(self) -> list[Any]:
        """Itself as plain values."""
        return [getattr(self, name) for name in _SENDING]

    @classmethod
    def load(cls, task: "Task", state: Sequence[Any]) -> Self:
        """What `dump` gave, as a sending of `task` again, in no stage yet."""
        sending = cls.__new__(cls)
        for name, value in zip(_SENDING, state, strict=True):
            setattr(sending, name, value)
        sending.task, sending.stage = task, None
        return sending


class Attempt:
    """One receipt of a task by one worker process. All times are that worker's clock.

    `known` and `told` are sets of moments, as bits; `apart` is in seconds: what the worker's
    clock stands off the sender's.
    """

    __slots__ = (
        "apart", "arrived", "ended", "error", "eta", "known", "life", "name", "received",
        "retries", "runtime", "sending", "stage", "started", "task", "told",
    )  # fmt: skip

    def __init__(self, task: "Task", life: Life, now: float) -> None:
        self.task = task
        self.life = life
        self.arrived = now
        self.name: str | None = None
        self.retries: int | None = None
        self.sending: Sending | None = None
        self.eta: float | None = None
        self.received: float | None = None
        self.started: float | None = None
        self.ended: float | None = None
        self.runtime: float | None = None
        self.error = "unknown"
        self.apart = 0.0
        self.known = 0
        self.told = 0
        self.stage: Stage | None = None

    def dump(self, index: Index, places: Mapping[Sending | None, int]) -> list[Any]:
        """Itself as plain values; its life by number, its sending by its place in its task."""
        place = places.get(self.sending)
        return [index.of(self.life), place, *(getattr(self, name) for name in _ATTEMPT)]

    @classmethod
    def load(cls, task: "Task", lives: Sequence[Life], state: Sequence[Any]) -> Self:
        """What `dump` gave, as an attempt of `task` again, in no stage yet."""
        life, sending, *values = state
        attempt = cls.__new__(cls)
        for name, value in zip(_ATTEMPT, values, strict=True):
            setattr(attempt, name, value)
        attempt.task, attempt.life, attempt.stage = task, lives[life], None
        attempt.sending = None if sending is None else task.sendings[sending]
        return attempt

    def lacks(self, moment: Moment) -> bool:
        """Whether `moment` is not known of it."""
        return not self.known & moment.bit

    @property
    def sent(self) -> float | None:
        """When it was sent, by the sender's clock; None when its sending was not seen."""
        return self.sending.sent if self.sending else None

    @property
    def planned(self) -> float | None:
        """The ETA its sending told."""
        return self.sending.eta if self.sending else None

    @property
    def over(self) -> bool:
        """Whether it has its outcome."""
        return bool(self.known & ENDED)

    @property
    def outcome(self) -> Moment | None:
        """How it ended, None while it has not."""
        return next((end for end in OUTCOMES if self.known & end.bit), None)

    @property
    def hostname(self) -> str:
        """The node name of its worker."""
        return self.life.hostname

    @property
    def queue(self) -> str | None:
        """The queue it was sent to, None when its sending was not seen."""
        return self.sending.queue if self.sending else None

    @property
    def received_again(self) -> bool:
        """Whether a worker has taken the same message once more since."""
        return self.arrived < self.task.last_receipts().get(self.retries, 0.0)

    @property
    def ends_on_arrival(self) -> bool:
        """Whether it ended as one that no worker received: revoked, expired, unregistered."""
        if not self.lacks(Moment.STARTED):
            return False
        if self.outcome is Moment.FAILED:
            return self.error == "NotRegistered"
        return self.outcome is Moment.REVOKED

    def learn(self, event: TaskEvent) -> None:
        """Take what `event` tells."""
        if isinstance(event, Received):
            self.name = event.name or self.name or "unknown"
            self.retries = event.retries or 0
            self.eta = epoch(event.eta)
            self.received = event.timestamp
            self.known |= Moment.RECEIVED.bit
        elif isinstance(event, Started):
            self.started = event.timestamp
            self.known |= Moment.STARTED.bit
        else:
            self._learn_end(event)

    def _learn_end(self, event: TaskEvent) -> None:
        self.ended = event.timestamp
        self.known |= END_OF[type(event)].bit
        if isinstance(event, Succeeded):
            self.runtime = event.runtime
        elif isinstance(event, Failed):
            self.error = event.error
            self.name = self.name or event.unregistered


def label(queue: str | None) -> str:
    """The queue as metrics call it: a Broadcast queue has a new name in every client process."""
    return "bcast" if queue and queue.startswith("bcast.") else queue or "unknown"


class Task:
    """All that is known under one uuid: usually one sending and one attempt.

    `counted` is the size under which the tracker has it in its books.
    """

    __slots__ = ("attempts", "counted", "sendings", "uuid")

    def __init__(self, uuid: str) -> None:
        self.uuid = uuid
        self.counted = 0
        self.sendings: list[Sending] = []
        self.attempts: list[Attempt] = []

    @property
    def over(self) -> bool:
        """Whether nothing of it waits or runs."""
        return all(attempt.over for attempt in self.attempts) and all(
            sending.taken for sending in self.sendings
        )

    @property
    def size(self) -> int:
        """How much of the bounded memory it takes, in attempts."""
        return max(1, len(self.attempts), len(self.sendings))

    @property
    def age(self) -> float:
        """When it was sent first or, where that is unknown, when we heard of it."""
        sent = min((sending.sent for sending in self.sendings), default=None)
        return self.attempts[0].arrived if sent is None and self.attempts else sent or 0.0

    def last_receipts(self) -> dict[int | None, float]:
        """When the last receipt of each of its messages, told by their retries, has arrived."""
        last: dict[int | None, float] = {}
        if len(self.attempts) > 1:
            for attempt in self.attempts:
                if attempt.received is not None:
                    known = last.get(attempt.retries, 0.0)
                    last[attempt.retries] = max(known, attempt.arrived)
        return last

    def trim(self) -> None:
        """Forget the oldest of what is over when there is too much of it."""
        half = LONGEST_HISTORY // 2
        if len(self.attempts) > LONGEST_HISTORY:
            old, young = self.attempts[:-half], self.attempts[-half:]
            kept = [a for a in old if not (a.known & ENDED and a.known & RECEIPT)]
            self.attempts = kept + young
        if len(self.sendings) > LONGEST_HISTORY:
            used = {attempt.sending for attempt in self.attempts}
            needed = [s for s in self.sendings[:-half] if s in used or not s.taken]
            self.sendings = needed + self.sendings[-half:]

    def dump(self, index: Index) -> list[Any]:
        """Itself as plain values."""
        places: dict[Sending | None, int] = {s: n for n, s in enumerate(self.sendings)}
        attempts = [attempt.dump(index, places) for attempt in self.attempts]
        return [self.uuid, [sending.dump() for sending in self.sendings], attempts]

    @classmethod
    def load(cls, lives: Sequence[Life], state: Sequence[Any]) -> Self:
        """What `dump` gave, as a task again."""
        uuid, sendings, attempts = state
        task = cls(uuid)
        task.sendings = [Sending.load(task, sending) for sending in sendings]
        task.attempts = [Attempt.load(task, lives, attempt) for attempt in attempts]
        return task

    def tells_again(self, event: TaskEvent, life: Life) -> bool:
        """Whether `event` only says once more how an attempt of this process ended."""
        end = END_OF.get(type(event))
        if end is None or (isinstance(event, Revoked) and not event.terminated):
            return False
        mine = [attempt for attempt in self.attempts if attempt.life is life]
        if any(not attempt.over and not attempt.lacks(Moment.STARTED) for attempt in mine):
            return False
        ended = [attempt for attempt in mine if attempt.ended is not None]
        last = max(ended, key=lambda attempt: attempt.ended or 0.0, default=None)
        return last is not None and (last.outcome, end) in SECOND_ENDS

    def attempt_of(self, event: TaskEvent, life: Life, now: float) -> Attempt:
        """The attempt of this process that `event` is of: one that lacks it, or a new one."""
        mine = [attempt for attempt in self.attempts if attempt.life is life]
        found = choice.of(mine, event)
        if found is None:
            found = Attempt(self, life, now)
            if mine:
                found.name, found.retries = mine[-1].name, mine[-1].retries
            self.attempts.append(found)
        return found

    def attempts_of(self, sending: Sending) -> list[Attempt]:
        """The attempts that came of `sending`: several after a redelivery or a broadcast."""
        fitting = [
            attempt
            for attempt in self.attempts
            if attempt.lacks(Moment.TRACED) and attempt.retries in (None, sending.retries)
        ]
        namesakes = [attempt for attempt in fitting if attempt.name in (None, sending.name)]
        return namesakes or fitting or self._sharing(sending)

    def _sharing(self, sending: Sending) -> list[Attempt]:
        """The first attempt that had to share an earlier sending because `sending` was late."""
        earlier: set[Sending | None] = set()
        for attempt in self.attempts:
            alike = attempt.name == sending.name and attempt.retries == sending.retries
            late = (attempt.received or 0.0) > sending.sent - LATE_SENDING
            if alike and late and attempt.sending in earlier:
                return [attempt]
            earlier.add(attempt.sending)
        return []

    def sending_of(self, attempt: Attempt) -> Sending | None:
        """The sending `attempt` came of: one not yet received, else the one its likes came of.

        A shadow name stands in the receipt only; a replaced task has two names in its sendings.
        """
        if not self.sendings:
            return None
        fitting = [
            sending for sending in self.sendings if attempt.retries in (None, sending.retries)
        ]
        namesakes = [sending for sending in fitting if attempt.name in (None, sending.name)]
        waiting = [sending for sending in namesakes or fitting if not sending.taken]
        alike = [
            other.sending
            for other in self.attempts
            if other.name == attempt.name and other.retries == attempt.retries
        ]
        return next(iter(waiting or namesakes or filter(None, alike)), None)
