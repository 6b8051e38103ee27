"""What a rule is: one row of the catalogue of metrics.

Counters and timers speak when the last of the moments they need becomes known; gauges are read
at each flush. The row's help is its documentation: the README's table is made from the rows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from celery_statsd.events import Change, Moment
from celery_statsd.metric import Kind


def amount(change: Change) -> int:
    """How many of it a change tells."""
    return change.amount


def nothing(subject: Any) -> None:
    """No value here: whoever owns the metric sets it."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A metric: its name and kind, the families it stands in, and how its value is made.

    `needs` are the moments that must be known; `value` takes the Change that completed them
    (gauges: the Life or whatever else they are read from) and gives None when there is nothing
    to say. Timers are in ms, all else in `unit`.
    """

    metric: str
    kind: Kind
    help: str
    families: tuple[str, ...]
    unit: str = "1"
    needs: tuple[Moment, ...] = ()
    value: Callable[[Any], float | None] = nothing
