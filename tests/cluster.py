"""A cluster that does anything a lawful one may, as deeds to a pipeline: events that are heard
late, doubled or not at all, workers that die, come back and take over, and time that passes.

Whatever happens is drawn from one `Random`, so a seed is a whole history.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from tests.bodies import NOON, Event, Process, iso

NAMES = ("shop.pay", "shop.ship")
QUEUES = ("q.fast", "q.slow", "bcast.1")
PAUSES = (0.001,) * 12 + (0.05,) * 6 + (0.3, 0.3, 1.0, 1.0, 5.0, 40.0, 70.0, 700.0)
"""Seconds between two deeds."""


class Deed(NamedTuple):
    """What is done to a pipeline at `now` (epoch seconds): "feed" a `body`, or the name of a
    method that takes the time, or "reborn"."""

    now: float
    word: str
    body: bytes = b""


@dataclass(eq=False)
class Parcel:
    """A message in a queue or in a worker's hands."""

    uuid: str
    name: str
    queue: str
    retries: int = 0
    fields: Event = field(default_factory=dict)

    def again(self) -> "Parcel":
        """The message of its next attempt."""
        return Parcel(self.uuid, self.name, self.queue, self.retries + 1, self.fields)


@dataclass(eq=False)
class Worker:
    """A worker process and what it holds; `asked` are those that run and have published their next
    attempt."""

    process: Process
    reserved: list[Parcel] = field(default_factory=list)
    running: list[Parcel] = field(default_factory=list)
    asked: list[Parcel] = field(default_factory=list)
    starts: int = 0
    alive: bool = True


class Cluster:
    """Some workers and clients, the queues between them, and the way of their events to us."""

    def __init__(self, chance: Random) -> None:
        self.deeds: list[Deed] = []
        self.now = NOON
        self._chance = chance
        self._serial = 0
        self._loss = chance.choice((0.0, 0.0, 0.0, 0.1))
        self._untraced = chance.choice((0.0, 0.0, 0.3, 1.0))
        self._skews = {f"web{n}": chance.choice((0.0, 0.0, 0.0, -100.0, 5.0)) for n in range(3)}
        hosts = [f"web{chance.randrange(3)}" for _ in range(chance.choice((1, 2, 3)))]
        self._workers = [
            Worker(Process(f"w{n}@{host}", 100 * n + 1)) for n, host in enumerate(hosts)
        ]
        self._clients = [Process(f"gen{900 + n}@web{n}", 900 + n) for n in range(3)]
        self._queues: dict[str, list[Parcel]] = {queue: [] for queue in QUEUES}
        self._outbox: dict[Process, list[Event]] = {}
        self._bodies: list[bytes] = []

    def live(self, steps: int) -> list[Deed]:
        """So many things happen, then all that was said is heard, and long silences fall."""
        for _ in range(steps):
            self.now += self._chance.choice(PAUSES)
            self._chance.choice(_USUAL if self._chance.random() < 0.75 else _RARE)(self)
        while self._outbox:
            self._hear()
        for seconds in (1.5, 100.0, 1000.0, 5000.0):
            self.now += seconds
            self._do("flush")
        return self.deeds

    def _do(self, word: str, body: bytes = b"") -> None:
        self.deeds.append(Deed(self.now, word, body))

    def _at(self, process: Process) -> float:
        """The time by the clock of a process."""
        return self.now + self._skews[process.hostname.rpartition("@")[2]]

    def _say(self, process: Process, event: Event) -> None:
        if self._chance.random() >= self._loss:
            self._outbox.setdefault(process, []).append(event)

    def _tell(self, worker: Worker, word: str, uuid: str, **fields: object) -> None:
        process = worker.process
        self._say(process, getattr(process, word)(uuid, self._at(process), **fields))

    # What the wire does.

    def _hear(self) -> None:
        """A message of one process comes."""
        if not self._outbox:
            return
        process = self._chance.choice(list(self._outbox))
        events = self._outbox.pop(process)
        number = self._chance.choice((1, 2, 24))
        if events[number:]:
            self._outbox[process] = events[number:]
        self._bodies.append(json.dumps(events[:number]).encode())
        self._do("feed", self._bodies[-1])

    def _hear_again(self) -> None:
        if self._bodies:
            self._do("feed", self._chance.choice(self._bodies[-20:]))

    def _let_time_pass(self) -> None:
        self._do(self._chance.choice(("tick", "tick", "flush", "deaf", "reborn")))

    # What clients and workers do.

    def _publish(self) -> None:
        self._serial += 1
        fields: Event = {}
        if self._chance.random() < 0.1:
            fields["eta"] = iso(self.now + self._chance.choice((0.1, 3.0, 100.0)))
        if self._chance.random() < 0.05:
            fields["expires"] = iso(self.now + self._chance.choice((0.1, 3.0, 100.0)))
        name, queue = self._chance.choice(NAMES), self._chance.choice(QUEUES)
        self._post(Parcel(f"uuid-{self._serial}", name, queue, 0, fields))

    def _post(self, parcel: Parcel) -> None:
        client = self._chance.choice(self._clients)
        if self._chance.random() >= self._untraced:
            told = {"queue": parcel.queue, "retries": parcel.retries, **parcel.fields}
            self._say(client, client.sent(parcel.uuid, self._at(client), parcel.name, **told))
        self._queues[parcel.queue].append(parcel)

    def _any(self, shelf: str) -> Iterator[tuple[Worker, Parcel]]:
        """A worker that holds something so, and one of these: none or one pair."""
        found = [(w, p) for w in self._workers if w.alive for p in getattr(w, shelf)]
        if found:
            yield self._chance.choice(found)

    def _receive(self) -> None:
        waiting = [queue for queue in self._queues.values() if queue]
        workers = [worker for worker in self._workers if worker.alive]
        if waiting and workers:
            queue, worker = self._chance.choice(waiting), self._chance.choice(workers)
            parcel = queue.pop(0 if self._chance.random() < 0.9 else -1)
            fields = {"retries": parcel.retries, **parcel.fields}
            name = parcel.name if self._chance.random() > 0.02 else "Shadow"
            self._tell(worker, "received", parcel.uuid, name=name, **fields)
            worker.reserved.append(parcel)

    def _start(self) -> None:
        for worker, parcel in self._any("reserved"):
            worker.reserved.remove(parcel)
            worker.running.append(parcel)
            worker.starts += 1
            self._tell(worker, "started", parcel.uuid)

    def _end(self) -> None:
        for worker, parcel in self._any("running"):
            worker.running.remove(parcel)
            word = self._chance.choice(("succeeded", "succeeded", "succeeded", "failed"))
            self._tell(worker, word, parcel.uuid)

    def _end_strangely(self) -> None:
        for worker, parcel in self._any("running"):
            worker.running.remove(parcel)
            word = self._chance.choice(("rejected", "revoked", "cancelled", "twice", "silent"))
            if word == "twice":
                self._tell(worker, "failed", parcel.uuid)
                self._tell(worker, self._chance.choice(("failed", "rejected")), parcel.uuid)
            elif word == "revoked":
                self._tell(worker, word, parcel.uuid, terminated=True)
            elif word != "silent":
                self._tell(worker, word, parcel.uuid)
            if word in ("rejected", "cancelled"):
                self._queues[parcel.queue].append(parcel)

    def _ask_again(self) -> None:
        """An attempt publishes the next one; that it did so is told later."""
        for worker, parcel in self._any("running"):
            worker.running.remove(parcel)
            worker.asked.append(parcel)
            self._post(parcel.again())

    def _retry(self) -> None:
        for worker, parcel in self._any("asked"):
            worker.asked.remove(parcel)
            rare = self._chance.random() < 0.05  # retry(throw=False)
            self._tell(worker, "succeeded" if rare else "retried", parcel.uuid)

    def _revoke(self) -> None:
        for worker, parcel in self._any("reserved"):
            worker.reserved.remove(parcel)
            self._tell(worker, "revoked", parcel.uuid)

    def _refuse(self) -> None:
        """A message comes to its end at a worker that never receives it."""
        for queue in self._queues.values():
            workers = [worker for worker in self._workers if worker.alive]
            if queue and workers:
                parcel, worker = queue.pop(0), self._chance.choice(workers)
                if self._chance.random() < 0.5:
                    self._tell(worker, "revoked", parcel.uuid)
                else:
                    exception = f"NotRegistered('{parcel.name}')"
                    self._tell(worker, "failed", parcel.uuid, exception=exception)
                return

    def _redeliver(self) -> None:
        """The broker loses patience and delivers once more what somebody holds."""
        shelf = self._chance.choice(("reserved", "running", "asked"))
        for _, parcel in self._any(shelf):
            self._queues[parcel.queue].append(parcel)

    def _reconnect(self) -> None:
        """A worker loses the broker, drops what has not started, and comes again."""
        for worker in self._workers:
            if worker.alive and worker.reserved:
                for parcel in worker.reserved:
                    self._queues[parcel.queue].append(parcel)
                worker.reserved.clear()
                self._beat_of(worker, "online")
                return

    def _beat(self) -> None:
        alive = [worker for worker in self._workers if worker.alive]
        if alive:
            self._beat_of(self._chance.choice(alive), "beat")

    def _beat_of(self, worker: Worker, word: str) -> None:
        process, active = worker.process, len(worker.running) + len(worker.asked)
        beat = getattr(process, word)(self._at(process), worker.starts, active=active)
        self._say(process, beat)

    def _all_beat(self) -> None:
        for worker in self._workers:
            if worker.alive:
                self._beat_of(worker, "beat")

    def _stop(self) -> None:
        """A worker dies or says goodbye; what it had goes back to the broker, or does not."""
        worker = self._chance.choice(self._workers)
        if not worker.alive:
            return
        if self._chance.random() < 0.4:
            self._beat_of(worker, "offline")
        for parcel in (*worker.reserved, *worker.running, *worker.asked):
            if self._chance.random() < 0.7:
                self._queues[parcel.queue].append(parcel)
        worker.alive = False

    def _begin(self) -> None:
        """A worker begins anew where one stopped, under another pid or the same."""
        for place, old in enumerate(self._workers):
            if not old.alive:
                process = old.process
                if self._chance.random() < 0.7:
                    process = Process(process.hostname, process.pid + 1)
                self._workers[place] = Worker(process)
                if self._chance.random() < 0.8:
                    self._beat_of(self._workers[place], "online")
                return

    def _rebase(self) -> None:
        self._do("rebase")


_USUAL: tuple[Callable[[Cluster], None], ...] = (
    Cluster._publish, Cluster._publish, Cluster._receive, Cluster._receive, Cluster._start,
    Cluster._start, Cluster._end, Cluster._end, Cluster._hear, Cluster._hear, Cluster._hear,
    Cluster._hear, Cluster._hear, Cluster._beat, Cluster._ask_again, Cluster._retry,
    Cluster._let_time_pass,
)  # fmt: skip
_RARE: tuple[Callable[[Cluster], None], ...] = (
    Cluster._end_strangely, Cluster._revoke, Cluster._refuse, Cluster._redeliver,
    Cluster._reconnect, Cluster._stop, Cluster._begin, Cluster._all_beat, Cluster._hear_again,
    Cluster._rebase, Cluster._retry, Cluster._ask_again, Cluster._receive, Cluster._start,
    Cluster._hear, Cluster._let_time_pass,
)  # fmt: skip
