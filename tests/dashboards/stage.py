"""A stage: real workers under a steady load, the agent, StatsD, carbon and graphite-web, and one
who looks at the overview and at the alerts as they are shipped.

Nothing is stood in for. Shorter than in a shop are the flush interval (with carbon's first
retention, which must be the same), the interval of the looks at queues and workers, and the time
after which what a dead worker held is lost.
"""

import itertools
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple, Self

from celery_statsd.alerts import rows
from celery_statsd.alerts.check import checked
from celery_statsd.alerts.graphite import Answer, Series
from celery_statsd.alerts.rule import Point, State
from celery_statsd.dashboards.flavours import Layout
from celery_statsd.dashboards.overview import DASHBOARD
from celery_statsd.graphite import Graphite as Asked
from tests.dashboards.tiles import tiles
from tests.servers.agent import Agent
from tests.servers.graphite import RULES, Graphite
from tests.servers.process import REPOSITORY, Child, wait_until
from tests.servers.statsd import StatsD
from tests.servers.worker import Cluster

APP = "stage"

ANY, FORK, MAIL = "q.any", "q.fork", "q.mail"
"""The workload's two queues, and one that a single worker takes from."""

FLUSH = 2
"""Seconds between two flushes of the agent, and of StatsD; seconds of a point in Graphite."""

SPAN = 24
"""Seconds the dashboard looks back: what it adds up over the chosen time is green after so many."""

PROBE, INSPECT = 1.0, 2.0
"""Seconds between two looks at the queues, and between two times the workers are asked."""

SILENCE = 2 * 2.0 + 1.0
"""Seconds: two heartbeat intervals and one of batching; one silent for longer is down."""

LOST_AFTER = 4.0
"""Seconds from knowing that a worker is gone to counting what it held."""

RATE = 30.0
"""Tasks a second."""

PATIENCE = 60.0
"""Seconds in which whatever is waited for must have come."""

DELAY = 3 * FLUSH
"""Seconds: for the dashboard, now is so long ago (30 s of nowDelay at flushes of 10 s)."""

POLL = 0.5
"""Seconds between two looks."""

SHIPPED = "10s:6h,1m:6d,10m:1800d"
"""The retentions we ship."""

REPEATED = 3
"""Flushes that are repeated to tell what would fire if things stayed as they are."""

FIRING = (State.WARNING, State.CRITICAL, State.AGENT_DEAD)


class Look(NamedTuple):
    """What the tiles showed of the moment `at` (epoch seconds): which were red, which broken or
    empty without a reason, and the number of each."""

    at: int
    red: frozenset[str]
    bad: frozenset[str]
    numbers: dict[str, float | None]


class Lasting(Series):
    """A Graphite in which all goes on from `since` (epoch seconds) as it was in the last few
    flushes before."""

    def __init__(self, url: str, since: int) -> None:
        super().__init__(url)
        self._since = since

    def ask(self, target: str, begin: float, end: float) -> Answer:
        """The series of `target` until `since`, and behind it what is repeated."""
        found = super().ask(target, min(begin, self._since - SPAN), self._since)
        return {name: [*points, *self._repeated(points, end)] for name, points in found.items()}

    def _repeated(self, points: Sequence[Point], end: float) -> Iterator[Point]:
        last = [point for point in points if point[0] > self._since - REPEATED * FLUSH]
        for again in itertools.count(1) if last else ():
            for at, value in last:
                if at + again * REPEATED * FLUSH > end:
                    return
                yield at + again * REPEATED * FLUSH, value


def rules_of_storage() -> tuple[str, str]:
    """The schemas and the aggregation we ship; the points as much shorter as our flush is."""
    schemas, aggregation = (
        (REPOSITORY / "config" / "graphite" / name).read_text() for name in RULES
    )
    assert SHIPPED in schemas
    return schemas.replace(SHIPPED, f"{FLUSH}s:6h,{6 * FLUSH}s:6d"), aggregation


class Stage:
    """All of it, on `broker`. Entered, it is under load, and nothing is red."""

    def __init__(self, folder: Path, broker: str, rate: float = RATE) -> None:
        schemas, aggregation = rules_of_storage()
        self.folder = folder
        self.graphite = Graphite(folder / "graphite", schemas, aggregation)
        self.cluster = Cluster(folder, broker)
        self._statsd = StatsD(_made(folder / "statsd"), FLUSH, self.graphite.line_port)
        own = ("--flush-interval", FLUSH, "--probe-interval", PROBE, "--inspect-interval", INSPECT)
        more = ("--lost-after", LOST_AFTER, "--state-dir", folder / "state")
        sinks = [f"statsd://127.0.0.1:{self._statsd.port}"]
        self.agent = Agent(folder, broker, sinks, APP, *map(str, (*own, *more)))
        self._asked = Asked(self.graphite.url)
        self._series = Series(self.graphite.url)
        self._rules = rows.load()
        self._rate = rate
        self._stack = ExitStack()
        self._load: Child | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.graphite)
            stack.enter_context(self._in_step())
            for part in (self.cluster, self.agent):
                stack.enter_context(part)
            for name in ("one", "two"):
                self.cluster.worker(name, "prefork", (ANY, FORK), 2)
            self.cluster.worker("mail", "prefork", (MAIL,), 1)
            self._load = stack.enter_context(self._loaded())
            wait_until(self._well, PATIENCE, "nothing is red", poll=POLL)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @contextmanager
    def _in_step(self) -> Iterator[None]:
        """StatsD, flushing at the beginning of Graphite's points: a flush that is late is then not
        written over by the next one."""
        while True:
            with self._statsd:
                if self._statsd.began % FLUSH == 0:
                    yield
                    return

    @contextmanager
    def _loaded(self) -> Iterator[Child]:
        command = [sys.executable, "-m", "tests.dashboards.load", str(self._rate), MAIL]
        client = Child("load", command, self.folder, self.cluster.environment)
        yield client.start(lambda: self.cluster.truth().total("sent"))
        client.stop()

    def end_load(self) -> None:
        """Nothing more is sent."""
        assert self._load
        self._load.stop()

    def look(self) -> Look:
        """At all tiles of the overview, as it is now."""
        at = int(time.time()) - DELAY
        found = tiles(DASHBOARD, self._asked, at, SPAN, APP)
        red = frozenset(name for name, tile in found.items() if tile.colour == "red")
        bad = frozenset(name for name, tile in found.items() if tile.is_bad)
        return Look(at, red, bad, {name: tile.number for name, tile in found.items()})

    def _well(self) -> bool:
        look = self.look()
        return not look.red | look.bad

    def looks(self, until: Callable[[Look], bool], seconds: float, what: str) -> list[Look]:
        """One look after the other; the last is the first of which `until` holds."""
        found: list[Look] = []

        def seen() -> bool:
            found.append(self.look())
            return until(found[-1])

        try:
            wait_until(seen, seconds, what, poll=POLL)
        except TimeoutError as error:
            reds = [(look.at, sorted(look.red)) for look in found]
            raise AssertionError(f"{error}; red was {reds}") from None
        return found

    def judged(self, lasting: bool = False) -> dict[str, State]:
        """The rules that are not OK: now, or when all that is now has lasted for as long as any of
        them needs."""
        now = int(time.time())
        longest = max(rule.window + rule.hold for rule in self._rules) + 60
        graphite, at = (
            (Lasting(self.graphite.url, now), now + longest) if lasting else (self._series, now)
        )
        report = checked(self._rules, graphite, Layout(app=APP), at)
        return {
            finding.rule.name: finding.state
            for finding in reversed(report.findings)
            if finding.state is not State.OK
        }

    def firing(self) -> set[str]:
        """The rules that fire, or would if things stayed as they are."""
        both = self.judged() | self.judged(lasting=True)
        return {name for name, state in both.items() if state in FIRING}


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
