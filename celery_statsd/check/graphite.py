"""Graphite, asked from outside: whether our numbers arrive there, how finely they are kept, and by
which rule they are rolled up.

https://graphite.readthedocs.io/en/latest/render_api.html: the points come as they are stored, from
the finest archive that reaches back far enough.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from celery_statsd.errors import BadTarget, GraphiteAway
from celery_statsd.graphite import Graphite, Points, Span

ANSWER_WITHIN = 10.0
"""Seconds for each answer."""

MOST_POINTS = 1_000_000
"""More than any archive has: then they come as they are stored."""

FLUSH = 30
"""Seconds before the sending in which the slot of its point may begin."""

POLL = 0.5
"""Seconds between two looks for what was sent."""

FORMS = {
    "stats.counters.{path}.count": "",
    "stats_counts.{path}": "legacyNamespace: true",
    "*.counters.{path}.count": "another globalPrefix",
    "*.counts.{path}": "statsite's names",
    "*.{path}": "names of another server",
}
"""How a counter may be called in Graphite, and what is unlike the dashboards' names in it."""

SPANS = (60, 600, 7200, 25_200, 90_000, 700_000, 3_000_000, 40_000_000)
"""Seconds to look back, for the archives of a file."""

METHODS: Mapping[str, Callable[[Sequence[float]], float]] = {
    "sum": math.fsum,
    "average": lambda values: math.fsum(values) / len(values),
    "max": max,
    "min": min,
    "last": lambda values: values[-1],
}
"""How carbon may make one point of several."""


@dataclass(frozen=True, slots=True)
class Rollup:
    """How the points of a step (seconds) are made of finer ones: `methods` are those that explain
    all of them, `holes` counts the points that are missing where finer ones are not."""

    step: int
    methods: frozenset[str]
    holes: int = 0


@dataclass(frozen=True, slots=True)
class Reading:
    """What Graphite told. `found` has the full name under which each sink's number was found, by
    the number of the sink; `step` is the finest one of counters, in seconds."""

    url: str
    waited: float = 0.0
    found: Mapping[int, str] = field(default_factory=dict)
    step: int | None = None
    rollups: tuple[Rollup, ...] = ()
    error: str = ""


class Readback:
    """Reads at the Graphite at `url`. Raises ConfigError when that is no address."""

    def __init__(self, url: str) -> None:
        self._graphite = Graphite(url, ANSWER_WITHIN)
        self.url = self._graphite.url

    def points(self, targets: Sequence[str], back: int) -> dict[str, Points]:
        """The points of each series of some names or globs, the last `back` seconds, as they are
        stored. Raises GraphiteAway and BadTarget."""
        now = int(time.time())
        found = self._graphite.render(targets, Span(now - back, now, MOST_POINTS))
        return {answer.name: answer.points for answer in found}

    def reading(
        self, wanted: Mapping[int, tuple[str, int]], since: float, ticks: str, patience: float
    ) -> Reading:
        """Look for what was sent `since` (epoch seconds; sink's number -> path and value) for up to
        `patience` seconds; then at the archives of `ticks`, a glob of paths with a history."""
        began = time.monotonic()
        found: dict[int, str] = {}
        try:
            while True:
                for number, (path, value) in wanted.items():
                    if number not in found:
                        found |= self._found(number, path, value, since)
                waited = time.monotonic() - began
                if len(found) == len(wanted) or waited > patience:
                    break
                time.sleep(POLL)
            step, rollups = self._archives(_form_of(found), ticks, list(found.values()))
        except GraphiteAway as error:
            return Reading(self.url, error=error.problem)
        except BadTarget as error:
            return Reading(self.url, error=f"it answers {error}")
        return Reading(self.url, waited, found, step, rollups)

    def _found(self, number: int, path: str, value: int, since: float) -> dict[int, str]:
        """Where a value is among the names that a path may have."""
        back = int(time.time() - since) + FLUSH
        series = self.points([form.format(path=path) for form in FORMS], back)
        for name, points in series.items():
            if any(kept == value for kept, _ in points):
                return {number: name}
        return {}

    def _archives(
        self, form: str, ticks: str, found: Sequence[str]
    ) -> tuple[int | None, tuple[Rollup, ...]]:
        """The finest step, and how each coarser one is made of the next finer one."""
        looks: dict[int, Points] = {}
        names = [form.format(path=ticks), *found]
        for back in SPANS:
            points = max(self.points(names, back).values(), key=_known, default=())
            if len(points) > 1:
                looks[points[1][1] - points[0][1]] = points  # the widest look of each step
        steps = sorted(looks)
        rollups = (rollup(looks[fine], looks[coarse]) for fine, coarse in pairwise(steps))
        return (steps[0] if steps else None), tuple(rollups)


def _known(points: Points) -> int:
    return sum(value is not None for value, _ in points)


def _form_of(found: Mapping[int, str]) -> str:
    """The form of the names there: the first one that was found, else the usual one."""
    for name in found.values():
        head = name.partition(".")[0]
        if head == "stats_counts":
            return "stats_counts.{path}"
        if name.endswith(".count"):
            return head + ".counters.{path}.count"
    return next(iter(FORMS))


def rollup(fine: Points, coarse: Points) -> Rollup:
    """How `coarse` points are made of `fine` ones, each with at least two. The first and the last
    slot, which `fine` may not fill, are passed over."""
    step = coarse[1][1] - coarse[0][1]
    possible, holes, compared = set(METHODS), 0, False
    for value, at in coarse:
        values = [kept for kept, when in fine if kept is not None and at <= when < at + step]
        if not values or at < fine[0][1] or at + step > fine[-1][1]:
            continue
        if value is None:
            holes += 1
        elif len(values) > 1:
            compared = True
            possible = {name for name in possible if _is_close(METHODS[name](values), value)}
    return Rollup(step, frozenset(possible if compared else METHODS), holes)


def _is_close(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-9)


def judged_form(name: str, path: str) -> str:
    """What is unlike the dashboards' names in `name`; "" when nothing is."""
    for form, unlike in FORMS.items():
        head, _, tail = form.partition("{path}")
        if name.endswith(f"{path}{tail}") and (head[0] == "*" or name.startswith(head)):
            return unlike
    return "names of another server"
