"""Sums batches up: since the beginning, and over a window that slides."""

from collections import Counter, defaultdict, deque
from collections.abc import Container, Mapping
from typing import NamedTuple

from celery_statsd.metric import Batch, Timing
from celery_statsd.top.facts import Facts

Whose = tuple[str, str]
"""A family, and an entity of it."""

NOTHING: Mapping[str, int] = {}


class Past(NamedTuple):
    """What one batch added: its end (epoch seconds), its seconds, its counters that are not 0."""

    time: float
    interval: float
    counts: dict[Whose, dict[str, int]]
    timed: list[tuple[Whose, str]]


class History:
    """The batches of the last `window` seconds, and the sums of all. One batch that took longer is
    kept alone: `span` are the seconds it really covers."""

    def __init__(self, window: float) -> None:
        self.span = 0.0
        self._window = window
        self._past: deque[Past] = deque()
        self._entities: defaultdict[str, dict[str, None]] = defaultdict(dict)
        self._totals: dict[Whose, Counter[str]] = {}
        self._recent: dict[Whose, Counter[str]] = {}
        self._gauges: dict[Whose, dict[str, float]] = {}
        self._timers: dict[Whose, dict[str, deque[Timing]]] = {}

    def take(self, batch: Batch) -> None:
        """Add a batch, and let go of what is too old."""
        past = Past(batch.time, batch.interval, {}, [])
        for series, value in batch.counters:
            whose = series.family, series.entity
            self._entities[series.family][series.entity] = None
            if value:
                past.counts.setdefault(whose, {})[series.metric] = value
        self._gauges = {}
        for series, number in batch.gauges:
            self._gauges.setdefault((series.family, series.entity), {})[series.metric] = number
        for series, timing in batch.timers:
            whose = series.family, series.entity
            self._timers.setdefault(whose, {}).setdefault(series.metric, deque()).append(timing)
            past.timed.append((whose, series.metric))
        self._add(past)
        while len(self._past) > 1 and self.span > self._window:
            self._let_go(self._past.popleft())

    def facts(self, family: str, entity: str, state: str = "") -> Facts:
        """What is known of one."""
        whose = family, entity
        return Facts(
            entity,
            self._totals.get(whose, NOTHING),
            self._recent.get(whose, NOTHING),
            self._gauges.get(whose, {}),
            self._timers.get(whose, {}),
            self.span,
            state,
        )

    def entities(self, family: str) -> list[str]:
        """All that were seen of a family, in the order in which they came."""
        return list(self._entities[family])

    def forget(self, family: str, but: Container[str]) -> None:
        """Nobody asks any more for those of a family that are not named."""
        for entity in [name for name in self._entities[family] if name not in but]:
            del self._entities[family][entity]
            self._totals.pop((family, entity), None)
            self._recent.pop((family, entity), None)
            for past in self._past:
                past.counts.pop((family, entity), None)

    def _add(self, past: Past) -> None:
        self._past.append(past)
        self.span += past.interval
        for whose, counts in past.counts.items():
            self._totals.setdefault(whose, Counter()).update(counts)
            self._recent.setdefault(whose, Counter()).update(counts)

    def _let_go(self, past: Past) -> None:
        self.span -= past.interval
        for whose, counts in past.counts.items():
            if whose in self._recent:
                self._recent[whose].subtract(counts)
        for whose, metric in past.timed:
            timings = self._timers[whose][metric]
            timings.popleft()
            if not timings:
                del self._timers[whose][metric]
                if not self._timers[whose]:
                    del self._timers[whose]
