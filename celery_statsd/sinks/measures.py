"""What is told of a timer in a few numbers, by StatsD's names: `mean`, `upper_95` and the like.

`mean`, `lower` and `upper` are exact; `median` and `upper_N` are taken from the values kept.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from math import floor

from celery_statsd.metric import Timing

PERCENTILES = (90.0, 95.0, 99.0)

Measure = Callable[[Timing, Sequence[float]], float | None]
"""A number of a timing, whose values are also given sorted; None: it is of none of them."""


def percentiles(text: str) -> tuple[float, ...]:
    """A kind of option: `90,99.9`. Raises ValueError."""
    found = tuple(map(float, text.split(",")))
    if not all(0 < percent <= 100 for percent in found):
        raise ValueError(text)
    return found


def upper(values: Sequence[float], percent: float) -> float | None:
    """The largest of the lowest `percent` of sorted `values`; None when that is none of them.

    How many these are is rounded half up, as in StatsD's lib/process_metrics.js.
    """
    if len(values) == 1:
        return values[0]
    lowest = floor(percent / 100 * len(values) + 0.5)
    return values[lowest - 1] if lowest else None


def median(values: Sequence[float]) -> float:
    """The middle one of sorted `values`, or the mean of the middle two."""
    middle = len(values) // 2
    return values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2


SIMPLE: dict[str, Measure] = {
    "mean": lambda timing, _: timing.total / timing.count,
    "lower": lambda timing, _: timing.lower,
    "upper": lambda timing, _: timing.upper,
    "median": lambda _, values: median(values),
}
"""Those that need no number of their own."""

HEAD = "upper_"
"""Of the measures that do."""


def upper_measure(percent: float) -> tuple[str, Measure]:
    """The name, `upper_95` or `upper_99_9`, and the measure."""
    return f"{HEAD}{percent:g}".replace(".", "_"), partial(_upper_of, percent)


def measures(text: str) -> tuple[tuple[str, Measure], ...]:
    """Measures by their names, in the order of `text`: `mean,upper_95`. Raises ValueError."""
    return tuple(map(_named, text.split(",")))


def measured(
    timing: Timing, asked: Iterable[tuple[str, Measure]]
) -> list[tuple[str, float | None]]:
    """The numbers of `timing`, by name."""
    values = sorted(timing.values)
    return [(name, measure(timing, values)) for name, measure in asked]


def _named(name: str) -> tuple[str, Measure]:
    if name in SIMPLE:
        return name, SIMPLE[name]
    if not name.startswith(HEAD):
        raise ValueError(name)
    (percent,) = percentiles(name.removeprefix(HEAD).replace("_", "."))
    return upper_measure(percent)


def _upper_of(percent: float, _: Timing, values: Sequence[float]) -> float | None:
    return upper(values, percent)
