"""What leaves the river: series, the kinds they are of, and the batch of one flush."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Generic, Self, TypeVar, overload

import msgspec

Value = TypeVar("Value")


class Kind(Enum):
    """The three kinds of metric, in StatsD's words."""

    COUNTER = "counter"
    GAUGE = "gauge"
    TIMER = "timer"


@dataclass(frozen=True, slots=True)
class Series:
    """One named line of numbers.

    `entity` is the raw name (a task, a worker's node name, a queue); `path` is the whole dotted
    name, prefix and reporter included, safe on every wire (see `names`).
    """

    family: str
    entity: str
    metric: str
    kind: Kind
    path: str


class Timing(msgspec.Struct, frozen=True):
    """What one timer took in during one flush interval; all values in ms.

    `values` are those kept, a uniform sample when `count` (the true number) is larger;
    `total`, `lower` and `upper` are exact, over all of them.
    """

    count: int
    total: float
    lower: float
    upper: float
    values: tuple[float, ...]

    @property
    def rate(self) -> float:
        """The part of the values that was kept, in (0, 1]: StatsD's sample rate."""
        return len(self.values) / self.count


class Rows(Sequence[tuple[Series, Value]], Generic[Value]):
    """Series and their values, each pair made when it is asked for: there may be a hundred thousand
    of them, and who makes a batch has no time."""

    __slots__ = ("_series", "_values")

    def __init__(self, series: Sequence[Series], values: Sequence[Value]) -> None:
        self._series, self._values = series, values

    def __len__(self) -> int:
        return len(self._series)

    def __iter__(self) -> Iterator[tuple[Series, Value]]:
        return zip(self._series, self._values, strict=True)

    @overload
    def __getitem__(self, place: int) -> tuple[Series, Value]: ...
    @overload
    def __getitem__(self, place: slice) -> "Rows[Value]": ...
    def __getitem__(self, place: int | slice) -> "tuple[Series, Value] | Rows[Value]":
        if isinstance(place, slice):
            return Rows(self._series[place], self._values[place])
        return self._series[place], self._values[place]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Rows({list(self)})"


OWN = ("agent", "broker")
"""The families in which each agent speaks of itself, whoever speaks of the cluster."""


@dataclass(frozen=True, slots=True)
class Batch:
    """All that one flush says, shared by all sinks; the `cluster` family comes first.

    `time` is the end of the interval in epoch seconds, `interval` its length in seconds.
    Counters are sums over the interval, 0 when nothing happened; gauges are values at `time`.
    `last`: nothing more will be said, so each gauge is 0.
    """

    time: float
    interval: float
    counters: Sequence[tuple[Series, int]]
    gauges: Sequence[tuple[Series, float]]
    timers: tuple[tuple[Series, Timing], ...]
    last: bool = False

    def part(self, own: bool) -> Self:
        """Only what the agent says of itself, or only the rest."""
        return replace(
            self,
            counters=_part(self.counters, own),
            gauges=_part(self.gauges, own),
            timers=_part(self.timers, own),
        )


def _part(rows: Sequence[tuple[Series, Value]], own: bool) -> tuple[tuple[Series, Value], ...]:
    return tuple(row for row in rows if (row[0].family in OWN) is own)
