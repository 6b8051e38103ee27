"""Event bodies as Celery sends them, and whole streams of them that a lawful cluster could send.

The fields of each type are all those of Celery 5.7, the ones no metric needs included.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import count
from typing import Any, NamedTuple

from hypothesis import Phase, settings
from hypothesis import strategies as st

Event = dict[str, Any]

patiently = settings(deadline=None, phases=set(Phase) - {Phase.explain})
"""For tests with drawn examples: a busy machine is no failure, a failure is told shortly."""

NOON = 1_700_000_000.0
"""Epoch seconds: when the streams of the tests begin, a multiple of 100."""


class Told(Event):
    """An event that is short to read where a test fails."""

    def __repr__(self) -> str:
        word, what = self["type"].rpartition("-")[2], self.get("uuid", self.get("processed"))
        return f"{self['hostname']}:{word}:{what}:{self.get('retries', '')}"


class Process:
    """A process that sends events: each takes the next tick of its Lamport clock."""

    def __init__(self, hostname: str = "w1@web1", pid: int = 101) -> None:
        self.hostname = hostname
        self.pid = pid
        self._clock = count(1)

    def says(self, type_: str, at: float, **fields: Any) -> Event:
        """An event of any type, made `at` (epoch seconds, its own clock)."""
        return Told(
            hostname=self.hostname, utcoffset=0, pid=self.pid, clock=next(self._clock),
            **fields, timestamp=at, type=type_,
        )  # fmt: skip

    def sent(
        self, uuid: str, at: float, name: str = "shop.pay", queue: str = "q", **fields: Any
    ) -> Event:
        """A publication, by a client or by a worker's child."""
        routing = {"queue": queue, "exchange": "", "routing_key": queue}
        return self.says("task-sent", at, **{**_task(uuid, name), **routing, **fields})

    def received(self, uuid: str, at: float, name: str = "shop.pay", **fields: Any) -> Event:
        """A receipt."""
        return self.says("task-received", at, **{**_task(uuid, name), **fields})

    def started(self, uuid: str, at: float) -> Event:
        """The pool has accepted the task."""
        return self.says("task-started", at, uuid=uuid)

    def succeeded(self, uuid: str, at: float, runtime: float | None = 0.1) -> Event:
        """The task returned."""
        return self.says("task-succeeded", at, uuid=uuid, result="None", runtime=runtime)

    def failed(
        self, uuid: str, at: float, exception: str = "KeyError('k')", traceback: str = ""
    ) -> Event:
        """The task raised."""
        return self.says("task-failed", at, uuid=uuid, exception=exception, traceback=traceback)

    def retried(self, uuid: str, at: float) -> Event:
        """The task asked to be tried again."""
        return self.says("task-retried", at, uuid=uuid, exception="Flake('x')", traceback="")

    def revoked(self, uuid: str, at: float, terminated: bool = False, **fields: Any) -> Event:
        """The task was revoked or had expired, or was terminated while it ran."""
        signum = 15 if terminated else None
        told = {"terminated": terminated, "signum": signum, "expired": False, **fields}
        return self.says("task-revoked", at, uuid=uuid, **told)

    def rejected(self, uuid: str, at: float, requeue: bool = False) -> Event:
        """The task gave its message back."""
        return self.says("task-rejected", at, uuid=uuid, requeue=requeue)

    def cancelled(self, uuid: str, at: float) -> Event:
        """A cold shutdown stopped the task."""
        return self.says("task-cancelled", at, uuid=uuid)

    def online(self, at: float, processed: int = 0, **fields: Any) -> Event:
        """The worker's heart begins to beat."""
        return self._beat("worker-online", at, processed, fields)

    def beat(self, at: float, processed: int = 0, **fields: Any) -> Event:
        """A heartbeat."""
        return self._beat("worker-heartbeat", at, processed, fields)

    def offline(self, at: float, processed: int = 0, **fields: Any) -> Event:
        """The worker's heart stops."""
        return self._beat("worker-offline", at, processed, fields)

    def echo(self, at: float) -> Event:
        """The heartbeat somebody asked for by remote control: it does not count anything."""
        return self.says("worker-heartbeat", at, freq=5, **_SOFTWARE)

    def _beat(self, type_: str, at: float, processed: int, fields: Event) -> Event:
        told = {"freq": 2.0, "active": 0, "loadavg": [0.5, 0.25, 0.125], **_SOFTWARE, **fields}
        return self.says(type_, at, processed=processed, **told)


_SOFTWARE = {"sw_ident": "py-celery", "sw_ver": "5.7.0", "sw_sys": "Linux"}


def _task(uuid: str, name: str) -> Event:
    ids = {"root_id": uuid, "parent_id": None}
    return {
        "uuid": uuid, "name": name, "args": "()", "kwargs": "{}", **ids,
        "retries": 0, "eta": None, "expires": None,
    }  # fmt: skip


def client(pid: int = 900, host: str = "app1") -> Process:
    """A client: it has a name of its own in each process."""
    return Process(f"gen{pid}@{host}", pid)


def body(*events: Event) -> bytes:
    """A message's body: one event as an object, several as a list."""
    return json.dumps(list(events) if len(events) != 1 else events[0]).encode()


def iso(at: float) -> str:
    """A time as `eta` and `expires` carry it."""
    return datetime.fromtimestamp(at, UTC).isoformat()


# Lawful streams: what a cluster could have sent, with the totals it must come to.


class Stream(NamedTuple):
    """The events of each process in its order, and the totals by (task, metric) that they mean."""

    lanes: tuple[tuple[Event, ...], ...]
    totals: Counter[tuple[str, str]]

    @property
    def events(self) -> list[Event]:
        """All of them, one process after the other."""
        return [event for lane in self.lanes for event in lane]


class Step(NamedTuple):
    """What one process tells of a task: `who` is a worker's number or CLIENT, `word` the method of
    Process that tells it, `means` the counters that follow from it."""

    who: int
    word: str
    fields: Event
    means: tuple[str, ...] = ()


CLIENT = -1

ENDS: dict[str, Event] = {
    "succeeded": {},
    "failed": {"exception": "KeyError('k')"},
    "rejected": {},
    "revoked": {"terminated": True},
}
"""How a task that runs may end, and what the event says; with " twice" it is told once more."""

UNRECEIVED = ("unregistered", "revoked unseen")
"""Ends of tasks that no worker ever receives."""


class Course(NamedTuple):
    """One task: its name, the workers of its attempts, and how the last of them ends.

    `again` is why there is another attempt, for each but the last: "retried" (the next one is
    received before that is told), "rejected" or "redelivered" after it had succeeded. Ends beside
    ENDS and UNRECEIVED: "expired" while it is held for its ETA, "runs" (none). `traced`: whether
    its publications are told.
    """

    name: str
    workers: tuple[int, ...]
    again: tuple[str, ...]
    end: str
    traced: bool = True

    def steps(self) -> Iterator[Step]:
        """What is told of it, in the order in which it happens."""
        first = self.workers[0]
        if self.end in UNRECEIVED:
            yield self._publication(0)
            yield self._unreceived(first)
            return
        if self.traced:
            yield self._publication(0)
        retries, worker = 0, first
        yield self._receipt(worker, retries)
        for why, following in zip(self.again, self.workers[1:], strict=True):
            yield Step(worker, "started", {}, ("started",))
            if why == "retried":
                retries += 1
                if self.traced:
                    yield self._publication(retries)
                yield self._receipt(following, retries)
                yield Step(worker, "retried", {}, ("retried",))
            else:
                word = "rejected" if why == "rejected" else "succeeded"
                yield Step(worker, word, {}, (word,))
                yield self._receipt(following, retries)
            worker = following
        yield from self._ending(worker)

    def _publication(self, retries: int) -> Step:
        return Step(CLIENT, "sent", {"name": self.name, "retries": retries}, ("sent",))

    def _receipt(self, worker: int, retries: int) -> Step:
        return Step(worker, "received", {"name": self.name, "retries": retries}, ("received",))

    def _unreceived(self, worker: int) -> Step:
        if self.end == "unregistered":
            fields = {"exception": f"NotRegistered('{self.name}')"}
            return Step(worker, "failed", fields, ("on_arrival", "failed"))
        return Step(worker, "revoked", {}, ("on_arrival", "revoked"))

    def _ending(self, worker: int) -> Iterator[Step]:
        if self.end == "expired":
            yield Step(worker, "revoked", {}, ("revoked",))
            return
        yield Step(worker, "started", {}, ("started",))
        if self.end != "runs":
            word, _, twice = self.end.partition(" ")
            yield Step(worker, word, ENDS[word], (word,))
            if twice:
                yield Step(worker, word, ENDS[word])


class Broadcast(NamedTuple):
    """One publication that `workers` workers run."""

    name: str
    workers: int

    def steps(self) -> Iterator[Step]:
        """What is told of it, in the order in which it happens."""
        yield Step(CLIENT, "sent", {"name": self.name, "queue": "bcast.1"}, ("sent",))
        for worker in range(self.workers):
            for word in ("received", "started", "succeeded"):
                fields = {"name": self.name} if word == "received" else {}
                yield Step(worker, word, fields, (word,))


NAMES = ("shop.pay", "shop.ship", "Report: daily/EU")
REASONS = ("retried", "rejected", "redelivered")


@st.composite
def courses(draw: st.DrawFn, ends: Sequence[str], workers: int, most: int) -> Course:
    """Any task of at most `most` attempts that ends in one of `ends`."""
    again = tuple(draw(st.lists(st.sampled_from(REASONS), max_size=most - 1)))
    several = st.tuples(*[st.integers(0, workers - 1)] * (len(again) + 1))
    return Course(
        draw(st.sampled_from(NAMES)),
        draw(several),
        again,
        draw(st.sampled_from(ends)),
        draw(st.booleans()),
    )


@st.composite
def streams(draw: st.DrawFn, ends: Sequence[str], most: int = 4, beats: bool = False) -> Stream:
    """Any stream of a lawful cluster whose tasks end in one of `ends` after at most `most`
    attempts, each event a millisecond after the one before; with `beats` the workers' hearts
    beat in it."""
    workers = draw(st.integers(1, 3))
    broadcasts = st.builds(Broadcast, st.sampled_from(NAMES), st.just(workers))
    kinds = st.one_of(courses(ends, workers, most), broadcasts)
    plans = draw(st.lists(kinds, min_size=1, max_size=6))
    rows = [list(plan.steps()) for plan in plans]
    turns = draw(st.permutations([number for number, row in enumerate(rows) for _ in row]))
    cluster = _Cluster(workers, beats)
    totals: Counter[tuple[str, str]] = Counter()
    for number in turns:
        step = rows[number].pop(0)
        cluster.tell(f"uuid-{number}", step)
        totals.update((plans[number].name, metric) for metric in step.means)
    return Stream(tuple(map(tuple, cluster.lanes)), totals)


class _Cluster:
    """Lets each process say its steps; with `beats` a worker's heart beats after each end."""

    def __init__(self, workers: int, beats: bool) -> None:
        self.processes = [Process(f"w{n}@web{n % 2}", 100 + n) for n in range(workers)]
        self.processes.append(client())  # the last one, so that CLIENT is its index
        self.lanes: list[list[Event]] = [[] for _ in self.processes]
        self._beats = beats
        self._ticks = count(1)
        self._starts: Counter[int] = Counter()
        self._running: Counter[tuple[int, str]] = Counter()

    def tell(self, uuid: str, step: Step) -> None:
        """One step of one task, and perhaps a heartbeat."""
        tell = getattr(self.processes[step.who], step.word)
        self.lanes[step.who].append(tell(uuid, self._now(), **step.fields))
        self._starts[step.who] += step.word == "started"
        if step.word == "started":
            self._running[step.who, uuid] += 1
        elif self._running[step.who, uuid] and step.word not in ("sent", "received"):
            self._running[step.who, uuid] -= 1
            if self._beats:
                self.lanes[step.who].append(self._beat(step.who))

    def _now(self) -> float:
        return NOON + next(self._ticks) / 1000

    def _beat(self, who: int) -> Event:
        active = sum(n for (worker, _), n in self._running.items() if worker == who)
        worker = self.processes[who]
        return worker.beat(self._now(), processed=self._starts[who], active=active)


def merged(draw: st.DrawFn, stream: Stream) -> list[Event]:
    """The events of a stream, the processes mixed in any way, each in its own order."""
    turns = [number for number, lane in enumerate(stream.lanes) for _ in lane]
    rest = [iter(lane) for lane in stream.lanes]
    return [next(rest[number]) for number in draw(st.permutations(turns))]
