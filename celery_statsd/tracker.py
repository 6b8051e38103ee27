"""Which moments of each attempt are known, and which of the ends that nobody tells it came to.

Laws:
1. The unit is the attempt: one receipt by one worker process (a `Life`). It is the how-manieth of
   its task in that process: a moment goes to an attempt of that process that lacks it, and only
   when none does to a new one. So the totals do not depend on the order in which different
   processes are heard.
2. A moment is known once. Each is told once, as a Change; what an attempt is counted under (its
   name) comes with its receipt, therefore nothing of an attempt is told before that. An attempt
   whose receipt has not come by the time it is settled is told as ON_ARRIVAL when it ended as one
   does that never was received (revoked, expired, unregistered), else as FOUND.
3. Every attempt has one outcome. A second end of the same attempt (SECOND_ENDS) is dropped.
4. The balance, at any time:
   received + on_arrival + found = all outcomes + reserved + running.
5. What nobody tells is concluded (see `endings`): RETURNED (given back unstarted, or received
   again after its worker was gone), LOST (its worker is gone, and nobody received it again in
   time), UNREPORTED (its worker lives and shows that it does not run it). Of sendings: EXPIRED (no
   worker received it in its time), UNSEEN (others of its queue, sent later, were received long
   ago: its task sends no events, or they were lost); neither is part of the balance.
6. Memory is bounded by `ceiling` attempts (a task without any counts as one). The task that was
   sent first is forgotten first, and counted: its attempts end as UNREPORTED, and are FOUND again
   should they still speak. So are the oldest of one task, when it has more than MOST_OPEN open.
"""

import heapq
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from celery_statsd.choice import RECEIPT
from celery_statsd.clocks import Clocks
from celery_statsd.endings import doubtful, endings
from celery_statsd.events import OUTCOMES, Change, Moment, Sent, TaskEvent
from celery_statsd.life import Index, Life
from celery_statsd.queues import Queues
from celery_statsd.scope import CLUSTER, Scope
from celery_statsd.task import MOST_OPEN, Attempt, Sending, Stage, Task

PROVISIONAL = 1.0
"""Seconds an attempt waits for a receipt that has not come yet before it is settled."""

MOST_NAMES = 10_000
"""Task names: past so many, those are dropped of which nothing waits or runs."""

LONGEST_MEMORY = 20_000
"""Attempts: those that ended last are remembered, for late sendings and second ends."""

ORDER = (Moment.TRACED, Moment.RECEIVED, Moment.ON_ARRIVAL, Moment.FOUND, Moment.STARTED, *OUTCOMES)
"""The order in which the moments of one attempt are told."""


class Tracker:
    """The attempts of all tasks seen of late, and how many of them wait and run.

    `in_flight` counts by stage and task name (a name once seen stays, at 0, as long as there are
    not too many); `totals` counts the moments told, `forgotten` what law 6 has cost, `unmatched`
    the attempts whose task was never seen. `lost_after` and `unreported_after` are in seconds.
    """

    def __init__(
        self,
        clocks: Clocks,
        ceiling: int = 100_000,
        lost_after: float = 30.0,
        unreported_after: float = 60.0,
        scope: Scope = CLUSTER,
    ) -> None:
        self._scope = scope
        self.in_flight: Counter[tuple[Stage, str]] = Counter()
        self.totals: Counter[Moment] = Counter()
        self.forgotten = 0
        self.unmatched = 0
        self._clocks = clocks
        self._ceiling = ceiling
        self._lost_after = lost_after
        self._unreported_after = unreported_after
        self._live: dict[str, Task] = {}
        self._past: dict[str, Task] = {}
        self._long_past: dict[str, Task] = {}
        self._size = 0  # of the living
        self._past_size = 0
        self._held: dict[Life, dict[Attempt, None]] = {}
        self._provisional: dict[Attempt, None] = {}
        self.queues = Queues()
        self._most_names = MOST_NAMES * len(Stage)

    def __len__(self) -> int:
        """How many tasks wait or run."""
        return len(self._live)

    def dump(self, index: Index) -> dict[str, Any]:
        """Itself as plain values; lives by their number."""
        return {
            "live": [task.dump(index) for task in self._live.values()],
            "past": [task.dump(index) for task in self._past.values()],
            "long_past": [task.dump(index) for task in self._long_past.values()],
            "names": [[stage.value, name] for stage, name in self.in_flight],
            "totals": {moment.value: total for moment, total in self.totals.items()},
            "delivered": self.queues.dump(),
            "forgotten": self.forgotten,
            "unmatched": self.unmatched,
        }

    def load(self, state: Mapping[str, Any], lives: Sequence[Life]) -> None:
        """Go on from what `dump` told."""
        self.totals.update({Moment(word): total for word, total in state["totals"].items()})
        self.in_flight.update({(Stage(stage), name): 0 for stage, name in state["names"]})
        self.queues.load(state["delivered"])
        self.forgotten, self.unmatched = state["forgotten"], state["unmatched"]
        for shelf in ("live", "past", "long_past"):
            tasks = [Task.load(lives, task) for task in state[shelf]]
            getattr(self, f"_{shelf}").update({task.uuid: task for task in tasks})
            for task in tasks:
                self._resume(task)
                task.counted = task.size if shelf == "live" else 0
        self._size = sum(task.counted for task in self._live.values())
        self._past_size = sum(task.size for task in self._past.values())

    def knows(self, uuid: str) -> bool:
        """Whether it has seen anything of that task of late."""
        return uuid in self._live or uuid in self._past or uuid in self._long_past

    def adopt(self, task: Task) -> None:
        """Go on with a task of which everything so far was told elsewhere."""
        self._live[task.uuid] = task
        self._resume(task)
        self._keep(task)

    def starts(self, life: Life) -> list[float]:
        """When those began that `life` runs, by its own clock."""
        held = self._held.get(life, ())
        return [attempt.started or 0.0 for attempt in held if attempt.stage is Stage.RUNNING]

    def sent(self, event: Sent) -> list[Change]:
        """A task was published."""
        task = self._recall(event.uuid)
        sending = Sending(task, event)
        sending.taken = not self._scope.whole  # it may be received where we do not hear of it
        task.sendings.append(sending)
        owned = self._scope.owns(event.uuid)
        changes = [self._count(Moment.SENT, sending)] if owned else []
        for attempt in task.attempts_of(sending):
            self._trace(attempt, sending)
            changes += self._tell(attempt)
        self._queue(sending)
        changes += self._thin_out(task)
        self._keep(task)
        return changes

    def observe(self, event: TaskEvent, life: Life, now: float) -> list[Change] | None:
        """A worker told of an attempt. None when it only told the same end once more."""
        task = self._recall(event.uuid)
        if task.tells_again(event, life):
            self._keep(task)
            return None
        attempt = task.attempt_of(event, life, now)
        attempt.learn(event)
        if attempt.lacks(Moment.TRACED):
            sending = task.sending_of(attempt)
            if sending is not None:
                self._trace(attempt, sending)
        changes = self._tell(attempt) + self._thin_out(task)
        self._keep(task)
        return changes

    def admit(self, now: float, at_once: bool = False) -> list[Change]:
        """Count in what has waited for its receipt for long enough; the first part of `settle`."""
        changes: list[Change] = []
        for attempt in list(self._provisional):
            received = attempt.known & RECEIPT
            if received or at_once or now - attempt.arrived >= PROVISIONAL:
                changes += self._admit(attempt)
        return changes

    @property
    def size(self) -> int:
        """How much of the ceiling is used."""
        return self._size

    def settle(self, now: float, at_once: bool = False, bounded: bool = True) -> list[Change]:
        """Conclude what nobody will tell any more, as of `now` (epoch seconds).

        `at_once`: also what may still be told, for this is the last look. `bounded`: forget what
        is past the ceiling, too.
        """
        changes = self.admit(now, at_once)
        for sending in self.queues.expired(now):
            changes.append(self._give_up(sending, Moment.EXPIRED))
        for sending in self.queues.overtaken():
            changes.append(self._give_up(sending, Moment.UNSEEN))
        for life in list(self._held):
            if doubtful(life):
                held = list(self._held[life])
                over = endings(life, held, now, self._lost_after, self._unreported_after)
                for attempt, moment in over:
                    changes += self._conclude(attempt, moment)
        if bounded and self._size > self._ceiling:
            for _, uuid in self.oldest(self._size - self._ceiling):
                changes += self.forget(uuid) if self._size > self._ceiling else []
        if len(self.in_flight) > self._most_names:
            self.in_flight = +self.in_flight
            self._most_names = max(MOST_NAMES * len(Stage), 2 * len(self.in_flight))
        return changes

    def oldest(self, number: int) -> list[tuple[float, str]]:
        """Those of its living tasks that were sent first: when, and their uuid."""
        return heapq.nsmallest(number, ((task.age, uuid) for uuid, task in self._live.items()))

    def forget(self, uuid: str) -> list[Change]:
        """Forget a task: nobody asks any more what becomes of it."""
        task = self._live.pop(uuid)
        self._book(task, 0)
        self.forgotten += 1
        for sending in task.sendings:
            self._take_off(sending)
        return [change for attempt in task.attempts for change in self._abandon(attempt)]

    def _resume(self, task: Task) -> None:
        """Count a loaded task where it stands."""
        for sending in task.sendings:
            self._queue(sending)
        for attempt in task.attempts:
            if attempt.known & RECEIPT:
                self._place(attempt)
            else:
                self._provisional[attempt] = None

    def _recall(self, uuid: str) -> Task:
        task = self._live.get(uuid)
        if task is None:
            task = self._past.pop(uuid, None)
            if task is not None:
                self._past_size -= task.size
            else:
                task = self._long_past.pop(uuid, None) or Task(uuid)
            self._live[uuid] = task
        return task

    def _keep(self, task: Task) -> None:
        """Put a task where it belongs: among the living or, when it is over, the past."""
        task.trim()
        over = task.over
        self._book(task, 0 if over else task.size)
        if not over:
            return
        self._live.pop(task.uuid, None)
        self._past[task.uuid] = task
        self._past_size += task.size
        if self._past_size > LONGEST_MEMORY // 2:
            self._past, self._long_past, self._past_size = {}, self._past, 0

    def _book(self, task: Task, size: int) -> None:
        self._size += size - task.counted
        task.counted = size

    def _trace(self, attempt: Attempt, sending: Sending) -> None:
        attempt.sending = sending
        attempt.known |= Moment.TRACED.bit
        attempt.name = attempt.name or sending.name
        attempt.apart = self._clocks.apart(attempt.life.host, sending.host)
        sending.taken = True
        self._queue(sending)
        self.queues.deliver(sending)

    def _tell(self, attempt: Attempt) -> list[Change]:
        """What became known of `attempt` and may be told."""
        if not attempt.known & RECEIPT:
            self._provisional[attempt] = None
            return []
        changes = []
        for moment in ORDER:
            if moment.bit & attempt.known & ~attempt.told:
                attempt.told |= moment.bit
                changes.append(self._count(moment, attempt))
        self._place(attempt)
        return changes

    def _count(self, moment: Moment, subject: Sending | Attempt) -> Change:
        self.totals[moment] += 1
        told = subject.told if isinstance(subject, Attempt) else moment.bit
        return Change(moment, subject, told)

    def _place(self, attempt: Attempt) -> None:
        """Count `attempt` in the stage it is in now."""
        stage = None
        if not attempt.over:
            stage = Stage.RESERVED if attempt.lacks(Moment.STARTED) else Stage.RUNNING
        if stage is attempt.stage:
            return
        name, life = attempt.name or "unknown", attempt.life
        for old_or_new, step in ((attempt.stage, -1), (stage, 1)):
            if old_or_new is not None:
                self.in_flight[old_or_new, name] += step
                life.unusual_reserved += step if old_or_new is Stage.RESERVED else 0
                life.unusual_running += step if old_or_new is Stage.RUNNING else 0
        attempt.stage = stage
        if stage is not None:
            self._held.setdefault(life, {})[attempt] = None
        else:
            self._let_go(life, attempt)

    def _let_go(self, life: Life, attempt: Attempt) -> None:
        held = self._held.get(life, {})
        held.pop(attempt, None)
        if not held:
            self._held.pop(life, None)

    def _queue(self, sending: Sending) -> None:
        """Count `sending` as queued or not."""
        stage = None if sending.taken else Stage.QUEUED
        if stage is sending.stage:
            return
        sending.stage = stage
        if stage:
            self.in_flight[Stage.QUEUED, sending.name] += 1
            self.queues.put(sending)
        else:
            self.in_flight[Stage.QUEUED, sending.name] -= 1
            self.queues.take(sending)

    def _give_up(self, sending: Sending, moment: Moment) -> Change:
        """`sending` does not wait any more, though nobody has told of its receipt."""
        self._take_off(sending)
        self._keep(sending.task)
        return self._count(moment, sending)

    def _admit(self, attempt: Attempt) -> list[Change]:
        """Count `attempt` in, as one that was never received unless it was."""
        self._provisional.pop(attempt, None)
        if not attempt.known & RECEIPT:
            attempt.known |= self._entry(attempt).bit
            attempt.name = attempt.name or "unknown"  # for good: its gauges stand under it
        return self._tell(attempt)

    def _entry(self, attempt: Attempt) -> Moment:
        """How an attempt that was never received came into our sight."""
        if attempt.ends_on_arrival:
            return Moment.ON_ARRIVAL
        if attempt.name is None:
            self.unmatched += 1
        return Moment.FOUND

    def _conclude(self, attempt: Attempt, moment: Moment) -> list[Change]:
        sending = attempt.sending
        back = moment is Moment.RETURNED and self._scope.whole and not attempt.received_again
        if back and sending:
            sending.taken = False
            self._queue(sending)
        attempt.known |= moment.bit
        changes = self._tell(attempt)
        self._keep(attempt.task)
        return changes

    def _thin_out(self, task: Task) -> list[Change]:
        """Give up the oldest of a task that has more than MOST_OPEN open."""
        changes: list[Change] = []
        for attempt in task.attempts[:-MOST_OPEN]:
            self.forgotten += not attempt.over
            changes += self._abandon(attempt)
        for sending in task.sendings[:-MOST_OPEN]:
            self.forgotten += not sending.taken
            self._take_off(sending)
        return changes

    def _take_off(self, sending: Sending) -> None:
        sending.taken = True
        self._queue(sending)

    def _abandon(self, attempt: Attempt) -> list[Change]:
        """`attempt` ends here, whatever becomes of it."""
        if not attempt.over:
            attempt.known |= Moment.UNREPORTED.bit
        return self._admit(attempt)
