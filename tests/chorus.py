"""A chorus without threads and sockets: agents made of a chronicle and a speaker, at a Redis that
is a list. Each step of each agent is the test's to make, so that any interleaving can be tried.

The Redis answers what the scripts of `celery_statsd.source.lease` ask of a real one.
"""

import io
import threading
from collections import Counter, deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self, cast

from celery_statsd import speaker as speaking
from celery_statsd.chronicle import Chronicle
from celery_statsd.log import Log
from celery_statsd.metric import Batch
from celery_statsd.pipeline import Pipeline
from celery_statsd.sinks.base import Address
from celery_statsd.sinks.memory import MemorySink
from celery_statsd.source.base import Joined, Mark, Said, Source, Turn
from celery_statsd.speaker import Speaker
from celery_statsd.vitals import Vitals
from tests.bodies import NOON, Process, body

SINKS = ("statsd://a", "graphite://b")

STEP = 0.01
"""Seconds that pass from one step to the next."""

FREQ = 0.5
"""Seconds between two heartbeats of the worker; a beat is due each second."""


class Wire:
    """What Redis is to a chorus: a stream that all subscribers hear, and a few keys."""

    def __init__(self) -> None:
        self.now = NOON
        self.stream: list[Any] = []
        self.lease = self.cut = ""
        self.said: Said | None = None
        self.warm: set[str] = set()
        self._marks = 0

    def take(self, identity: str, knows: str) -> bool:
        """The script `_TAKE`, as long as nobody is late with it."""
        others = self.warm - {identity}
        takes = self.lease == identity or (not self.lease and (knows == "warm" or not others))
        self.lease = identity if takes else self.lease
        self.warm = others
        if knows == "warm" or (takes and knows == "cold"):
            self.warm = others | {identity}
        return takes

    def mark(self, identity: str, stamp: float) -> None:
        """The script `_MARK`."""
        if self.lease == identity:
            self._marks += 1
            self.cut = f"{identity}:{self._marks}"
            self.stream.append((self.cut, stamp))

    def say(self, said: Said) -> None:
        """The script `_SAY`."""
        self.said = said
        self.stream.append(said)

    def leave(self, identity: str) -> None:
        """The script `_LEAVE`; and what time does to the keys of the dead."""
        self.lease = "" if self.lease == identity else self.lease
        self.warm.discard(identity)


class Voice(Source):
    """One agent's place in the stream."""

    place = "wire://"
    chorus = True

    def __init__(self, wire: Wire, log: Log, identity: str) -> None:
        super().__init__(log)
        self.identity = identity
        self.connected = True
        self.at = len(wire.stream)
        self.knows = "cold"
        self._marks: set[str] = set()
        self._wire = wire
        wire.leave(identity)
        cut = wire.cut
        self.joined = Joined(cut, cut.rpartition(":")[0] == identity, wire.said)

    @property
    def alone(self) -> bool:
        return not self._wire.warm - {self.identity}

    def renew(self) -> None:
        """Look at the lease."""
        if self.connected:
            self._wire.take(self.identity, self.knows)

    def retire(self) -> None:
        self.knows = "retired"
        self.renew()

    def mark(self, stamp: float, last: bool = False) -> None:
        if last:
            self.renew()
        if self.connected:
            self._wire.mark(self.identity, stamp)

    def say(self, said: Said) -> None:
        if self.connected:
            self._wire.say(said)

    def hear(self) -> bytes | Turn:
        """The next of the stream."""
        heard = self._wire.stream[self.at]
        self.at += 1
        if isinstance(heard, Said):
            whole = heard.cut in self._marks and not heard.lacking
            self.knows = "warm" if whole and self.knows == "cold" else self.knows
        if not isinstance(heard, tuple) or isinstance(heard, Said):
            return cast("bytes | Turn", heard)
        self._marks.add(heard[0])
        mine = heard[0].rpartition(":")[0] == self.identity == self._wire.lease
        return Mark(*heard, mine)

    def ack(self) -> None:
        """Nothing to do."""

    def _open(self) -> None:
        """Nothing to do."""

    def _read(self, timeout: float) -> list[Any]:
        raise NotImplementedError

    def _drop(self) -> None:
        """Nothing to do."""

    def _leave(self) -> None:
        """Nothing to do."""


class Mail:
    """An outlet that delivers when it is told to."""

    def __init__(self, sink: MemorySink, log: Log, delivered: Any) -> None:
        del log
        self.sink = sink
        self.given_up = 0
        self.entries: deque[tuple[int, Batch]] = deque()
        self._delivered = delivered

    def put(self, number: int, batch: Batch) -> None:
        """Leave it."""
        self.entries.append((number, batch))

    def start(self) -> None:
        """Nothing runs."""

    def finish(self) -> None:
        """Nothing runs."""

    def is_alive(self) -> bool:
        """It never needs to be started."""
        return True

    def deliver(self, sums: "Sums") -> None:
        """Send the next one, if there is one."""
        if self.entries:
            number, batch = self.entries.popleft()
            sums.take(batch)
            if number:
                self._delivered(self.sink.address.text, number)


class Sums:
    """What one sink has got of the cluster, by metric, and of tasks, how often each started; and
    which series came twice at a time."""

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self.tasks: Counter[str] = Counter()
        self.again: list[tuple[str, float]] = []
        self._seen: set[tuple[str, float]] = set()

    def take(self, batch: Batch) -> None:
        """Add a flush."""
        for series, total in batch.counters:
            place = (series.path, batch.time)
            if series.family == "cluster":
                self.again += [place] * (place in self._seen)
                self._seen.add(place)
                self.counters[series.metric] += total
            elif (series.family, series.metric) == ("worker", "events_lost"):
                self.counters["events_lost"] += total
            elif (series.family, series.metric) == ("task", "started"):
                self.tasks[series.entity] += total


class Singer:
    """One agent: it lives, dies, and comes back, with its journal if it has a `path`."""

    def __init__(self, wire: Wire, name: str, path: Path | None, sums: dict[str, Sums]) -> None:
        self.name = name
        self.alive = False
        self._wire, self._path, self._sums = wire, path, sums

    def start(self) -> None:
        """A new process: it joins the stream, and begins with what it had."""
        log = Log(stream=io.StringIO())
        now = self._wire.now
        self.chronicle = Chronicle(lambda: Pipeline(host=self.name), (), log)
        self.lock = threading.Lock()
        source = Voice(self._wire, log, "")
        vitals = Vitals(self.chronicle, source, self.name, "wire")
        self.speaker = Speaker(self.chronicle, source, vitals, self.lock, log, host=self.name)
        self.speaker.adopt([MemorySink(Address.parse(sink)) for sink in SINKS])
        lacking = self.chronicle.open(self._path, now)
        vitals.begin()
        self.speaker.begin(lacking)
        self.voice = source
        self.join()
        self.alive = True

    def join(self) -> None:
        """Hear the stream from here on."""
        log = Log(stream=io.StringIO())
        self.voice.__init__(self._wire, log, self.chronicle.identity)  # type: ignore[misc]
        with self.lock:
            self.speaker.serve(False, self._wire.now)
            self.chronicle.deaf(self._wire.now)
            self.speaker.turn(self.voice.joined, self._wire.now)

    @property
    def warm(self) -> bool:
        """Whether it has heard all that is not said, and whoever leaves may count on it."""
        return self.alive and self.voice.identity in self._wire.warm

    @property
    def behind(self) -> int:
        """How much of the stream it has still to hear."""
        return len(self._wire.stream) - self.voice.at

    @property
    def mail(self) -> list[Mail]:
        """What waits to be sent."""
        return cast("list[Mail]", self.speaker.outlets)

    def read(self, most: int = 1) -> None:
        """Hear what comes next, as far as a turn goes."""
        for _ in range(min(most, self.behind)):
            heard, now = self.voice.hear(), self._wire.now
            with self.lock:
                if self.voice.chorus:
                    self.speaker.serve(self.voice.connected, now)
                if isinstance(heard, bytes):
                    self.chronicle.feed([heard], now)
                else:
                    self.speaker.turn(heard, now)
                self.chronicle.tick(now)
                self.chronicle.commit()

    def beat(self, stamp: float) -> None:
        """A flush is due."""
        self.speaker.beat(stamp)

    def deliver(self, sink: int) -> None:
        """One flush reaches a sink."""
        self.mail[sink].deliver(self._sums[SINKS[sink]])

    def kill(self) -> None:
        """As SIGKILL and, a while later, time leave it."""
        self.alive = False
        if self.chronicle._lock:
            self.chronicle._lock.close()
        if self.chronicle._journal:
            self.chronicle._journal.close()
        self._wire.leave(self.voice.identity)

    def stop(self, stamp: float) -> None:
        """As SIGTERM: the last words, the farewell, all mail."""
        self.voice.retire()
        if self.voice.alone:
            self.speaker.leaving = True
            self.voice.mark(stamp, last=True)
        while self.behind and not self.speaker.said_farewell:
            self.read()
        if not self.speaker.said_farewell:
            with self.lock:
                self.speaker.farewell(self._wire.now, stamp)
        while any(mail.entries for mail in self.mail):
            for sink in range(len(SINKS)):
                self.deliver(sink)
        self.voice.connected = False
        with self.lock:
            self.chronicle.close(self._wire.now)
        self.kill()


class Stage:
    """A worker, some agents, and the truth."""

    def __init__(self, paths: Iterable[Path | None]) -> None:
        self.wire = Wire()
        self.sums = {sink: Sums() for sink in SINKS}
        self.agents = [
            Singer(self.wire, f"agent{number}", path, self.sums)
            for number, path in enumerate(paths)
        ]
        self.truth = 0
        self._worker = Process("w1@web1")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for agent in self.living:
            agent.kill()

    def work(self) -> None:
        """One attempt of a task of its own, from its receipt to its end."""
        self.truth += 1
        uuid, now = f"t{self.truth}", self.wire.now
        one = self._worker
        self.wire.stream.append(
            body(
                one.received(uuid, now, name=uuid),
                one.started(uuid, now),
                one.succeeded(uuid, now),
            )
        )

    def pulse(self) -> None:
        """A heartbeat of the worker."""
        self.wire.stream.append(body(self._worker.beat(self.wire.now, self.truth, freq=FREQ)))

    def unheard(self, attempts: int) -> None:
        """So many attempts that nobody hears of."""
        for _ in range(attempts):
            self.work()
            self.wire.stream.pop()

    def forget(self) -> None:
        """Redis loses all it knows, and all who hear it."""
        self.wire.lease = self.wire.cut = ""
        self.wire.said, self.wire.warm = None, set()
        for agent in self.living:
            agent.voice.connected = False

    def pass_time(self) -> None:
        """From one step to the next."""
        self.wire.now += STEP

    @property
    def hearing(self) -> list[Singer]:
        """Those of them who are connected."""
        return [agent for agent in self.living if agent.voice.connected]

    @property
    def living(self) -> list[Singer]:
        """The agents that run."""
        return [agent for agent in self.agents if agent.alive]

    def beat(self) -> None:
        """A flush is due everywhere."""
        stamp = float(int(self.wire.now) + 1)
        self.wire.now = stamp + STEP
        for agent in self.living:
            agent.beat(stamp)

    def settle(self) -> None:
        """Let the living go on until all is said."""
        for _ in range(6):
            for _ in range(4):
                self.wire.now += FREQ
                self.pulse()
                self._hear()
            self.tell()

    def tell(self) -> None:
        """A flush, which all sinks get and all agents know of."""
        self.beat()
        self._hear()
        for agent in self.living:
            while any(mail.entries for mail in agent.mail):
                for sink in range(len(SINKS)):
                    agent.deliver(sink)
        self._hear()

    def go_on(self, attempts: int) -> None:
        """So many attempts in half a second, a heartbeat, and a flush, if one is due."""
        for _ in range(attempts):
            self.work()
        self.wire.now += FREQ
        self.pulse()
        self._hear()
        if self.wire.now % 1.0 < FREQ:
            self.tell()

    def _hear(self) -> None:
        for agent in self.hearing:
            agent.read(len(self.wire.stream))
            agent.voice.renew()


speaking_outlet = (speaking, "Outlet", Mail)
"""What is to be patched while a stage is played on."""
