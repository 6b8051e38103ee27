"""Adds up what the rules say, and drains it as a Batch.

Laws:
1. A known counter is written as 0 when nothing happened: every counter of its family is there
   from the moment an entity is first seen. Graphite's `diffSeries` would else flip its sign.
2. A gauge speaks only for the flush it was set in; whoever is gone is closed: 0 once, then no more.
3. Series are bounded. Past the ceiling an entity's values go to the entity `other` of its family,
   and each value so folded is counted; a folded gauge has no meaning and is left out (and is
   counted unless it is 0). An entity that is known may still show its first gauges and timers, so
   there are at most twice as many.
4. The values kept of all timers together are bounded: see MOST_VALUES.
"""

import random
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any, Self

from celery_statsd.metric import Batch, Kind, Rows, Series, Timing
from celery_statsd.names import Names

OTHER = "other"
"""The entity that takes what the ceiling keeps out."""

OWN = frozenset({"cluster", "agent", "broker"})
"""The families that are never folded: their entities do not depend on what the events hold."""

MOST_VALUES = 1_000_000
"""Values kept in one flush, of all timers together (32 bytes each). Past it those timers that
have one stay as they are, with the samples they have; their counts and sums go on exactly."""

SEED = 20
"""A fixed seed: a recorded stream gives the same sample of its timers every time."""


class Reservoir:
    """A uniform sample of bounded size, with exact count, sum and extremes (values in ms)."""

    __slots__ = ("count", "kept", "lower", "total", "upper")

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self.lower = float("inf")
        self.upper = float("-inf")
        self.kept: list[float] = []

    def add(self, value: float, size: int, chance: random.Random, room: bool = True) -> bool:
        """Take in `value`, keeping at most `size`: each value taken in is kept as likely.

        Without `room` it keeps no more values than it has, but for a first one; what is kept is
        as fair a sample. Returns whether it grew.
        """
        grows = len(self.kept) == self.count < size and (room or not self.kept)
        self.count += 1
        self.total += value
        self.lower = min(self.lower, value)
        self.upper = max(self.upper, value)
        if grows:
            self.kept.append(value)
        else:
            place = chance.randrange(self.count)
            if place < len(self.kept):
                self.kept[place] = value
        return grows

    def add_all(self, values: Sequence[float], size: int, chance: random.Random, room: int) -> int:
        """As `add`, of many; `room` is how many more may be kept. Returns how many it grew by."""
        before = len(self.kept)
        most = before if self.count > before else min(size, before + max(room, not before))
        if self.count + len(values) <= most:
            self.kept.extend(values)
        elif self.count >= most and len(values) < most:
            self._replace(values, chance)
        else:
            self.kept = self._sample(values, most, chance)
        self.count += len(values)
        self.total += sum(values)
        lower, upper = min(values), max(values)
        self.lower, self.upper = min(self.lower, lower), max(self.upper, upper)
        return len(self.kept) - before

    def _replace(self, values: Sequence[float], chance: random.Random) -> None:
        """Let each of `values` take the place of a kept one, as likely as it should be kept."""
        kept, count, dice = self.kept, self.count, chance.random
        size = len(kept)
        for value in values:
            count += 1
            place = int(dice() * count)
            if place < size:
                kept[place] = value

    def _sample(self, values: Sequence[float], most: int, chance: random.Random) -> list[float]:
        """`most` of all that was taken in and `values`, each as likely."""
        old, new, taken = self.count, len(values), 0
        for _ in range(most):  # how many of the new ones a fair draw would hold
            if chance.random() * (old + new) < new:
                taken, new = taken + 1, new - 1
            else:
                old -= 1
        return chance.sample(self.kept, most - taken) + chance.sample(values, taken)

    def dump(self) -> list[Any]:
        """Itself as plain values."""
        return [self.count, self.total, self.lower, self.upper, self.kept]

    @classmethod
    def load(cls, state: Sequence[Any]) -> Self:
        """What `dump` gave, as a reservoir again."""
        reservoir = cls()
        reservoir.count, reservoir.total, reservoir.lower, reservoir.upper, kept = state
        reservoir.kept = list(kept)
        return reservoir

    def timing(self) -> Timing:
        """What it holds, frozen."""
        return Timing(self.count, self.total, self.lower, self.upper, tuple(self.kept))


class Entity:
    """The numbers of one entity since the last drain, and the series they go to; those of the
    counters, which are all told each time, also in the counters' order (`counted`). `silent` has
    each gauge that was ever sent, at 0."""

    __slots__ = ("closing", "counted", "counters", "gauges", "series", "silent", "timers")

    def __init__(self, counters: Sequence[str]) -> None:
        self.counters: dict[str, int] = dict.fromkeys(counters, 0)
        self.gauges: dict[str, float] = {}
        self.timers: dict[str, Reservoir] = {}
        self.series: dict[str, Series] = {}
        self.counted: tuple[Series, ...] = ()
        self.silent: dict[str, float] = {}
        self.closing = False

    def silence(self) -> None:
        """Set each gauge that was ever sent, or is to be, to 0."""
        self.gauges = self.silent | dict.fromkeys(self.gauges, 0.0)

    def dump(self) -> list[Any]:
        """Itself as plain values."""
        timers = {metric: reservoir.dump() for metric, reservoir in self.timers.items()}
        timed = [series.metric for series in self.series.values() if series.kind is Kind.TIMER]
        return [self.counters, timers, self.gauges, list(self.silent), timed]


class Aggregator:
    """Sums of counters, last values of gauges, samples of timers, by family and entity.

    `counters` names each family's counters; `ceiling` bounds the series, `reservoir` the values
    kept of one timer in one flush. `folded` counts the values that went to `other`.
    """

    def __init__(
        self,
        names: Names,
        counters: Mapping[str, Sequence[str]],
        ceiling: int = 100_000,
        reservoir: int = 1000,
    ) -> None:
        self._names = names
        self._counters = counters
        self._ceiling = ceiling
        self._reservoir = reservoir
        self._families: dict[str, dict[str, Entity]] = {family: {} for family in counters}
        self._chance = random.Random(SEED)
        self._drained_at: dict[str, float] = {}
        self._kept = 0
        self.series = 0
        self.folded = 0

    def begin(self, now: float) -> None:
        """The first interval begins at `now` (epoch seconds)."""
        self._drained_at = dict.fromkeys(self._families, now)

    def dump(self) -> dict[str, Any]:
        """What was not yet drained, and which series are known, as plain values."""
        return {
            "drained_at": self._drained_at,
            "folded": self.folded,
            "entities": [
                [family, name, *entity.dump()]
                for family, entities in self._families.items()
                for name, entity in entities.items()
            ],
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what `dump` told."""
        self._drained_at = dict(state["drained_at"])
        for family, name, counters, timers, gauges, gauged, timed in state["entities"]:
            entity = self._families[family][name] = self._first_sight(family, name)
            for metric in counters.keys() - entity.counters.keys():  # another version's
                self._make(entity, family, name, metric, Kind.COUNTER)
            entity.counters.update(counters)
            entity.counted = tuple(entity.series[metric] for metric in entity.counters)
            entity.gauges.update(gauges)
            entity.timers = {metric: Reservoir.load(kept) for metric, kept in timers.items()}
            self._kept += sum(len(reservoir.kept) for reservoir in entity.timers.values())
            for kind, metrics in ((Kind.GAUGE, gauged), (Kind.TIMER, timed)):
                for metric in metrics:
                    self._make(entity, family, name, metric, kind)
        self.folded = state["folded"]

    def count(self, family: str, entity: str, metric: str, amount: int = 1) -> None:
        """Add `amount` to a counter."""
        found = self._entity(family, entity)
        found.counters[metric] += amount
        if amount > 1 and entity not in self._families[family]:
            self.folded += amount - 1  # one was counted as it was looked up

    def count_all(self, family: str, entity: str, amounts: Sequence[tuple[str, int]]) -> None:
        """Add to many counters of an entity."""
        counters = self._entity(family, entity).counters
        for metric, amount in amounts:
            counters[metric] += amount
        if entity not in self._families[family]:
            self.folded += sum(amount for _, amount in amounts) - 1  # see `count`

    def time(self, family: str, entity: str, metric: str, value: float) -> None:
        """Take one value of a timer, in ms."""
        timers = self._entity(family, entity).timers
        reservoir = timers.get(metric)
        if reservoir is None:
            reservoir = timers[metric] = Reservoir()
        room = self._kept < MOST_VALUES
        self._kept += reservoir.add(value, self._reservoir, self._chance, room)

    def time_all(self, family: str, entity: str, metric: str, values: Sequence[float]) -> None:
        """Take many values of a timer, in ms."""
        found = self._entity(family, entity)
        if entity not in self._families[family]:
            self.folded += len(values) - 1  # one was counted as it was looked up
        timers = found.timers
        reservoir = timers.get(metric)
        if reservoir is None:
            reservoir = timers[metric] = Reservoir()
        room = max(0, MOST_VALUES - self._kept)
        self._kept += reservoir.add_all(values, self._reservoir, self._chance, room)

    def gauge(self, family: str, entity: str, metric: str, value: float) -> None:
        """Set a gauge for the coming flush."""
        if self._folds(family, entity):
            self.folded += value != 0.0
        elif entity != OTHER:
            self._entity(family, entity).gauges[metric] = value

    def gauge_all(self, family: str, values: Mapping[str, float], metric: str) -> None:
        """Set a gauge of many entities, by their names."""
        entities = self._families[family]
        for entity, value in values.items():
            found = entities.get(entity)
            if found is None or found.closing:
                self.gauge(family, entity, metric, value)
            elif entity != OTHER:
                found.gauges[metric] = value

    def gauge_each(self, family: str, entity: str, values: Mapping[str, float]) -> None:
        """Set many gauges of an entity, by their metrics."""
        if self._folds(family, entity):
            self.folded += sum(value != 0.0 for value in values.values())
        elif entity != OTHER:
            self._entity(family, entity).gauges.update(values)

    def close(self, family: str, entity: str) -> None:
        """End an entity's series: its gauges are 0 in the coming flush, then all is forgotten."""
        found = self._families[family].get(entity)
        if found is None:
            return
        found.silence()
        found.closing = True

    def close_others(self, family: str, known: Container[str]) -> None:
        """End the series of each entity that is not `known`, but for OTHER."""
        for entity in self._families[family]:
            if entity != OTHER and entity not in known:
                self.close(family, entity)

    def silence(self, family: str | None = None) -> None:
        """Every gauge (of a family) is 0 in the coming flush, unless it is set anew: whoever
        repeats the last value repeats that."""
        for entities in [self._families[family]] if family else self._families.values():
            for entity in entities.values():
                entity.silence()

    def drain(self, now: float, families: Iterable[str] | None = None) -> Batch:
        """All since the last drain, or all of some `families` since theirs, as of `now` (epoch
        seconds); then begin anew."""
        chosen = list(self._families if families is None else families)
        interval = now - self._drained_at.get(chosen[0], now)
        self._drained_at.update(dict.fromkeys(chosen, now))
        self._kept = 0 if families is None else self._kept
        counted: list[Series] = []
        numbers: list[int] = []
        gauged: list[Series] = []
        values: list[float] = []
        timers: list[tuple[Series, Timing]] = []
        for family in chosen:
            entities = self._families[family]
            for name, entity in entities.items():
                counted += entity.counted
                numbers += entity.counters.values()
                if not entity.gauges.keys() <= entity.series.keys():
                    for metric in [one for one in entity.gauges if one not in entity.series]:
                        self._make(entity, family, name, metric, Kind.GAUGE)
                gauged += map(entity.series.__getitem__, entity.gauges)
                values += entity.gauges.values()
                for metric, reservoir in entity.timers.items():
                    series = entity.series.get(metric)
                    if series is None:
                        series = self._make(entity, family, name, metric, Kind.TIMER)
                    timers.append((series, reservoir.timing()))
            self._families[family] = self._begin_anew(family, entities)
        return Batch(now, interval, Rows(counted, numbers), Rows(gauged, values), tuple(timers))

    def _begin_anew(self, family: str, entities: dict[str, Entity]) -> dict[str, Entity]:
        for name in [name for name, entity in entities.items() if entity.closing]:
            gone = entities.pop(name)
            self.series -= len(gone.series)
            self._names.release(family, name)
        for entity in entities.values():  # most have no news, where there are very many
            if any(entity.counters.values()):
                entity.counters = dict.fromkeys(entity.counters, 0)
            entity.gauges = {}
            if entity.timers:
                entity.timers = {}
        return entities

    def _entity(self, family: str, name: str) -> Entity:
        entities = self._families[family]
        entity = entities.get(name)
        if entity is None:
            if self._folds(family, name):
                self.folded += 1
                name = OTHER
                entity = entities.get(name)
            if entity is None:
                entity = entities[name] = self._first_sight(family, name)
        entity.closing = False
        return entity

    def _folds(self, family: str, name: str) -> bool:
        """Whether what is told of an entity goes to OTHER."""
        full = self.series >= self._ceiling and family not in OWN
        return full and name not in self._families[family]

    def _first_sight(self, family: str, name: str) -> Entity:
        entity = Entity(self._counters[family])
        entity.counted = tuple(
            self._make(entity, family, name, metric, Kind.COUNTER) for metric in entity.counters
        )
        return entity

    def _make(self, entity: Entity, family: str, name: str, metric: str, kind: Kind) -> Series:
        series = entity.series[metric] = self._names.series(family, name, metric, kind)
        if kind is Kind.GAUGE:
            entity.silent[metric] = 0.0
        self.series += 1
        return series
