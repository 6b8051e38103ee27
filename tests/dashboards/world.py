"""Three days of a made cluster, in whisper files: what was done is known, attempt by attempt.

Every number a dashboard is to show is counted here from the list of attempts, never from what was
written. A flush at t tells what happened in (t - 10, t], and is written at t.
"""

import pickle
import random
import subprocess
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import median

from celery_statsd.dashboards.flavours import FLAVOURS, Layout
from celery_statsd.metric import Kind
from celery_statsd.rules import COUNTERS
from tests.dashboards.attempts import OUTCOMES, STEP, TASKS, Attempt, Told, in_hand
from tests.dashboards.details import BUSY, Details, Values
from tests.servers.graphite import HOME

DAYS = 3
BEGINNING = DAYS * 86400

RANGES = {"5min": 300, "1h": 3600, "24h": 86400, "3d": BEGINNING, "7d": 7 * 86400}
"""Seconds."""

FINE = 6 * 3600
"""Seconds for which each flush is kept; before, a point is a minute, and from a week on ten."""

ODDS = {False: (960, 15, 20, 5), True: (980, 0, 20, 0)}
"""Of the outcomes, by whether it is a good day."""

METHODS = {"count": "sum", "sum": "sum", "upper": "max", "lower": "min"}

Points = list[tuple[int, float]]
Slots = dict[int, float]


@dataclass
class Story:
    """How one app's agent fared: what it told and did not, and what reached Graphite.

    `told` is what it counted; `gone` are flushes whose one datagram of counters was dropped;
    `silent` are flushes of which there is nothing at all; `away` those between a farewell and the
    agent's return; `in_hand` says how many attempts it knew to be in progress at a time."""

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
    """The cluster until `end`, a whole multiple of 600 s; on a good day, if it is `well`."""

    def __init__(self, end: int, well: bool = False) -> None:
        self.end, self.well = end, well
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
            "shop": Story(clean, in_hand(self.attempts)),
            "dropped": Story(clean, in_hand(self.attempts), gone=frozenset(random_slots)),
            "nulls": Story(
                clean, in_hand(self.attempts), silent=frozenset([*down, self.end]),
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
            outcome = dice.choices(OUTCOMES, ODDS[self.well])[0]
            started = at + dice.expovariate(0.5)
            ended = started + (45.0 if outcome == "lost" else dice.expovariate(0.1))
            task = dice.choices(TASKS, (60, 25, 10, 5))[0]
            yield Attempt(task, dice.choice(BUSY[self.well]), at, started, ended, outcome)

    def _told(self, attempts: Iterable[Attempt]) -> list[Told]:
        told = []
        for one in attempts:
            told.append(Told("sent", one.received - 0.8, one))
            told += [Told("received", one.received, one), Told("started", one.started, one)]
            told.append(Told(one.outcome, one.ended, one))
        return [one for one in told if self.begin < one.slot <= self.end]

    def _stopped(self, told: list[Told]) -> Story:
        """An agent that said farewell to a StatsD, its gauges 0, and was back a minute later; its
        queue had kept what came in between."""
        back, usual = self.stopped_at + 60, in_hand(self.attempts)
        away = range(self.stopped_at, back, STEP)
        nothing = {"reserved": 0, "running": 0}
        late = dict.fromkeys(away[1:], back)
        return Story(told, lambda at: nothing if at in away else usual(at), away=away, late=late)

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
        old = in_hand([a for a in self.attempts if a.received <= self.killed_at])
        new = in_hand(known + [a for a in self.attempts if a.received > self.back_at])
        return Story(
            [one for one in told if self.begin < one.slot <= self.end],
            lambda at: old(min(at, self.killed_at)) if at <= self.back_at else new(at),
        )

    def _series(self) -> Iterator[tuple[list[str], str, Points]]:
        for app, story in self.stories.items():
            yield from self._cluster(Layout(app=app), story)
        shop = Layout(app="shop")
        slots = range(self.end - self.details + STEP, self.end + 1, STEP)
        details = Details(self, slots, self.stories["shop"].told)
        for kind, family, entity, metric, points in details.series():
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
