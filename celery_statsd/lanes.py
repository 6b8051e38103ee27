"""Where the usual tasks are added up before the aggregator: one lane for each task, worker, queue.

An event of a usual task is put into one lane, whatever families it counts in; now and then all
lanes are folded into the aggregator, as the rules' rows say. So an event costs no look-up for each
family, and the timers' values are made of many tasks at once.

A lane's counters only grow. What came since the last folding is the difference, and what waits or
runs in it is what came in less what went out.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
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


def speakers(news: Moment, told: int) -> tuple[int, ...]:
    """The places of the timers that speak when `news` becomes known of something of which `told`
    is."""
    return tuple(
        place
        for place, rule in enumerate(TIMERS)
        if news in rule.needs and not sum(need.bit for need in rule.needs) & ~told
    )


_COUNTED = (Moment.STARTED, Moment.SUCCEEDED, Moment.FAILED, Moment.RETRIED)
_RUNS = Moment.TRACED.bit | Moment.RECEIVED.bit | Moment.STARTED.bit
VOICES = tuple(
    (moment, place)
    for moment in (*_COUNTED, Moment.TRACED)
    for place in speakers(moment, _RUNS | moment.bit)
)
"""When timers speak of a usual task: at which moment which of them. TRACED is when the sending is
heard of after the start."""

_SPEAKING = {
    moment.word: [
        (voice, TIMERS[place].times) for voice, (at, place) in enumerate(VOICES) if at is moment
    ]
    for moment in (*_COUNTED, Moment.TRACED)
}

METRICS = {
    family: [
        (MOMENTS.index(rule.needs[0]), rule.metric)
        for rule in CATALOGUE
        if rule.kind is Kind.COUNTER and len(rule.needs) == 1 and rule.needs[0] in MOMENTS
        if family in rule.families
    ]
    for family in ("cluster", "task", "worker", "queue")
}
"""The counters of each family, each with the place of the moment that feeds it."""

EASED = 128
"""Lanes that are folded at a time between two foldings: some 10 ms."""

MUCH = 100
"""Lanes with news from which on it is worth while to fold some before the others."""

AT_ONCE, PARTS = 50_000, 25
"""Events after which all lanes are folded, however long the interval is; more than MUCH of them in
so many parts, one after the other."""

MOST_FORGOTTEN = 500
"""Lanes that are let go of at a time."""

Whose = tuple[str, str]
Series = tuple[str, str, str]

_ALL: Whose = ("cluster", "all")
_counts = attrgetter(*(moment.word for moment in MOMENTS[1:]))


class Lane:
    """The tasks called `name` that go through `queue`, None where that is not known.

    `waiting` those of them that were sent and wait in `line`, their queue; none of them was sent
    before `oldest`. `sent` and `received` are numbers, `started` ... `traced` the attempts that are
    not gathered yet; so many of each word were `gathered`, and so many moments `folded`;
    `handed_reserved` and `handed_running` went on as unusual ones. `times` are seconds, by
    the places of VOICES; `errors` the failures by class; `whose` are the families and entities it
    counts in. `eased`: it was folded since the last folding of all; `unfolded`: something that was
    gathered is not.
    """

    __slots__ = (
        "eased", "errors", "failed", "folded", "gathered", "handed_reserved", "handed_running",
        "line", "name", "oldest", "queue", "received", "retried", "sent", "started", "succeeded",
        "times", "traced", "unfolded", "waiting", "whose",
    )  # fmt: skip

    def __init__(self, name: str, queue: str | None, line: Line) -> None:
        self.name = name
        self.queue = queue
        self.line = line
        self.whose = tuple(_entities(name, queue))
        self.oldest = math.inf
        self.eased = self.unfolded = False
        self.sent = self.received = 0
        self.started: list[Any] = []
        self.succeeded: list[Any] = []
        self.failed: list[Any] = []
        self.retried: list[Any] = []
        self.traced: list[Any] = []
        self.waiting = self.handed_reserved = self.handed_running = 0
        self.gathered = dict.fromkeys(_SPEAKING, 0)
        self.folded = (0,) * len(MOMENTS)
        self.times: tuple[list[float], ...] = tuple([] for _ in VOICES)
        self.errors: dict[str, int] = {}

    @property
    def counts(self) -> tuple[int, ...]:
        """How often each of MOMENTS came."""
        started, succeeded, failed, retried, _ = self.gathered.values()
        return (
            self.sent,
            self.received,
            started + len(self.started),
            succeeded + len(self.succeeded),
            failed + len(self.failed),
            retried + len(self.retried),
        )

    @property
    def has_news(self) -> bool:
        """Whether anything came since it was folded."""
        attempts = self.started or self.succeeded or self.failed or self.retried or self.traced
        return bool(attempts or self.unfolded) or self.folded[:2] != (self.sent, self.received)

    @property
    def reserved(self) -> int:
        """Usual tasks that are received and not started."""
        return self.received - self.counts[2] - self.handed_reserved

    @property
    def running(self) -> int:
        """Usual tasks that run."""
        started, *ended = self.counts[2:]
        return started - sum(ended) - self.handed_running

    @property
    def is_busy(self) -> bool:
        """Whether any waits or runs in it."""
        return bool(self.waiting or self.reserved or self.running)

    def stages(self) -> Iterator[tuple[Stage, int]]:
        """How many are in each stage in which any was so far."""
        _, received, started, *ended = self.counts if self.has_news else self.folded
        if self.oldest < math.inf:
            yield Stage.QUEUED, self.waiting
        if received or self.handed_reserved:
            yield Stage.RESERVED, received - started - self.handed_reserved
        if started or self.handed_running:
            yield Stage.RUNNING, started - sum(ended) - self.handed_running

    def gather(self) -> None:
        """Make times and numbers of the attempts, which are let go of."""
        for word, speaking in _SPEAKING.items():
            attempts = getattr(self, word)
            if attempts:
                self.unfolded = True
                self.gathered[word] += len(attempts)
                for voice, times in speaking:
                    self.times[voice].extend(times(attempts))
                attempts.clear()


_NUMBERS = (
    "sent", "received", "waiting", "oldest", "handed_reserved", "handed_running", "eased",
    "unfolded",
)  # fmt: skip


def _plain(lane: Lane) -> list[Any]:
    """The fields of a lane as plain values."""
    lane.gather()
    numbers = [getattr(lane, field) for field in _NUMBERS]
    return [
        *(lane.name, lane.queue, numbers, lane.gathered, lane.folded),
        *(lane.times, lane.errors),
    ]


class Lanes:
    """All lanes in use, and the workers that go along them. `clamped` counts the durations that
    clocks made negative or absurd."""

    def __init__(self, queues: Queues) -> None:
        self.clamped = 0
        self._totals = [0] * len(MOMENTS)
        self._queues = queues
        self._lanes: dict[tuple[str, str | None], Lane] = {}
        self._lives: dict[Life, None] = {}

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
            "lanes": [_plain(lane) for lane in self._lanes.values()],
            "lives": [index.of(life) for life in self._lives],
        }

    def load(self, state: Mapping[str, Any], lives: Sequence[Life]) -> None:
        """Go on from what `dump` told."""
        self._totals = state["totals"]
        self.clamped = state["clamped"]
        self._lives = {lives[number]: None for number in state["lives"]}
        for name, queue, numbers, gathered, folded, times, errors in state["lanes"]:
            lane = self.of(name, queue)
            for field, number in zip(_NUMBERS, numbers, strict=True):
                setattr(lane, field, number)
            lane.line.usual += lane.waiting
            lane.gathered, lane.folded, lane.errors = dict(gathered), tuple(folded), dict(errors)
            lane.times = tuple(map(list, times))

    def enrol(self, life: Life) -> None:
        """From now on what `life` counts is folded."""
        self._lives[life] = None
        life.enrolled = True

    def of(self, name: str, queue: str | None) -> Lane:
        """The lane of these two."""
        key = (name, queue)
        return self._lanes.get(key) or self._begun(key)

    def remembered(self, name: str, queue: str | None) -> Lane:
        """The lane of these two or, when it is not in use, one that nothing is counted in."""
        return self._lanes.get((name, queue)) or Lane(name, queue, Line())

    def lives(self) -> set[Life]:
        """The workers' lives that hold a usual task."""
        return {life for life in self._lives if life.usual_reserved or life.usual_running}

    def waiting(self) -> set[Lane]:
        """The lanes in which any waits."""
        return {lane for lane in self._lanes.values() if lane.waiting}

    def overtaken(self) -> dict[Lane, float]:
        """The lanes in which some may have been left behind: those that were sent before this."""
        waiting = [lane for lane in self._lanes.values() if lane.waiting]
        return {a: a.line.overtaken for a in waiting if a.oldest < a.line.overtaken}

    def in_flight(self) -> Iterator[tuple[Stage, str, int]]:
        """How much waits and runs in each lane, by stage and task name."""
        for lane in self._lanes.values():
            for stage, number in lane.stages():
                yield stage, lane.name, number

    def busy(self) -> Iterator[tuple[str, str, int, int]]:
        """Queue, name, waiting and running of each lane whose queue is known."""
        for lane in self._lanes.values():
            if lane.queue is not None:
                yield lane.queue, lane.name, lane.waiting, lane.running

    def fold(self, aggregator: Aggregator) -> None:
        """Give the aggregator what came since the last time, and forget who has no news."""
        told = self._fold(aggregator, self._lanes.values())
        lanes = self._lanes.items()
        over = [k for k, lane in lanes if not (lane.eased or lane in told or lane.is_busy)]
        for lane in self._lanes.values():
            lane.eased = False
        for key in over[:MOST_FORGOTTEN]:
            self._forget(aggregator, key)
        self._fold_lives(aggregator)

    @property
    def stride(self) -> int:
        """After how many events `fold_part` is due."""
        return AT_ONCE // (PARTS if len(self._lanes) > MUCH else 1)

    def fold_part(self, aggregator: Aggregator) -> None:
        """The same for the part of the lanes whose turn it is."""
        part = len(self._lanes) * self.stride // AT_ONCE + 1
        self._fold_in_turn(aggregator, list(islice(self._lanes.values(), part)))

    def ease(self, aggregator: Aggregator) -> bool:
        """Fold some lanes, if MUCH have news: to fold them all would take its time. If they had."""
        news = [lane for lane in self._lanes.values() if lane.has_news]
        if len(news) > MUCH:
            self._fold_in_turn(aggregator, news[:EASED])
        return len(news) > MUCH

    def _fold_in_turn(self, aggregator: Aggregator, some: Sequence[Lane]) -> None:
        for lane in self._fold(aggregator, some):
            lane.eased = True
        for lane in some:  # the others come first the next time
            key = lane.name, lane.queue
            self._lanes[key] = self._lanes.pop(key)

    def _fold(self, aggregator: Aggregator, lanes: Iterable[Lane]) -> set[Lane]:
        """Give the aggregator what came to some; those to which anything did."""
        times = defaultdict[Series, list[float]](list)
        sums: dict[Whose, list[int]] = {}
        told: set[Lane] = set()
        for lane in lanes:
            if lane.has_news:
                told.add(lane)
                lane.gather()
                counts = lane.counts
                news = list(map(sub, counts, lane.folded))
                lane.folded, lane.unfolded = counts, False
                self._totals = list(map(add, self._totals, news))
                for whose in lane.whose:
                    known = sums.get(whose)
                    sums[whose] = news if known is None else list(map(add, known, news))
                self._take_times(lane, times)
            for error, number in lane.errors.items():
                aggregator.count("exception", error, "failed", number)
            lane.errors.clear()
        for whose, news in sums.items():
            _count(aggregator, whose, news)
        for series, values in times.items():
            aggregator.time_all(*series, values)
        return told

    def _fold_lives(self, aggregator: Aggregator) -> None:
        for life in list(self._lives):
            counts = _counts(life)
            if counts != life.folded:
                news = list(map(sub, counts, life.folded))
                life.folded = counts
                _count(aggregator, ("worker", life.entity), [0, *news])  # none of them sends
            elif not (life.usual_reserved or life.usual_running):
                del self._lives[life]
                life.enrolled = False

    def _begun(self, key: tuple[str, str | None]) -> Lane:
        line = Line() if key[1] is None else self._queues.line(key[1])
        line.lanes += 1
        lane = self._lanes[key] = Lane(*key, line)
        return lane

    def _forget(self, aggregator: Aggregator, key: tuple[str, str | None]) -> None:
        """The lane is empty; what was seen of its name stays, as 0."""
        lane = self._lanes.pop(key)
        lane.line.lanes -= 1
        for stage, number in lane.stages():
            aggregator.gauge("task", lane.name, stage.value, number)

    def _take_times(self, lane: Lane, times: dict[Series, list[float]]) -> None:
        for (_, place), seconds in zip(VOICES, lane.times, strict=True):
            if seconds:
                rule, values = TIMERS[place], self.milliseconds(seconds)
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


def _count(aggregator: Aggregator, whose: Whose, news: Sequence[int]) -> None:
    """Let the aggregator have the counters of an entity: so many of each of MOMENTS came."""
    amounts = [(metric, news[place]) for place, metric in METRICS[whose[0]] if news[place]]
    if amounts:
        aggregator.count_all(*whose, amounts)


def _entities(name: str, queue: str | None) -> Iterator[Whose]:
    yield _ALL
    yield "task", name
    if queue is not None:
        yield "queue", queue
