"""What single tasks are doing, and what the last failures said: for those who look into one.

The numbers are the pipeline's. This remembers names, beginnings and exceptions, as far as events
tell and its bounds allow; what it has not seen it does not show.
"""

import re
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Container, Iterator
from itertools import chain
from typing import Any, NamedTuple

import msgspec

from celery_statsd.events import LONGEST_BODY, exception_class, shortened

LONGEST_TEXT = 200
"""Characters kept of an exception's text, and of the line that raised it."""

MOST_FAILURES = 20
"""Failures kept of one task: the last ones."""

MOST_CLASSES = 50
"""Classes of exceptions counted of one task."""

MOST_TASKS = 1000
"""Tasks of which failures are kept: those that failed last."""

RACE = 0.05
"""Seconds: a heartbeat may not know yet what began just before it."""

MOST_OVER = 1000
"""Tasks that ended last: some ends are told twice."""

UNKNOWN = "unknown"


class Said(msgspec.Struct, gc=False):
    """Of an event what is of use here; whatever else it is, it has a default."""

    type: str = ""
    uuid: str = ""
    hostname: str = ""
    pid: int | None = None
    timestamp: float = 0.0
    name: str | None = None
    exception: str | None = None
    traceback: str | None = None
    active: int | None = None


_decode = msgspec.json.Decoder(list[Said] | Said).decode


class Running(msgspec.Struct, gc=False):
    """An attempt that `worker`, a process `pid`, runs `since` then (epoch seconds of its clock)."""

    uuid: str
    name: str
    worker: str
    pid: int | None
    since: float


class Failure(NamedTuple):
    """An attempt that failed, or asked for another one (`retried`). `at` is in epoch seconds;
    `text` is the exception's repr, `where` the line that raised it, "" when it is not told."""

    at: float
    task: str
    worker: str
    error: str
    text: str
    where: str
    retried: bool


class Failures:
    """Those of one task: how often each class came, and the last ones."""

    def __init__(self) -> None:
        self.classes: Counter[str] = Counter()
        self.last: deque[Failure] = deque(maxlen=MOST_FAILURES)

    def take(self, failure: Failure) -> None:
        """Add one; the classes past the bound are one."""
        known = failure.error in self.classes or len(self.classes) < MOST_CLASSES
        self.classes[failure.error if known else "other"] += 1
        self.last.append(failure)


class Witness:
    """Remembers the names of up to `most` tasks, and as many that run: the newest."""

    def __init__(self, most: int = 100_000) -> None:
        self._most = most
        self._names: dict[str, str] = {}
        self._over: dict[str, None] = {}
        self._running: dict[str, dict[str, Running]] = {}  # by worker, and uuid
        self._failures: OrderedDict[str, Failures] = OrderedDict()
        self._ways = {
            "task-received": self._received,
            "task-started": self._started,
            "task-succeeded": self._ended,
            "task-failed": self._failed,
            "task-retried": self._retried,
            "task-revoked": self._ended,
            "task-rejected": self._ended,
            "task-cancelled": self._ended,
            "worker-online": self._began,
            "worker-heartbeat": self._beat,
        }

    def __len__(self) -> int:
        """How many names and how many that run are remembered."""
        return len(self._names) + sum(map(len, self._running.values()))

    def hear(self, body: bytes) -> None:
        """Take in what a message's body says. Never raises: the pipeline counts what is bad."""
        if len(body) > LONGEST_BODY:
            return
        try:
            said = _decode(body)
        except (msgspec.MsgspecError, RecursionError, UnicodeError):
            return
        for one in said if isinstance(said, list) else (said,):
            way = self._ways.get(one.type)
            if way is not None:
                way(one)

    def bury(self, living: Container[str]) -> None:
        """The workers that are not `living` run nothing any more."""
        for worker in [worker for worker in self._running if worker not in living]:
            del self._running[worker]

    def thin_out(self) -> None:
        """Forget what runs past the bound, where most does. To be called now and then."""
        excess = sum(map(len, self._running.values())) - self._most
        for held in sorted(self._running.values(), key=len, reverse=True):
            for uuid in list(held)[: max(0, excess)]:
                del held[uuid]
                excess -= 1

    def running(self, task: str | None = None, worker: str | None = None) -> list[Running]:
        """What runs, of one task or on one worker: the longest first."""
        if task is None:
            found = [*self._running.get(worker or "", {}).values()]
        else:
            every = chain.from_iterable(held.values() for held in self._running.values())
            found = [one for one in every if one.name == task]
        return sorted(found, key=lambda one: one.since)

    def classes(self, task: str) -> list[tuple[str, int]]:
        """How often each exception came in a task, the most frequent first."""
        return self._failures[task].classes.most_common() if task in self._failures else []

    def last(self, task: str | None = None, worker: str | None = None) -> list[Failure]:
        """The last failures of one task or on one worker, the newest first."""
        found = (one for one in self._all(task) if task is not None or one.worker == worker)
        return sorted(found, key=lambda one: -one.at)[:MOST_FAILURES]

    def _all(self, task: str | None) -> Iterator[Failure]:
        if task is None:
            return chain.from_iterable(kept.last for kept in self._failures.values())
        return iter(self._failures[task].last if task in self._failures else ())

    def _received(self, said: Said) -> None:
        self._names.pop(said.uuid, None)  # so that the newest are behind
        self._names[said.uuid] = shortened(said.name or UNKNOWN)
        _bound(self._names, self._most)

    def _started(self, said: Said) -> None:
        name = self._names.get(said.uuid, UNKNOWN)
        held = self._running.setdefault(said.hostname, {})
        held[said.uuid] = Running(said.uuid, name, said.hostname, said.pid, said.timestamp)

    def _stopped(self, said: Said) -> str | None:
        """An attempt is over; the name of its task, if that is known."""
        one = self._running.get(said.hostname, {}).pop(said.uuid, None)
        return one.name if one else self._names.get(said.uuid)

    def _ended(self, said: Said) -> str | None:
        """A task is over, with its last attempt."""
        name = self._stopped(said)
        self._names.pop(said.uuid, None)
        self._over[said.uuid] = None
        _bound(self._over, MOST_OVER)
        return name

    def _began(self, said: Said) -> None:
        """What another process of that name ran is gone with it."""
        self._keep(said.hostname, lambda one: one.pid == said.pid)

    def _beat(self, said: Said) -> None:
        """A worker that runs nothing tells so: what ended without a word is over."""
        if said.active == 0 and said.hostname in self._running:
            self._keep(said.hostname, lambda one: one.since > said.timestamp - RACE)

    def _keep(self, worker: str, stays: Callable[[Running], bool]) -> None:
        held = self._running.get(worker, {})
        for uuid in [uuid for uuid, one in held.items() if not stays(one)]:
            del held[uuid]

    def _retried(self, said: Said) -> None:
        self._note(said, self._stopped(said))

    def _failed(self, said: Said) -> None:
        twice = said.uuid in self._over
        name = self._ended(said)
        if name is not None or not twice:  # a hard time limit is told twice
            self._note(said, name)

    def _note(self, said: Said, known: str | None) -> None:
        name = known or UNKNOWN
        exception, traceback = cause(said.exception or ""), said.traceback or ""
        failure = Failure(
            said.timestamp,
            name,
            said.hostname,
            exception_class(exception, traceback),
            exception[:LONGEST_TEXT],
            raised_at(traceback),
            said.type == "task-retried",
        )
        if name not in self._failures:
            self._failures[name] = Failures()
            if len(self._failures) > MOST_TASKS:
                self._failures.popitem(last=False)
        self._failures.move_to_end(name)
        self._failures[name].take(failure)


def _bound(kept: dict[str, Any], most: int) -> None:
    """Let go of the oldest past so many."""
    if len(kept) > most:
        del kept[next(iter(kept))]


def cause(exception: str) -> str:
    """What a retry was asked for, if that is what `exception` (its repr) tells; else itself."""
    asked = _RETRY.fullmatch(exception[: 10 * LONGEST_TEXT])
    return asked[1] if asked else exception


def raised_at(traceback: str) -> str:
    """The last place of a traceback: its file, line and function; "" when there is none. Celery's
    own, where retries and time limits are raised, are passed over if there are others."""
    last, place = "", traceback.rfind(_PLACE)
    while place >= 0:
        line = traceback[place + 3 : place + 3 + 2 * LONGEST_TEXT].partition("\n")[0].strip()
        if not _OWN.search(line):
            return line[-LONGEST_TEXT:]
        last, place = last or line[-LONGEST_TEXT:], traceback.rfind(_PLACE, 0, place)
    return last


_OWN = re.compile(r"-packages/(?:celery|billiard)/")
_PLACE = '\n  File "'
_RETRY = re.compile(r"Retry\(Retry\(\.\.\.\), (.+), [^,]*\)", re.DOTALL)
