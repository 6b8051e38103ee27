"""The usual passage of a task: sent, received, started and ended, once each, by one worker.

Nearly all tasks are no more than that, in this order or nearly so, or a few times that when they
are retried. An event of it is a look-up and a number in its lane. Whatever is unusual (another
sending or receipt, another order, any other end, an end that nobody tells) is handed over to the
tracker, which knows all the laws, as the task it would be there. So the tracker decides wherever
there is something to decide, and the totals are the same as if it had seen every event.

Laws:
1. A task is here or in the tracker, never in both; here it stands under its newest attempt, which
   leads to those before it. The attempt before the newest may still run; all others are over.
2. Each attempt was sent and received by other `retries` than the others, one more each time.
3. Memory: `size` is what the open ones take of the ceiling; of those that are over as many are
   remembered as the tracker would. Past the ceiling those that were sent first are forgotten,
   here and there.
"""

import heapq
from collections.abc import Sequence
from itertools import islice
from typing import Any

from celery_statsd import passage as attempts
from celery_statsd import suspects
from celery_statsd.clocks import Clocks
from celery_statsd.events import (
    Change,
    Failed,
    Moment,
    Received,
    Retried,
    Sent,
    Started,
    Succeeded,
    epoch,
)
from celery_statsd.lanes import Lane, Lanes
from celery_statsd.life import Index, Life
from celery_statsd.passage import Passage, Waiting, begun, retold
from celery_statsd.scope import Scope
from celery_statsd.task import label
from celery_statsd.tracker import LONGEST_MEMORY, Tracker

MOST_RETRIES = 10
"""Retries of a usual task; one of more is the tracker's."""

OUT_OF_ORDER = 1000
"""Tasks of which a later one may be heard before an earlier one."""

_SUCCEEDED = Moment.SUCCEEDED  # to look at a member of an enumeration takes its time
_FAILED = Moment.FAILED
_RETRIED = Moment.RETRIED


class Passages:
    """The usual tasks of late, in front of `tracker`.

    A method for each kind of event takes it if it is of a usual task, and says so; else its task
    has to be handed over, and the event told to the tracker.
    """

    def __init__(
        self, tracker: Tracker, lanes: Lanes, clocks: Clocks, scope: Scope, unreported_after: float
    ) -> None:
        self._tracker = tracker
        self._patience = unreported_after
        self._lanes = lanes
        self._clocks = clocks
        self._whole = scope.whole
        self._open: dict[str, Waiting] = {}
        self._retries = 0  # of the newest attempts of the open ones
        self._past: dict[str, Waiting] = {}
        self._long_past: dict[str, Waiting] = {}
        self._past_size = 0

    def __len__(self) -> int:
        """How many tasks wait or run."""
        return len(self._open)

    @property
    def size(self) -> int:
        """How much of the ceiling is used, in attempts."""
        return len(self._open) + self._retries

    def sent(self, event: Sent, host: str, owned: bool) -> bool:
        """A task was published, from `host`; `owned`: it is counted here."""
        uuid, name, retries = event.uuid, event.name, event.retries or 0
        newest = self._open.get(uuid) or self._past.get(uuid) or self._long_past.get(uuid)
        late = None
        if newest is None:
            usual = retries == 0 and not self._tracker.knows(uuid)
        elif newest.sent is None:
            late, usual = newest, newest.retries == retries
        else:
            usual = _may_follow(newest, retries)
        if not usual or event.expires or not name or (newest and newest.lane.name != name):
            return False
        lane = self._lanes.of(name, label(event.queue))
        lane.sent += owned
        planned = epoch(event.eta) if event.eta else None
        if late is not None:
            self._trace(late, lane, host, event.timestamp, planned)
        elif newest is None and planned is None and self._whole:
            self._wait(uuid, Waiting(lane, host, event.timestamp))
        else:
            self._wait(uuid, Passage(lane, host, event.timestamp, planned, retries, newest))
        return True

    def received(self, event: Received, life: Life, now: float) -> bool:
        """A worker has taken a task off its queue; it was heard at `now`."""
        uuid = event.uuid
        passage = self._open.get(uuid)
        if passage is None or passage.received is not None:
            return self._received_first(event, life, now)
        lane = passage.lane
        if (event.retries or 0) != passage.retries or event.name != lane.name:
            return False
        if self._whole:
            lane.waiting -= 1
            lane.line.usual -= 1
        else:  # where nothing waits its lane may have been forgotten
            passage.lane = self._lanes.of(lane.name, lane.queue)
        if type(passage) is Waiting:
            passage = self._open[uuid] = begun(passage)
        self._take(passage, event, life, now)
        return True

    def started(self, event: Started, life: Life, _: float) -> bool:
        """A pool process has accepted a task."""
        life.note_start(event.timestamp)
        passage = self._open.get(event.uuid)
        if passage is None or passage.started is not None or passage.life is not life:
            return False
        if passage.earlier is not None and passage.earlier.outcome is None:
            return False
        passage.started = event.timestamp
        passage.lane.started.append(passage)
        life.started += 1
        return True

    def succeeded(self, event: Succeeded, life: Life, _: float) -> bool:
        """A task has returned."""
        uuid = event.uuid
        passage = self._open.get(uuid)
        if passage is None or passage.started is None or passage.life is not life:
            return False
        passage.ended = event.timestamp
        passage.runtime = event.runtime
        passage.outcome = _SUCCEEDED
        passage.lane.succeeded.append(passage)
        life.succeeded += 1
        self._close(uuid, passage)
        return True

    def failed(self, event: Failed, life: Life, _: float) -> bool:
        """A task has raised."""
        uuid = event.uuid
        passage = self._open.get(uuid)
        if passage is None or passage.started is None or passage.life is not life:
            return False
        lane, error = passage.lane, event.error
        passage.ended = event.timestamp
        passage.outcome = _FAILED
        lane.failed.append(passage)
        lane.errors[error] = lane.errors.get(error, 0) + 1
        life.failed += 1
        self._close(uuid, passage)
        return True

    def retried(self, event: Retried, life: Life, _: float) -> bool:
        """An attempt has asked for another one, which may be known already."""
        uuid = event.uuid
        newest = passage = self._open.get(uuid)
        if newest is not None and newest.started is None:
            passage = newest.earlier
        if newest is None or passage is None or not passage.runs or passage.life is not life:
            return False
        passage.ended = event.timestamp
        passage.outcome = _RETRIED
        passage.lane.retried.append(passage)
        life.retried += 1
        if passage is newest or (newest.received is None and not self._whole):
            self._close(uuid, newest)
        return True

    def hand_over(self, uuid: str) -> None:
        """Let the tracker go on with a task, if it is a usual one so far."""
        newest = self._take_out(uuid)
        if newest is not None:
            for passage in newest.attempts():
                self._leave(passage)
            self._tracker.adopt(retold(uuid, newest, self._whole))

    def settle(self) -> None:
        """Hand over whatever the tracker may have something to conclude of."""
        lives, starts = self._lanes.lives(), self._tracker.starts
        for uuid in suspects.doubted(self._open, lives, starts, self._patience):
            self.hand_over(uuid)
        lanes = self._lanes.overtaken()
        if lanes:
            for uuid in suspects.overtaken(self._open, lanes):
                self.hand_over(uuid)

    def thin_out(self, ceiling: int) -> list[Change]:
        """Let the tracker forget the oldest tasks, usual or not, when together they take more than
        `ceiling`."""
        changes: list[Change] = []
        excess = self.size + self._tracker.size - ceiling
        if excess > 0:
            first = islice(self._open.items(), excess + OUT_OF_ORDER)
            mine = [(newest.age, uuid) for uuid, newest in first]
            for _, uuid in heapq.nsmallest(excess, [*mine, *self._tracker.oldest(excess)]):
                if self.size + self._tracker.size > ceiling:
                    self.hand_over(uuid)
                    changes += self._tracker.forget(uuid)
        return changes

    def oldest(self) -> dict[str, float]:
        """When the oldest that waits was sent, of each queue in which any does."""
        lanes = self._lanes.waiting()
        found: dict[str, float] = {}
        for passage in self._open.values() if lanes else ():
            lane, sent = passage.lane, passage.sent
            if passage.life is None and sent is not None and lane.queue is not None:
                found[lane.queue] = min(sent, found.get(lane.queue, sent))
                lanes.discard(lane)
                if not lanes:  # what is behind was sent later, as a rule
                    break
        return found

    def dump(self, index: Index) -> dict[str, Any]:
        """Itself as plain values; lives by their number."""
        return {
            name: [[uuid, attempts.dump(passage, index)] for uuid, passage in shelf.items()]
            for name, shelf in self._shelves.items()
        } | {"past_size": self._past_size}

    def load(self, state: dict[str, Any], lives: Sequence[Life]) -> None:
        """Go on from what `dump` told."""
        for name, shelf in self._shelves.items():
            for uuid, plain in state[name]:
                shelf[uuid] = attempts.load(plain, self._lanes, lives)
        self._past_size = state["past_size"]
        self._retries = sum(passage.retries for passage in self._open.values())

    @property
    def _shelves(self) -> dict[str, dict[str, Waiting]]:
        return {"open": self._open, "past": self._past, "long_past": self._long_past}

    def _received_first(self, event: Received, life: Life, now: float) -> bool:
        """A receipt of what does not wait: its sending is not known, or nothing waits here."""
        uuid, name, retries = event.uuid, event.name, event.retries or 0
        newest = self._open.get(uuid) or self._past.get(uuid) or self._long_past.get(uuid)
        if newest is None:
            usual = retries == 0 and not self._tracker.knows(uuid)
        elif newest.received is None:
            usual = newest.retries == retries
        else:
            usual = _may_follow(newest, retries)
        if not usual or not name or name != (newest or event).name:
            return False
        if newest is None or newest.received is not None:
            lane = self._lanes.of(name, None)
            newest = Passage(lane, retries=retries, earlier=newest)
        else:
            newest = begun(newest)
            newest.lane = self._lanes.of(name, newest.lane.queue)
        self._take(newest, event, life, now)
        self._put(uuid, newest)
        return True

    def _wait(self, uuid: str, passage: Waiting) -> None:
        """It was sent, and waits in its queue as far as anybody here can know that."""
        lane, sent, earlier = passage.lane, passage.sent or 0.0, passage.earlier
        if self._whole:
            lane.waiting += 1
            lane.line.usual += 1
            lane.oldest = min(lane.oldest, sent)
        if self._whole and earlier is None:
            self._open[uuid] = passage
        elif self._whole or (earlier is not None and earlier.runs):
            self._put(uuid, passage)
        else:
            self._take_out(uuid)
            self._shelve(uuid, passage)

    def _take(self, passage: Waiting, event: Received, life: Life, now: float) -> None:
        """`life` has received it."""
        lane, sent = passage.lane, passage.sent
        if sent is not None:
            line = lane.line
            if line.usual or line.sendings:
                line.deliver(sent)
            passage.apart = self._clocks.apart(life.host, passage.sender)
        passage.life = life
        lane.received += 1
        life.received += 1
        passage.received = event.timestamp
        passage.arrived = now
        if event.eta:
            passage.eta = epoch(event.eta)

    def _trace(
        self, passage: Waiting, lane: Lane, host: str, sent: float, planned: float | None
    ) -> None:
        """Its sending, in `lane`, is heard of after its receipt."""
        old, life = passage.lane, passage.life
        assert life is not None
        old.gather()  # before it is known when it was sent
        passage.sender, passage.sent, passage.planned = host, sent, planned
        passage.apart = self._clocks.apart(life.host, host)
        passage.lane = lane
        lane.line.deliver(sent)
        if passage.outcome is None:
            _move(passage, old, lane)
        if passage.started is not None:
            lane.traced.append(passage)

    def _put(self, uuid: str, passage: Waiting) -> None:
        """It is open, whatever was known of its task before."""
        known = self._open.get(uuid)
        if known is not None:
            self._retries -= known.retries
        elif passage.earlier is not None or not self._whole:
            self._past.pop(uuid, None) or self._long_past.pop(uuid, None)
        self._open[uuid] = passage
        self._retries += passage.retries

    def _take_out(self, uuid: str) -> Waiting | None:
        """What is known of a task; from now on it is not."""
        newest = self._open.pop(uuid, None)
        if newest is None:
            return self._past.pop(uuid, None) or self._long_past.pop(uuid, None)
        self._retries -= newest.retries
        return newest

    def _close(self, uuid: str, newest: Waiting) -> None:
        """Nothing of it waits or runs any more."""
        del self._open[uuid]
        self._retries -= newest.retries
        self._shelve(uuid, newest)

    def _shelve(self, uuid: str, newest: Waiting) -> None:
        """Remember it for a while: a sending, or a second end, may still come."""
        self._past[uuid] = newest
        self._past_size += 1 + newest.retries
        if self._past_size > LONGEST_MEMORY // 2:
            self._past, self._long_past, self._past_size = {}, self._past, 0

    def _leave(self, passage: Waiting) -> None:
        """It is counted here no more where it waits or runs."""
        lane, life = passage.lane, passage.life
        if passage.outcome is not None or (life is None and not self._whole):
            return
        if life is None:
            lane.waiting -= 1
            lane.line.usual -= 1
        elif passage.started is None:
            lane.handed_reserved += 1
            life.handed_reserved += 1
        else:
            lane.handed_running += 1
            life.handed_running += 1


def _may_follow(newest: Waiting, retries: int) -> bool:
    """Whether an attempt of so many `retries` may be the next one."""
    if newest.retries != retries - 1 or retries > MOST_RETRIES:
        return False
    return newest.runs or newest.outcome is _RETRIED


def _move(passage: Waiting, old: Lane, new: Lane) -> None:
    """What goes on in one lane goes on in another."""
    if passage.started is None:
        old.handed_reserved += 1
        new.handed_reserved -= 1
    else:
        old.handed_running += 1
        new.handed_running -= 1
