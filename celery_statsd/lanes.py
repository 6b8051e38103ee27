"""Where the usual tasks are added up before the aggregator: one lane for each task, worker, queue.

An event of a usual task is one number in one lane, whatever families it counts in; now and then
all lanes are folded into the aggregator, as the rules' rows say. So an event costs no look-up for
each family, and a timer's value is one append.

A lane's counters only grow. What came since the last folding is the difference, and what waits or
runs in it is what came in less what went out.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from operator import add, attrgetter, sub
from typing import Any

from celery_statsd.aggregator import Aggregator
from celery_statsd.events import Moment
from celery_statsd.life import Index, Life
from celery_statsd.metric import Kind
from celery_statsd.queues import Line, Queues
from celery_statsd.rules import CATALOGUE
from celery_statsd.rules.task import LONGEST
from celery_statsd.task import Stage

MOMENTS = (
    Moment.SENT, Moment.RECEIVED, Moment.STARTED, Moment.SUCCEEDED, Moment.FAILED, Moment.RETRIED,
)  # fmt: skip
"""What can become known of a usual task."""

TIMERS = tuple(
    rule for rule in CATALOGUE if rule.kind is Kind.TIMER and set(rule.needs) & set(MOMENTS)
)
"""The rules whose values a lane keeps, each under its place in this table."""

Speaker = tuple[int, Any]


def speakers(news: Moment, told: int) -> tuple[Speaker, ...]:
    """The timers that speak when `news` becomes known of something of which `told` is: the place
    and the value function of each."""
    return tuple(
        (place, rule.value)
        for place, rule in enumerate(TIMERS)
        if news in rule.needs and not sum(need.bit for need in rule.needs) & ~told
    )


METRICS = {
    family: [
        (place, rule.metric)
        for place, moment in enumerate(MOMENTS)
        for rule in CATALOGUE
        if rule.kind is Kind.COUNTER and rule.needs == (moment,) and family in rule.families
    ]
    for family in ("cluster", "task", "worker", "queue")
}
"""The counters that a lane feeds in each family: the place in MOMENTS of each, and its name."""

Whose = tuple[str, str]
Series = tuple[str, str, str]

_ALL: Whose = ("cluster", "all")
_NONE = [0] * len(MOMENTS)
_counts = attrgetter(*(moment.word for moment in MOMENTS))


class Lane:
    """The tasks called `name` that the process `life` got from `queue`.

    A lane without a life is that of the sendings: `sent` are those counted here, `waiting` those
    that wait in `line`, their queue; none of them was sent before `oldest`. `received` ... `failed`
    are the usual tasks' moments; `handed_reserved` and `handed_running` are those that went on as
    unusual ones. `times` are seconds, by the places of TIMERS; `errors` the failures by class;
    `whose` are the families and entities it counts in.
    """

    __slots__ = (
        "errors", "failed", "folded", "handed_reserved", "handed_running", "life", "line", "name",
        "oldest", "queue", "received", "retried", "sent", "started", "succeeded", "times",
        "waiting", "whose",
    )  # fmt: skip

    def __init__(self, name: str, life: Life | None, queue: str | None, line: Line) -> None:
        self.name = name
        self.life = life
        self.queue = queue
        self.line = line
        self.whose = tuple(_entities(name, self.hostname, queue))
        self.oldest = math.inf
        self.sent = self.received = self.started = self.succeeded = self.failed = 0
        self.retried = 0
        self.waiting = self.handed_reserved = self.handed_running = 0
        self.folded = (0,) * len(MOMENTS)
        self.times: tuple[list[float], ...] = tuple([] for _ in TIMERS)
        self.errors: dict[str, int] = {}

    @property
    def reserved(self) -> int:
        """Usual tasks that are received and not started."""
        return self.received - self.started - self.handed_reserved

    @property
    def running(self) -> int:
        """Usual tasks that run."""
        ended = self.succeeded + self.failed + self.retried
        return self.started - ended - self.handed_running

    def stages(self) -> Iterator[tuple[Stage, int]]:
        """How many are in each stage in which any was so far."""
        if self.oldest < math.inf:
            yield Stage.QUEUED, self.waiting
        if self.received or self.handed_reserved:
            yield Stage.RESERVED, self.reserved
        if self.started or self.handed_running:
            yield Stage.RUNNING, self.running

    @property
    def hostname(self) -> str | None:
        """The node name of the worker, None for sendings."""
        return self.life.hostname if self.life else None


_NUMBERS = (
    *(moment.word for moment in MOMENTS),
    *("waiting", "oldest", "handed_reserved", "handed_running"),
)


def _plain(lane: Lane, index: Index) -> list[Any]:
    """The fields of a lane as plain values."""
    life = None if lane.life is None else index.of(lane.life)
    numbers = [getattr(lane, field) for field in _NUMBERS]
    return [lane.name, life, lane.queue, numbers, lane.folded, lane.times, lane.errors]


class Lanes:
    """All lanes in use. `clamped` counts the durations that clocks made negative or absurd."""

    def __init__(self, queues: Queues) -> None:
        self.clamped = 0
        self._totals = _NONE
        self._queues = queues
        self._lanes: dict[tuple[str, Life | None, str | None], Lane] = {}

    @property
    def totals(self) -> Counter[Moment]:
        """How often each moment was folded."""
        return Counter(dict(zip(MOMENTS, self._totals, strict=True)))

    def __len__(self) -> int:
        """How many there are."""
        return len(self._lanes)

    def dump(self, index: Index) -> dict[str, Any]:
        """Itself as plain values; lives by their number."""
        return {
            "totals": self._totals,
            "clamped": self.clamped,
            "lanes": [_plain(lane, index) for lane in self._lanes.values()],
        }

    def load(self, state: Mapping[str, Any], lives: Sequence[Life]) -> None:
        """Go on from what `dump` told."""
        self._totals = state["totals"]
        self.clamped = state["clamped"]
        for name, life, queue, numbers, folded, times, errors in state["lanes"]:
            lane = self.of(name, None if life is None else lives[life], queue)
            for field, number in zip(_NUMBERS, numbers, strict=True):
                setattr(lane, field, number)
            lane.line.usual += lane.waiting
            lane.folded, lane.errors = tuple(folded), dict(errors)
            lane.times = tuple(map(list, times))

    def of(self, name: str, life: Life | None, queue: str | None) -> Lane:
        """The lane of these three."""
        key = (name, life, queue)
        return self._lanes.get(key) or self._begun(key)

    def remembered(self, name: str, life: Life | None, queue: str | None) -> Lane:
        """The lane of these three or, when it is not in use, one that nothing is counted in."""
        return self._lanes.get((name, life, queue)) or Lane(name, life, queue, Line())

    def lives(self) -> set[Life]:
        """The workers' lives that hold a usual task."""
        lanes = self._lanes.values()
        return {lane.life for lane in lanes if lane.life and (lane.reserved or lane.running)}

    def overtaken(self) -> dict[Lane, float]:
        """The lanes in which some may have been left behind: those that were sent before this."""
        waiting = [lane for lane in self._lanes.values() if lane.waiting]
        return {a: a.line.overtaken for a in waiting if a.oldest < a.line.overtaken}

    def in_flight(self) -> Iterator[tuple[Stage, str, int]]:
        """How much waits and runs in each lane, by stage and task name."""
        for lane in self._lanes.values():
            for stage, number in lane.stages():
                yield stage, lane.name, number

    def fold(self, aggregator: Aggregator) -> None:
        """Give the aggregator what came since the last time, and forget lanes without news."""
        idle, sums, times = [], dict[Whose, list[int]](), defaultdict[Series, list[float]](list)
        for key, lane in self._lanes.items():
            counts = _counts(lane)
            if counts != lane.folded:
                _add(sums, lane, counts)
                self._gather(lane, times)
            elif any(lane.times):
                self._gather(lane, times)
            elif not (lane.waiting or lane.reserved or lane.running):
                idle.append(key)
            for error, number in lane.errors.items():
                aggregator.count("exception", error, "failed", number)
            lane.errors.clear()
        self._count(aggregator, sums)
        for series, values in times.items():
            aggregator.time_all(*series, values)
        for key in idle:
            self._forget(aggregator, key)

    def _begun(self, key: tuple[str, Life | None, str | None]) -> Lane:
        line = Line() if key[2] is None else self._queues.line(key[2])
        line.lanes += 1
        lane = self._lanes[key] = Lane(*key, line)
        return lane

    def _forget(self, aggregator: Aggregator, key: tuple[str, Life | None, str | None]) -> None:
        """The lane is empty; what was seen of its name stays, as 0."""
        lane = self._lanes.pop(key)
        lane.line.lanes -= 1
        for stage, number in lane.stages():
            aggregator.gauge("task", lane.name, stage.value, number)

    def _count(self, aggregator: Aggregator, sums: dict[Whose, list[int]]) -> None:
        """Let the aggregator have the counters of each entity, by the places of MOMENTS."""
        self._totals = list(map(add, self._totals, sums.get(_ALL, _NONE)))
        for (family, entity), news in sums.items():
            for place, metric in METRICS[family]:
                if news[place]:
                    aggregator.count(family, entity, metric, news[place])

    def _gather(self, lane: Lane, times: dict[tuple[str, str, str], list[float]]) -> None:
        for rule, seconds in zip(TIMERS, lane.times, strict=True):
            if seconds:
                values = self.milliseconds(seconds)
                for family, entity in lane.whose if values else ():
                    if family in rule.families:
                        times[family, entity, rule.metric] += values
                seconds.clear()

    def milliseconds(self, seconds: list[float]) -> list[float]:
        """In ms; what clocks made negative is 0, what is absurd is left out: counted."""
        if seconds and (min(seconds) < 0.0 or not max(seconds) <= LONGEST):
            self.clamped += sum(not 0.0 <= value <= LONGEST for value in seconds)
            seconds = [max(0.0, value) for value in seconds if value <= LONGEST]
        return [value * 1000.0 for value in seconds]


def _add(sums: dict[Whose, list[int]], lane: Lane, counts: tuple[int, ...]) -> None:
    """Add the news of `lane` to what came for each entity it belongs to."""
    news = list(map(sub, counts, lane.folded))
    lane.folded = counts
    for whose in lane.whose:
        known = sums.get(whose)
        sums[whose] = news if known is None else list(map(add, known, news))


def _entities(name: str, worker: str | None, queue: str | None) -> Iterator[Whose]:
    yield _ALL
    yield "task", name
    if worker is not None:
        yield "worker", worker
    if queue is not None:
        yield "queue", queue
