"""One attempt of a usual task, and the task retold as the tracker would have it.

What the rules ask of an attempt, they may ask of a `Passage`. It is small: there are as many as
tasks wait and run. So it has no sets of moments, and what was told and is asked no more is let go.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import msgspec

from celery_statsd.events import Moment
from celery_statsd.lanes import Lane, Lanes
from celery_statsd.life import Index, Life
from celery_statsd.task import Attempt, Sending, Task

_UNKNOWN = cast("float | None", None)
_NOBODY = cast("Life | None", None)
_NONE = cast("Moment | None", None)


class Waiting(msgspec.Struct, gc=False):
    """The first attempt of a usual task while it waits: of these there may be a million.

    `lane` is where it is counted, `sender` the host it was sent from, `sent` the sender's time.
    All else is as in a `Passage`.
    """

    lane: Lane
    sender: str = ""
    sent: float | None = None

    planned = eta = received = started = ended = runtime = _UNKNOWN
    life, outcome = _NOBODY, _NONE
    earlier = cast("Waiting | None", None)
    retries, arrived, apart = 0, 0.0, 0.0

    @property
    def name(self) -> str:
        """The task's name."""
        return self.lane.name

    @property
    def runs(self) -> bool:
        """Whether it has started, and not ended."""
        return self.started is not None and self.outcome is None

    @property
    def known(self) -> int:
        """The set of moments that are known, and told, of one that was received."""
        told = {
            Moment.TRACED: self.sent is not None,
            Moment.STARTED: self.started is not None,
            self.outcome: self.outcome is not None,
        }
        return Moment.RECEIVED.bit | sum(moment.bit for moment, so in told.items() if moment and so)

    @property
    def age(self) -> float:
        """When its task was sent first or, where that is unknown, when we heard of it."""
        *_, first = attempts = list(self.attempts())
        sent = [passage.sent for passage in attempts if passage.sent is not None]
        return min(sent, default=first.arrived)

    def attempts(self) -> Iterator["Waiting"]:
        """This attempt and those before it, the newest first."""
        passage: Waiting | None = self
        while passage is not None:
            yield passage
            passage = passage.earlier


class Passage(Waiting, gc=False):
    """Any attempt of a usual task.

    `life` is the worker that has received it, None while it waits; `sent` is None while that is
    unknown; `planned` and `eta` are the ETAs that the sending and the receipt tell. All times but
    `sent` are the worker's clock, but `arrived`, when we heard of its receipt; `apart` is in
    seconds: what the worker's clock stands off the sender's. `outcome` is None while it goes on.
    `earlier` is the attempt that asked for this one; it runs on, as a rule, until this one is
    received.
    """

    planned: float | None = None
    retries: int = 0
    earlier: Waiting | None = None
    life: Life | None = None
    eta: float | None = None
    received: float | None = None
    started: float | None = None
    ended: float | None = None
    runtime: float | None = None
    arrived: float = 0.0
    apart: float = 0.0
    outcome: Moment | None = None


def begun(waiting: Waiting) -> Passage:
    """The same attempt, with room for all that may still become known of it."""
    if isinstance(waiting, Passage):
        return waiting
    return Passage(waiting.lane, waiting.sender, waiting.sent)


def retold(uuid: str, newest: Waiting, whole: bool) -> Task:
    """A task as the tracker would have it, by its newest attempt. `whole`: what is sent waits
    until it is received."""
    task = Task(uuid)
    for passage in reversed(list(newest.attempts())):
        life, sending = passage.life, None
        if passage.sent is not None:
            sending = _sending(task, passage)
            sending.taken = life is not None or not whole
            task.sendings.append(sending)
        if life is not None:
            task.attempts.append(_attempt(task, life, passage, sending))
    return task


def _sending(task: Task, passage: Waiting) -> Sending:
    sending = Sending.__new__(Sending)
    sending.task, sending.queue = task, passage.lane.queue or "unknown"
    sending.name, sending.retries = passage.name, passage.retries
    sending.sent, sending.host = passage.sent or 0.0, passage.sender
    sending.eta, sending.expires, sending.stage = passage.planned, None, None
    return sending


def _attempt(task: Task, life: Life, passage: Waiting, sending: Sending | None) -> Attempt:
    attempt = Attempt(task, life, passage.arrived)
    attempt.name, attempt.retries, attempt.sending = passage.name, passage.retries, sending
    attempt.known = attempt.told = passage.known
    for field in ("eta", "received", "started", "ended", "runtime", "apart"):
        setattr(attempt, field, getattr(passage, field))
    return attempt


_PLAIN = (
    "sender", "sent", "planned", "retries", "eta", "received", "started", "ended", "runtime",
    "arrived", "apart",
)  # fmt: skip


def dump(passage: Waiting, index: Index) -> list[Any]:
    """Itself as plain values; lives by their number."""
    lane, life, outcome, earlier = passage.lane, passage.life, passage.outcome, passage.earlier
    return [
        *(lane.name, lane.queue, None if life is None else index.of(life)),
        outcome and outcome.value,
        earlier and dump(earlier, index),
        *(getattr(passage, field) for field in _PLAIN),
    ]


def load(state: Sequence[Any], lanes: Lanes, lives: Mapping[int, Life] | Sequence[Life]) -> Waiting:
    """What `dump` gave, as a passage in one of `lanes` again."""
    name, queue, life, outcome, earlier, *plain = state
    passage = Passage(lanes.remembered(name, queue))
    passage.life = None if life is None else lives[life]
    passage.outcome = outcome and Moment(outcome)
    passage.earlier = earlier and load(earlier, lanes, lives)
    for field, value in zip(_PLAIN, plain, strict=True):
        setattr(passage, field, value)
    waits = life is None and outcome is None and earlier is None and not any(plain[2:])
    return Waiting(passage.lane, passage.sender, passage.sent) if waits else passage
