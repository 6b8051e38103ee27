"""What an alert rule is: one row of `alerts.yml`.

A rule's `target` is a query of Graphite that names metrics of the catalogue (see `target`). Each
series of the answer is judged by itself: at a moment its points of the last `window` seconds are
reduced to one value, and a value past a bound for `hold` seconds fires. With an `until`, the bound
goes on firing until the value is past that: one that trembles around a bound does not.
"""

import operator
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import NamedTuple

Point = tuple[float, float]
"""A time in epoch seconds, and the value there."""


def _last(values: Sequence[float]) -> float:
    return values[-1]


REDUCERS: Mapping[str, Callable[[Sequence[float]], float]] = MappingProxyType(
    {
        "sum": sum,
        "min": min,
        "max": max,
        "mean": statistics.fmean,
        "median": statistics.median,
        "last": _last,
    }
)
"""How many points become one value; Grafana has each under the same name."""

PAST: Mapping[str, Callable[[float, float], bool]] = MappingProxyType(
    {">": operator.gt, "<": operator.lt}
)
"""When a value is past a bound."""

AGENT = "agent"
"""The rule that is judged first: when it fires the agent is dead, and no other can be judged."""


class State(Enum):
    """What is found. NO DATA is when nobody can tell, AGENT DEAD when nobody is there to tell."""

    OK = "OK"
    WARNING = "WARNING"
    CRITICAL = "CRITICAL"
    NO_DATA = "NO DATA"
    AGENT_DEAD = "AGENT DEAD"

    @property
    def exit_code(self) -> int:
        """Nagios's number."""
        return _EXIT_CODES[self]

    @property
    def rank(self) -> int:
        """0 for the best; what cannot be told is worse than a warning."""
        return _RANKS.index(self)


_EXIT_CODES = {
    State.OK: 0, State.WARNING: 1, State.CRITICAL: 2, State.NO_DATA: 3, State.AGENT_DEAD: 2,
}  # fmt: skip
_RANKS = (State.OK, State.WARNING, State.NO_DATA, State.CRITICAL, State.AGENT_DEAD)

NO_DATA: Mapping[str, State] = MappingProxyType(
    {"ok": State.OK, "no data": State.NO_DATA, "critical": State.CRITICAL}
)
"""What a rule may say of series without a value."""


class Bound(NamedTuple):
    """`sign` (one of PAST) and the value; with `until`, what ends the firing."""

    sign: str
    value: float
    until: "Bound | None" = None

    def passed(self, value: float) -> bool:
        """Whether `value` is past it."""
        return PAST[self.sign](value, self.value)

    def __str__(self) -> str:
        return f"{self.sign} {self.value:.15g}"


@dataclass(frozen=True, slots=True)
class AlertRule:
    """A row. Times are in seconds; `text` says in one sentence what it means when it fires.

    `may_be_empty`: a query that names no series is well (not all brokers tell all metrics); else it
    is an error. `no_data` is the state of series that are there and have no value in the window.
    """

    name: str
    text: str
    target: str
    window: float
    reduce: str
    warning: Bound | None = None
    critical: Bound | None = None
    hold: float = 0.0
    no_data: State = State.NO_DATA
    may_be_empty: bool = False

    @property
    def levels(self) -> tuple[tuple[State, Bound], ...]:
        """Its bounds, the worst first."""
        both = ((State.CRITICAL, self.critical), (State.WARNING, self.warning))
        return tuple((state, bound) for state, bound in both if bound is not None)

    @property
    def remembers(self) -> bool:
        """Whether it matters what was before."""
        return any(bound.until for _, bound in self.levels)
