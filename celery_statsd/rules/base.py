"""What a rule is: one row of the catalogue of metrics.

Counters and timers speak when the last of the moments they need becomes known; gauges are read
at each flush. The row's help is its documentation: the README's table is made from the rows.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from celery_statsd.events import Moment
from celery_statsd.metric import Kind


def nothing(subject: Any) -> None:
    """No value here: whoever owns the metric sets it."""


def nothings(attempts: Iterable[Any]) -> list[float]:  # noqa: ARG001
    """No values here."""
    return []


@dataclass(frozen=True, slots=True)
class Rule:
    """A metric: its name and kind, the families it stands in, and how its value is made.

    `needs` are the moments that must be known; then a counter counts, and a timer's `times` takes
    attempts, many at a time, and gives the seconds of those that have any. A gauge's `value` takes
    the Life or whatever else it is read from. Timers are sent in ms, all else in `unit`. `fold`
    makes one value of those of workers that are one in the metrics.
    """

    metric: str
    kind: Kind
    help: str
    families: tuple[str, ...]
    unit: str = "1"
    needs: tuple[Moment, ...] = ()
    value: Callable[[Any], float | None] = nothing
    times: Callable[[Iterable[Any]], list[float]] = nothings
    fold: Callable[[Sequence[float]], float] = sum
