"""Three days of a made cluster, in whisper files: what was done is known, attempt by attempt.

Every number a dashboard is to show is counted here from the list of attempts, never from what was
written. A flush at t tells what happened in (t - 10, t], and is written at t.
"""

import bisect
import itertools
import pickle
import random
import subprocess
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import NamedTuple

from celery_statsd.dashboards.flavours import FLAVOURS, Layout
from celery_statsd.metric import Kind
from celery_statsd.rules import COUNTERS
from tests.servers.graphite import HOME

STEP = 10
"""Seconds from flush to flush."""

DAYS = 3
BEGINNING = DAYS * 86400

RANGES = {"5min": 300, "1h": 3600, "24h": 86400, "3d": BEGINNING, "7d": 7 * 86400}
"""Seconds."""

FINE = 6 * 3600
"""Seconds for which each flush is kept; before, a point is a minute, and from a week on ten."""

TASKS = ("shop-tasks-send_mail", "shop-tasks-resize", "shop-tasks-bill", "etl-load")
WORKERS = ("w1_at_web1", "w3_at_web2")
OUTCOMES = ("succeeded", "failed", "retried", "lost")

METHODS = {"count": "sum", "sum": "sum", "upper": "max", "lower": "min"}

Points = list[tuple[int, float]]
Slots = dict[int, float]
Values = Mapping[int, Sequence[float]]
"""What each flush has of a metric."""

Detail = tuple[Kind, str, str, str, Values]
"""Kind, family, entity, metric."""


class Attempt(NamedTuple):
    """One receipt by a worker and what became of it, in epoch seconds."""

    task: str
    worker: str
    received: float
    started: float
    ended: float
    outcome: str


class Told(NamedTuple):
    """Something counted: what, when, of which attempt."""

    metric: str
    at: float
    attempt: Attempt

    @property
    def slot(self) -> int:
        """The flush that tells of it."""
        return -int(-self.at // STEP) * STEP


@dataclass
class Story:
    """How one app's agent fared: what it told and did not, and what reached Graphite.

    `told` is what it counted; `gone` are flushes whose one datagram of counters was dropped;
    `silent` are flushes of which there is nothing at all; `away` those between a farewell and the
    agent's return; `in_hand` says how many attempts it knew
    to be in progress at a time."""

    told: list[Told]
    in_hand: Callable[[int], Mapping[str, int]]
    gone: frozenset[int] = frozenset()
    silent: frozenset[int] = frozenset()
    away: Collection[int] = ()
    late: Mapping[int, int] = field(default_factory=dict)

    def slot(self, one: Told) -> int:
        """When it was written: what came while the agent was down is told when it is back."""
        return self.late.get(one.slot, one.slot)

    def count(self, metrics: Iterable[str], since: int, until: int) -> int:
        """How much of it lies in the flushes of (since, until] that arrived."""
        wanted = frozenset(metrics)
        slots = (self.slot(one) for one in self.told if one.metric in wanted)
        missing = self.gone | self.silent
        return sum(since < slot <= until and slot not in missing for slot in slots)


class World:
    """The cluster until `end`, a whole multiple of 600 s."""

    def __init__(self, end: int) -> None:
        self.end = end
        self.begin = end - BEGINNING
        self.attempts = list(self._attempts(random.Random(42)))
        self.stopped_at = end - 7200
        self.details = 3 * 3600
        self.killed_at = end - 1200
        self.back_at = self.killed_at + 30

    @cached_property
    def stories(self) -> dict[str, Story]:
        """By app."""
        clean = self._told(self.attempts)
        random_slots = random.Random(7).sample(self.slots, len(self.slots) // 100)
        stop = self.end - 1500
        down = range(stop + STEP, stop + 60, STEP)
        return {
            "shop": Story(clean, self._in_hand(self.attempts)),
            "dropped": Story(clean, self._in_hand(self.attempts), gone=frozenset(random_slots)),
            "nulls": Story(
                clean, self._in_hand(self.attempts), silent=frozenset([*down, self.end]),
                late=dict.fromkeys(down, stop + 60),
            ),
            "stopped": self._stopped(clean),
            "killed": self._killed(),
        }  # fmt: skip

    @property
    def slots(self) -> range:
        """All flushes."""
        return range(self.begin + STEP, self.end + 1, STEP)

    def since(self, seconds: int) -> int:
        """Where a range of so many seconds really begins: a point of the coarser archive that lies
        in the range tells of the minute that begins with its own flush."""
        return self.end - seconds + (0 if seconds <= FINE else 60 - STEP)

    def count(self, seconds: int, test: Callable[[Told], bool]) -> int:
        """What of all that was told in the last seconds passes the test."""
        since = self.since(seconds)
        return sum(since < one.slot <= self.end and test(one) for one in self.stories["shop"].told)

    def write(self, folder: Path) -> None:
        """All series, below the whisper folder of a Graphite."""
        rows = [
            ([str(folder / f"{path.replace('.', '/')}.wsp") for path in paths], method, points)
            for paths, method, points in self._series()
        ]
        program = [str(HOME / "bin" / "python"), str(Path(__file__).with_name("archives.py"))]
        subprocess.run(program, input=pickle.dumps(rows), check=True)

    def _attempts(self, dice: random.Random) -> Iterator[Attempt]:
        at = self.begin - 3600.0
        while at < self.end:
            at += dice.expovariate(0.12)
            outcome = dice.choices(OUTCOMES, (960, 15, 20, 5))[0]
            started = at + dice.expovariate(0.5)
            ended = started + (45.0 if outcome == "lost" else dice.expovariate(0.1))
            task = dice.choices(TASKS, (60, 25, 10, 5))[0]
            yield Attempt(task, dice.choice(WORKERS[:1]), at, started, ended, outcome)

    def _told(self, attempts: Iterable[Attempt]) -> list[Told]:
        told = []
        for one in attempts:
            told.append(Told("sent", one.received - 0.8, one))
            told += [Told("received", one.received, one), Told("started", one.started, one)]
            told.append(Told(one.outcome, one.ended, one))
        return [one for one in told if self.begin < one.slot <= self.end]

    def _in_hand(self, attempts: Sequence[Attempt]) -> Callable[[int], Mapping[str, int]]:
        received = sorted(one.received for one in attempts)
        started = sorted(one.started for one in attempts)
        ended = sorted(one.ended for one in attempts)

        def in_hand(at: int) -> Mapping[str, int]:
            begun = bisect.bisect_right(started, at)
            return {
                "reserved": bisect.bisect_right(received, at) - begun,
                "running": begun - bisect.bisect_right(ended, at),
            }

        return in_hand

    def _stopped(self, told: list[Told]) -> Story:
        """An agent that said farewell to a StatsD, its gauges 0, and was back a minute later; its
        queue had kept what came in between."""
        back, in_hand = self.stopped_at + 60, self._in_hand(self.attempts)
        away = range(self.stopped_at, back, STEP)
        nothing = {"reserved": 0, "running": 0}
        late = dict.fromkeys(away[1:], back)
        return Story(told, lambda at: nothing if at in away else in_hand(at), away=away, late=late)

    def _killed(self) -> Story:
        """An agent without a journal, killed: it forgets what was in hand, hears nothing for half a
        minute, and finds what it hears of later in its middle."""
        known: list[Attempt] = []
        told: list[Told] = []
        for one in self.attempts:
            heard = [t for t in self._told([one]) if not self.killed_at < t.at <= self.back_at]
            after = [t for t in heard if t.at > self.back_at and t.metric != "sent"]
            if after and one.received <= self.back_at:
                told.append(Told("found", after[0].at, one))
                known.append(one._replace(received=after[0].at, started=after[0].at))
            told += heard
        old = self._in_hand([a for a in self.attempts if a.received <= self.killed_at])
        new = self._in_hand(known + [a for a in self.attempts if a.received > self.back_at])
        return Story(
            [one for one in told if self.begin < one.slot <= self.end],
            lambda at: old(min(at, self.killed_at)) if at <= self.back_at else new(at),
        )

    def _series(self) -> Iterator[tuple[list[str], str, Points]]:
        for app, story in self.stories.items():
            yield from self._cluster(Layout(app=app), story)
        shop = Layout(app="shop")
        for kind, family, entity, metric, points in self._details():
            for measure, measured in _measures(kind, points):
                yield _file(shop, kind, (family, entity, metric), measure, measured)

    def _cluster(self, layout: Layout, story: Story) -> Iterator[tuple[list[str], str, Points]]:
        slots = [slot for slot in self.slots if slot not in story.silent]
        counted: dict[str, Slots] = defaultdict(lambda: defaultdict(float))
        for one in story.told:
            if story.slot(one) not in story.gone:
                counted[one.metric][story.slot(one)] += 1
        for metric in COUNTERS["cluster"] if layout.app == "shop" else counted:
            points = [(slot, counted[metric].get(slot, 0)) for slot in slots]
            yield _file(layout, Kind.COUNTER, ("cluster", "all", metric), "count", points)
        in_hand = {slot: story.in_hand(slot) for slot in slots}
        for metric in ("reserved", "running"):
            points = [(slot, float(in_hand[slot][metric])) for slot in slots]
            yield _file(layout, Kind.GAUGE, ("cluster", "all", metric), "", points)
        up = [(slot, 0.0 if slot in story.away else float(slot - self.begin)) for slot in slots]
        yield _file(layout, Kind.GAUGE, ("agent", "web1", "uptime_s"), "", up)

    def _details(self) -> Iterator[Detail]:
        """What is told of the app `shop` beside its sums: three hours of it, of agents all."""
        slots = range(self.end - self.details + STEP, self.end + 1, STEP)
        yield from self._of_tasks(slots)
        yield from self._of_workers(slots)
        yield from self._of_queues(slots)
        yield from self._of_agents(slots)

    def _of_tasks(self, slots: range) -> Iterator[Detail]:
        told = [one for one in self.stories["shop"].told if one.slot in slots]
        for task, metric in itertools.product(TASKS, COUNTERS["task"]):
            of_it = (one for one in told if (one.metric, one.attempt.task) == (metric, task))
            yield Kind.COUNTER, "task", task, metric, _counted(of_it, slots)
        failed = [one for one in told if one.metric == "failed"]
        yield Kind.COUNTER, "exception", "ValueError", "failed", _counted(failed, slots)
        for task in TASKS:
            mine = self._in_hand([a for a in self.attempts if a.task == task])
            for metric in ("reserved", "running"):
                points = {slot: (float(mine(slot)[metric]),) for slot in slots}
                yield Kind.GAUGE, "task", task, metric, points
        yield Kind.GAUGE, "cluster", "all", "queued", dict.fromkeys(slots, (12.0,))
        for family, entity in (("cluster", "all"), *(("task", task) for task in TASKS)):
            ends = [one for one in told if one.metric in OUTCOMES and one.metric != "lost"]
            if family == "task":
                ends = [one for one in ends if one.attempt.task == entity]
            for metric, taken in (("runtime", _ran), ("wait", _waited), ("prefetch", _waited)):
                yield Kind.TIMER, family, entity, metric, _timed(ends, taken)
        yield Kind.TIMER, "cluster", "all", "lateness", _timed(ends, _waited)
        yield Kind.TIMER, "task", TASKS[0], "lateness", _timed(ends, _waited)

    def _of_workers(self, slots: range) -> Iterator[Detail]:
        """w1 works, w2 idles, w3 died ten minutes ago, and old left two hours ago."""
        told = [one for one in self.stories["shop"].told if one.slot in slots]
        for metric in COUNTERS["worker"]:
            of_it = _counted((one for one in told if one.metric == metric), slots)
            yield Kind.COUNTER, "worker", "w1_at_web1", metric, of_it
            for idle in ("w2_at_web1", "w3_at_web2", "old_at_web3"):
                here = _counted((), slots)
                if metric == "offline" and idle == "w3_at_web2":
                    here[self.end - 600] = (1.0,)
                yield Kind.COUNTER, "worker", idle, metric, here
        answers = {"pool_size": 4, "prefetch_count": 16, "scheduled": 2, "eta_ahead_s": 120}
        for metric, value in {**answers, "flapping": 0, "redelivered": 0}.items():
            points = dict.fromkeys(slots, (float(value),))
            yield Kind.GAUGE, "worker", "w1_at_web1", metric, points
        died = self.end - 600
        mine = self._in_hand(self.attempts)
        flat = {"loadavg_1m": 0.7, "loadavg_5m": 0.6, "loadavg_15m": 0.5, "clock_skew_ms": -3.0}
        beats: dict[str, Callable[[int], dict[str, float]]] = {
            "w1_at_web1": lambda at: {
                "up": 1, "heartbeat_age_s": 1.2, "active": mine(at)["running"],
                "reserved": mine(at)["reserved"], "processed": 9.0, **flat,
            },
            "w2_at_web1": lambda _: {
                "up": 1, "heartbeat_age_s": 0.4, "active": 0, "reserved": 0, "processed": 0.0,
                **flat, "clock_skew_ms": 1500.0,
            },
            "w3_at_web2": lambda at: {
                "up": float(at < died), "heartbeat_age_s": max(1.0, at - died), "active": 2,
                "reserved": 1, "processed": 7.0, **flat,
            },
            "old_at_web3": lambda _: dict.fromkeys(
                ("up", "heartbeat_age_s", "active", "reserved", "processed", *flat), 0.0
            ),
        }  # fmt: skip
        for worker, gauges in beats.items():
            for metric in gauges(self.end):
                yield (
                    Kind.GAUGE,
                    "worker",
                    worker,
                    metric,
                    {slot: (float(gauges(slot)[metric]),) for slot in slots},
                )

    def _of_queues(self, slots: range) -> Iterator[Detail]:
        """mails is usual, etl long, nobody takes from legacy, and idle is empty."""
        queues = {
            "mails": (40, 6, 2, 0, 14, 0), "etl": (1200, 3, 1, 0, 700, 3),
            "legacy": (431, 0, 0, 431, 86_000, 1), "idle": (0, 0, 2, 0, None, 0),
        }  # fmt: skip
        names = ("length", "unacked", "consumers", "unconsumed", "oldest_age_s", "level")
        for queue, values in queues.items():
            for metric, value in zip(names, values, strict=True):
                if value is not None:
                    yield Kind.GAUGE, "queue", queue, metric, dict.fromkeys(slots, (float(value),))
            yield Kind.GAUGE, "queue", queue, "memory_bytes", dict.fromkeys(slots, (4096.0,))
            for metric in ("stuck", "head_of_line", "idle_elsewhere", "safe_to_scale_down"):
                wrong = float((queue, metric) == ("mails", "stuck"))
                yield Kind.GAUGE, "queue", queue, metric, dict.fromkeys(slots, (wrong,))
            yield Kind.GAUGE, "queue", queue, "drain_s", dict.fromkeys(slots, (90.0,))
            yield Kind.COUNTER, "queue", queue, "sent", dict.fromkeys(slots, (2.0,))
            yield Kind.TIMER, "queue", queue, "wait", dict.fromkeys(slots, (30.0, 70.0))
        yield Kind.GAUGE, "cluster", "all", "findings", dict.fromkeys(slots, (2.0,))
        of_broker = {"up": 1.0, "connections": 17.0, "memory_bytes": 1e8, "unacked": 9.0}
        for metric, value in of_broker.items():
            yield Kind.GAUGE, "broker", "broker", metric, dict.fromkeys(slots, (value,))
        for metric, value in (
            ("looks", 1.0), ("looks_failed", 0.0), ("reconnects", 0.0), ("asks_failed", 0.0),
        ):  # fmt: skip
            yield Kind.COUNTER, "broker", "broker", metric, dict.fromkeys(slots, (value,))
        yield Kind.TIMER, "broker", "broker", "ping", dict.fromkeys(slots, (1.5,))

    def _of_agents(self, slots: range) -> Iterator[Detail]:
        """web1 speaks, web2 has been silent for two hours, web3 was removed two days ago."""
        spoke = {"web1": self.end, "web2": self.end - 7200, "web3": self.end - 2 * 86400}
        for agent, last in spoke.items():
            ticks = {slot: (float(slot <= last),) for slot in self.slots}
            yield Kind.COUNTER, "agent", agent, "ticks", ticks
        for metric in COUNTERS["agent"]:
            if metric != "ticks":
                values: dict[int, Sequence[float]] = dict.fromkeys(slots, (0.0,))
                wrong = {"sink_errors": 3.0, "series_folded": 2.0}.get(metric, 0.0)
                values[self.end - 60] = (wrong,)
                if metric in ("events", "events_counted", "sink_bytes", "sink_packets"):
                    values = dict.fromkeys(slots, (20.0,))
                yield Kind.COUNTER, "agent", "web1", metric, values
        for metric in ("backlog", "attempts", "series", "rss_bytes", "cpu_ms"):
            yield (
                Kind.GAUGE,
                "agent",
                "web1",
                metric,
                {slot: (float(slot - self.begin),) for slot in slots},
            )
        for metric in ("event_lag", "flush"):
            yield Kind.TIMER, "agent", "web1", metric, dict.fromkeys(slots, (3.0, 5.0))


def _ran(one: Attempt) -> float:
    return 1000.0 * (one.ended - one.started)


def _waited(one: Attempt) -> float:
    return 1000.0 * (one.started - one.received)


def _counted(told: Iterable[Told], slots: range) -> dict[int, tuple[float]]:
    counts = Counter(one.slot for one in told)
    return {slot: (float(counts[slot]),) for slot in slots}


def _timed(ends: Iterable[Told], taken: Callable[[Attempt], float]) -> Values:
    times: dict[int, list[float]] = defaultdict(list)
    for one in ends:
        times[one.slot].append(taken(one.attempt))
    return times


def _measures(kind: Kind, points: Values) -> Iterator[tuple[str, Points]]:
    """What a StatsD writes of the values of each flush."""
    if kind is not Kind.TIMER:
        yield "count" if kind is Kind.COUNTER else "", [(t, v[0]) for t, v in points.items()]
        return
    made: dict[str, Callable[[Sequence[float]], float]] = {
        "count": len, "sum": sum, "mean": lambda v: sum(v) / len(v), "median": median,
        "lower": min, "upper": max,
        "upper_90": lambda v: sorted(v)[max(0, round(0.9 * len(v)) - 1)],
    }  # fmt: skip
    for measure, make in made.items():
        yield measure, [(t, float(make(v))) for t, v in sorted(points.items())]


def _file(
    layout: Layout, kind: Kind, words: tuple[str, str, str], measure: str, points: Points
) -> tuple[list[str], str, Points]:
    """The names under the new and the legacy namespace, the method, the points."""
    family, entity, metric = words
    reporter = {"agent": "self", "broker": "web1"}.get(family, "all")
    if kind is Kind.GAUGE:
        return [layout.gauge(family, entity, metric, reporter)], "last", points
    if kind is Kind.TIMER:
        method = METHODS.get(measure.partition("_")[0], "average")
        return [layout.timer(family, entity, metric, measure, reporter)], method, points
    flavours = (layout, layout._replace(flavour=FLAVOURS["statsd-legacy"]))
    return [one.counter(family, entity, metric, reporter) for one in flavours], "sum", points
