"""The usual passage of a task: sent, received, started and ended, once each, by one worker.

Nearly all tasks are no more than that, in this order or nearly so, or a few times that when they
are retried. Each attempt is one small object here, and an event of it is a look-up and a number in
its lane. Whatever is unusual (another sending or
receipt, another order, any other end, an end that nobody tells) is handed over to the tracker,
which knows all the laws, as the task it would be there. So the tracker decides wherever there is
something to decide, and the totals are the same as if it had seen every event.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import msgspec

from celery_statsd.clocks import Clocks
from celery_statsd.endings import doubtful, to_be_judged
from celery_statsd.events import (
    Failed,
    Moment,
    Received,
    Retried,
    Sent,
    Started,
    Succeeded,
    epoch,
)
from celery_statsd.lanes import Lane, Lanes, speakers
from celery_statsd.queues import OVERTAKEN
from celery_statsd.roster import Index, Life
from celery_statsd.scope import Scope
from celery_statsd.task import Attempt, Sending, Task, label
from celery_statsd.tracker import LONGEST_MEMORY, Tracker

_RESERVED = Moment.RECEIVED.bit
_RUNNING = _RESERVED | Moment.STARTED.bit
_TRACED = Moment.TRACED.bit
_AT_START = speakers(Moment.STARTED, _RUNNING)
_AT_TRACED_START = speakers(Moment.STARTED, _RUNNING | _TRACED)
_AT_LATE_TRACE = speakers(Moment.TRACED, _RUNNING | _TRACED)
_AT_SUCCESS = speakers(Moment.SUCCEEDED, _RUNNING | Moment.SUCCEEDED.bit)
_AT_FAILURE = speakers(Moment.FAILED, _RUNNING | Moment.FAILED.bit)
_AT_RETRY = speakers(Moment.RETRIED, _RUNNING | Moment.RETRIED.bit)


class Passage(msgspec.Struct, gc=False):
    """One attempt of a usual task; what the rules ask of an attempt, they may ask of it.

    `sender` is the host it was sent from, `sent` the sender's time, None while that is unknown;
    `planned` and `eta` are the ETAs that the sending and the receipt tell. All times but `sent` are
    the worker's clock, but `arrived`, when we heard of its receipt; `apart` is in seconds: what
    the worker's clock stands off the sender's. `outcome` is None while it goes on. The next attempt
    is sent, and received as a rule, before it is told that this one asked for it: until then it is
    what is `following`.
    """

    lane: Lane
    sender: str = ""
    sent: float | None = None
    planned: float | None = None
    eta: float | None = None
    received: float | None = None
    started: float | None = None
    ended: float | None = None
    runtime: float | None = None
    arrived: float = 0.0
    apart: float = 0.0
    retries: int = 0
    outcome: Moment | None = None
    following: "Passage | None" = None

    @property
    def name(self) -> str:
        """The task's name."""
        return self.lane.name

    @property
    def runs(self) -> bool:
        """Whether it has started, and not ended."""
        return self.started is not None and self.outcome is None


class Passages:
    """The usual tasks of late, in front of `tracker`.

    A method for each kind of event takes it if it is of a usual task, and says so; what it does
    not take the tracker has to.
    """

    def __init__(
        self, tracker: Tracker, lanes: Lanes, clocks: Clocks, scope: Scope, unreported_after: float
    ) -> None:
        self._tracker = tracker
        self._patience = unreported_after
        self._lanes = lanes
        self._clocks = clocks
        self._whole = scope.whole
        self._waiting: dict[str, Passage] = {}
        self._held: dict[str, Passage] = {}
        self._past: dict[str, Passage] = {}
        self._long_past: dict[str, Passage] = {}
        self._delivered: dict[str, float] = {}

    def __len__(self) -> int:
        """How many wait or run."""
        return len(self._waiting) + len(self._held)

    def sent(self, event: Sent, host: str, owned: bool) -> bool:
        """A task was published, from `host`; `owned`: it is counted here."""
        uuid, name, retries = event.uuid, event.name, event.retries or 0
        known = self._held.get(uuid) or self._past.get(uuid) or self._long_past.get(uuid)
        late = known is not None and known.sent is None and known.retries == retries
        if not (late or self._is_next(uuid, known, retries)) or event.expires or name is None:
            self.hand_over(uuid)
            return False
        if known is not None and known.lane.name != name:
            self.hand_over(uuid)
            return False
        lane = self._lanes.of(name, None, label(event.queue))
        lane.sent += owned
        planned = epoch(event.eta) if event.eta else None
        if late and known is not None:
            self._trace(known, lane, host, event.timestamp, planned)
            return True
        passage = Passage(lane, host, event.timestamp, planned, retries=retries)
        if not self._whole and known is None:
            self._shelve(uuid, passage)
            return True
        lane.waiting += self._whole
        if known is not None and known.runs:
            known.following = passage
        else:
            self._waiting[uuid] = passage
        return True

    def received(self, event: Received, life: Life, now: float) -> bool:
        """A worker has taken a task off its queue; it was heard at `now`."""
        uuid = event.uuid
        passage = self._waiting.get(uuid)
        if passage is None:
            return self._received_first(event, life, now)
        lane = passage.lane
        if (event.retries or 0) != passage.retries or event.name != lane.name:
            self.hand_over(uuid)
            return False
        del self._waiting[uuid]
        lane.waiting -= self._whole
        self._take(passage, event, life, now)
        self._held[uuid] = passage
        return True

    def started(self, event: Started, life: Life, _: float) -> bool:
        """A pool process has accepted a task."""
        life.note_start(event.timestamp)
        passage = self._held.get(event.uuid)
        if passage is None or passage.started is not None or passage.lane.life is not life:
            self.hand_over(event.uuid)
            return False
        passage.started = event.timestamp
        lane = passage.lane
        lane.started += 1
        life.reserved -= 1
        life.running += 1
        for place, value in _AT_START if passage.sent is None else _AT_TRACED_START:
            seconds = value(passage)
            if seconds is not None:
                lane.times[place].append(seconds)
        return True

    def succeeded(self, event: Succeeded, life: Life, _: float) -> bool:
        """A task has returned."""
        passage = self._held.get(event.uuid)
        if passage is None or passage.started is None or passage.lane.life is not life:
            self.hand_over(event.uuid)
            return False
        passage.runtime = event.runtime
        passage.lane.succeeded += 1
        self._end(event.uuid, passage, event.timestamp, Moment.SUCCEEDED, _AT_SUCCESS)
        return True

    def failed(self, event: Failed, life: Life, _: float) -> bool:
        """A task has raised."""
        passage = self._held.get(event.uuid)
        if passage is None or passage.started is None or passage.lane.life is not life:
            self.hand_over(event.uuid)
            return False
        lane, error = passage.lane, event.error
        lane.failed += 1
        lane.errors[error] = lane.errors.get(error, 0) + 1
        self._end(event.uuid, passage, event.timestamp, Moment.FAILED, _AT_FAILURE)
        return True

    def retried(self, event: Retried, life: Life, _: float) -> bool:
        """An attempt has asked for another one."""
        uuid = event.uuid
        passage = self._held.get(uuid)
        if passage is None or passage.started is None or passage.lane.life is not life:
            self.hand_over(uuid)
            return False
        passage.lane.retried += 1
        following, passage.following = passage.following, None
        self._end(uuid, passage, event.timestamp, Moment.RETRIED, _AT_RETRY)
        if following is not None:
            shelf = self._waiting if following.received is None else self._held
            shelf[uuid] = following
        return True

    def hand_over(self, uuid: str) -> None:
        """Let the tracker go on with a task, if it is a usual one so far."""
        found = []
        for shelf in (self._long_past, self._past, self._held, self._waiting):
            passage = shelf.pop(uuid, None)
            while passage is not None:
                self._leave(passage)
                found.append(passage)
                passage = passage.following
        if found:
            self._tracker.adopt(self._task(uuid, found))

    def settle(self, room: int) -> None:
        """Hand over whatever the tracker may have something to conclude of, and the oldest when
        there are more than `room`."""
        suspects = {life for life in self._lanes.lives() if doubtful(life)}
        if suspects:
            self._hand_over_the_doubtful(suspects)
        self._hand_over_the_overtaken()
        self._hand_over_the_oldest(len(self) - room)

    def dump(self, index: Index) -> dict[str, Any]:
        """Itself as plain values; lives by their number."""
        shelves = {name: getattr(self, f"_{name}") for name in _SHELVES}
        return {
            name: [[uuid, *_plain(passage, index)] for uuid, passage in shelf.items()]
            for name, shelf in shelves.items()
        } | {"delivered": self._delivered}

    def load(self, state: dict[str, Any], lives: Sequence[Life]) -> None:
        """Go on from what `dump` told."""
        self._delivered = dict(state["delivered"])
        for name in _SHELVES:
            shelf = getattr(self, f"_{name}")
            for uuid, *plain in state[name]:
                shelf[uuid] = self._restored(plain, lives)
                if name == "held":
                    _resume(shelf[uuid])

    def _is_next(self, uuid: str, known: Passage | None, retries: int) -> bool:
        """Whether an attempt of so many `retries` is the next one of a usual task, of which
        `known` is the last one that was received."""
        if uuid in self._waiting:
            return False
        if known is None:
            return retries == 0 and not self._tracker.knows(uuid)
        if known.following is not None or known.retries != retries - 1:
            return False
        return known.runs or known.outcome is Moment.RETRIED

    def _received_first(self, event: Received, life: Life, now: float) -> bool:
        """A receipt of what does not wait: its sending is not known, or is what is following."""
        uuid, name, retries = event.uuid, event.name, event.retries or 0
        known = self._held.get(uuid) or self._past.get(uuid) or self._long_past.get(uuid)
        passage = known.following if known is not None else None
        if known is not None and known.received is None:  # it was sent where nobody waits
            passage, known = known, None
            self._past.pop(uuid, None) or self._long_past.pop(uuid, None)
        if passage is not None:
            usual = passage.received is None and passage.retries == retries
        else:
            usual = self._is_next(uuid, known, retries)
        if not usual or not name or name != (passage or known or event).name:
            self.hand_over(uuid)
            return False
        if passage is None:
            passage = Passage(self._lanes.of(name, life, None), retries=retries)
        elif known is not None:
            passage.lane.waiting -= self._whole
        self._take(passage, event, life, now)
        if known is not None and known.runs:
            known.following = passage
        else:
            self._held[uuid] = passage
        return True

    def _take(self, passage: Passage, event: Received, life: Life, now: float) -> None:
        """`life` has received it."""
        lane, sent = passage.lane, passage.sent
        if sent is not None:
            queue = lane.queue or ""
            if sent > self._delivered.get(queue, 0.0):
                self._delivered[queue] = sent
            passage.apart = self._clocks.apart(life.host, passage.sender)
            lane = passage.lane = self._lanes.of(lane.name, life, lane.queue)
        lane.received += 1
        life.reserved += 1
        passage.received = event.timestamp
        passage.arrived = now
        if event.eta:
            passage.eta = epoch(event.eta)

    def _trace(
        self, passage: Passage, origin: Lane, host: str, sent: float, planned: float | None
    ) -> None:
        """Its sending is heard of after its receipt."""
        old = passage.lane
        assert old.life is not None
        passage.sender, passage.sent, passage.planned = host, sent, planned
        passage.apart = self._clocks.apart(old.life.host, host)
        queue = origin.queue or ""
        self._delivered[queue] = max(self._delivered.get(queue, 0.0), sent)
        lane = passage.lane = self._lanes.of(old.name, old.life, origin.queue)
        if passage.outcome is None:
            _move(passage, old, lane)
        if passage.started is not None:
            for place, value in _AT_LATE_TRACE:
                seconds = value(passage)
                if seconds is not None:
                    lane.times[place].append(seconds)

    def _end(
        self, uuid: str, passage: Passage, ended: float, outcome: Moment, speaking: Any
    ) -> None:
        lane = passage.lane
        assert lane.life is not None
        lane.life.running -= 1
        passage.ended = ended
        passage.outcome = outcome
        for place, value in speaking:
            seconds = value(passage)
            if seconds is not None:
                lane.times[place].append(seconds)
        del self._held[uuid]
        self._shelve(uuid, passage)

    def _shelve(self, uuid: str, passage: Passage) -> None:
        """Remember it for a while: a sending, or a second end, may still come."""
        self._past[uuid] = passage
        if len(self._past) > LONGEST_MEMORY // 2:
            self._past, self._long_past = {}, self._past

    def _leave(self, passage: Passage) -> None:
        """It is counted here no more where it waits or runs."""
        lane, life = passage.lane, passage.lane.life
        if passage.outcome is not None or (life is None and not self._whole):
            return
        if life is None:
            lane.waiting -= 1
        elif passage.started is None:
            lane.handed_reserved += 1
            life.reserved -= 1
        else:
            lane.handed_running += 1
            life.running -= 1

    def _hand_over_the_doubtful(self, suspects: set[Life]) -> None:
        held: dict[Life, list[tuple[str, Passage]]] = {}
        for uuid, passage in self._held.items():
            life = passage.lane.life
            if life in suspects:
                held.setdefault(life, []).append((uuid, passage))
        for life, passages in held.items():
            for uuid in to_be_judged(
                life, passages, self._tracker.first_start(life), self._patience
            ):
                self.hand_over(uuid)

    def _hand_over_the_overtaken(self) -> None:
        """What its queue may have left behind; and let the tracker know what was delivered."""
        queues = self._tracker.queues
        newest = max(self._delivered.values(), default=0.0) - OVERTAKEN
        left = []
        for uuid, passage in self._waiting.items():
            sent = passage.sent or 0.0
            if sent >= newest:
                break
            if self._delivered.get(passage.lane.queue or "", 0.0) - OVERTAKEN > sent:
                left.append(uuid)
        for uuid in left:
            self.hand_over(uuid)
        busy = self._lanes.waiting_queues()
        for queue, sent in list(self._delivered.items()):
            if not queues.note(queue, sent) and queue not in busy:
                del self._delivered[queue]

    def _hand_over_the_oldest(self, excess: int) -> None:
        if excess > 0:
            oldest = list(islice(self._held, excess))
            oldest += islice(self._waiting, excess - len(oldest))
            for uuid in oldest:
                self.hand_over(uuid)

    def _task(self, uuid: str, passages: Sequence[Passage]) -> Task:
        """A task as the tracker would have it."""
        task = Task(uuid)
        for passage in passages:
            lane, sending = passage.lane, None
            if passage.sent is not None:
                taken = lane.life is not None or not self._whole
                sending = Sending.of(task, lane.queue or "unknown", passage, taken)
                task.sendings.append(sending)
            if lane.life is not None:
                task.attempts.append(Attempt.of(task, lane.life, passage, sending))
        return task

    def _restored(self, plain: Sequence[Any], lives: Sequence[Life]) -> Passage:
        name, life, queue, outcome, following, *rest = plain
        lane = self._lanes.remembered(name, None if life is None else lives[life], queue)
        passage = Passage(lane, *rest)
        passage.outcome = None if outcome is None else Moment(outcome)
        passage.following = None if following is None else self._restored(following, lives)
        return passage


_SHELVES = ("waiting", "held", "past", "long_past")


def _plain(passage: Passage, index: Index) -> Iterator[Any]:
    """The fields of a passage as plain values, in the order of `_restored`."""
    lane, *rest, outcome, following = msgspec.structs.astuple(passage)
    yield lane.name
    yield None if lane.life is None else index.of(lane.life)
    yield lane.queue
    yield None if outcome is None else outcome.value
    yield None if following is None else list(_plain(following, index))
    yield from rest


def _resume(passage: Passage) -> None:
    """Let its worker hold it again; the lanes know of it."""
    life = passage.lane.life
    if life is not None and passage.started is None:
        life.reserved += 1
    elif life is not None:
        life.running += 1
    if passage.following is not None:
        _resume(passage.following)


def _move(passage: Passage, old: Lane, new: Lane) -> None:
    """What goes on in one lane goes on in another."""
    if passage.started is None:
        old.handed_reserved += 1
        new.handed_reserved -= 1
    else:
        old.handed_running += 1
        new.handed_running -= 1
