"""What leaves the river: series, the kinds they are of, and the batch of one flush."""

from dataclasses import dataclass, replace
from enum import Enum
from typing import Self, TypeVar

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


@dataclass(frozen=True, slots=True)
class Timing:
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
    counters: tuple[tuple[Series, int], ...]
    gauges: tuple[tuple[Series, float], ...]
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


Rows = tuple[tuple[Series, Value], ...]


def _part(rows: Rows[Value], own: bool) -> Rows[Value]:
    return tuple(row for row in rows if (row[0].family in OWN) is own)
