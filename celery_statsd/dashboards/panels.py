"""What a dashboard is made of: rows of panels, each a question, its targets and how it is drawn.

Nothing here knows Grafana's JSON (see `grafana`) or how a StatsD names things (see `targets`).
"""

from dataclasses import dataclass
from typing import NamedTuple

from celery_statsd.rules.queue import LEVELS

Words = tuple[tuple[int, str, str], ...]
"""A value, the word shown in its place, and the word's colour."""

OK: Words = ((0, "OK", "green"),)

Steps = tuple[tuple[float | None, str], ...]
"""From which value on which colour holds; the first from minus infinity (None)."""

PLAIN: Steps = ((None, "blue"),)
NONE: Steps = ((None, "text"),)
ZERO: Steps = ((None, "green"), (1, "red"))
CARE: Steps = ((None, "green"), (1, "yellow"))
ALIVE: Steps = ((None, "red"), (1, "green"))
LENGTH: Steps = (
    (None, "green"), (LEVELS[0], "yellow"), (LEVELS[1], "orange"), (LEVELS[2], "red"),
)  # fmt: skip
IN_FLIGHT: Steps = (
    (None, "red"), (-100, "orange"), (-10, "green"), (10, "orange"), (100, "red"),
)  # fmt: skip
BALANCED: Steps = ((None, "red"), (-0.5, "green"), (0.5, "red"))
BAND: Steps = ((None, "red"), (-5, "transparent"), (5, "red"))


class Link(NamedTuple):
    """Where a click leads: the dashboard `uid`, and the variable there that takes the name of the
    series clicked on, if any."""

    title: str
    uid: str
    variable: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One question and its answer.

    `asks` is the question, `text` how to read the answer: together the description. `targets` are
    written as `targets` says. `type` is Grafana's; `unit` too. `steps` colour the value; `zone`
    draws them in a graph as `area` or `line`. `words` are shown in place of values,
    each in its colour. `empty` says when it
    is right that there is nothing to see. `signed`: values may be below 0. `places` are the digits
    shown after the point.
    """

    title: str
    asks: str
    targets: tuple[str, ...]
    text: str = ""
    type: str = "timeseries"
    unit: str = "short"
    steps: Steps = NONE
    zone: str = ""
    words: Words = ()
    empty: str = ""
    reduce: str = "lastNotNull"
    stacked: bool = False
    bars: bool = False
    sparkline: bool = False
    signed: bool = False
    places: int | None = None
    width: int = 12
    height: int = 8
    link: Link | None = None

    @property
    def description(self) -> str:
        """What is shown behind the panel's `i`."""
        empty = f"Empty when {self.empty}." if self.empty else ""
        return "\n\n".join(filter(None, (self.asks, self.text, empty)))


def tile(  # noqa: PLR0913
    title: str,
    asks: str,
    target: str,
    text: str = "",
    *,
    steps: Steps = ZERO,
    unit: str = "locale",
    words: Words = (),
    empty: str = "",
    reduce: str = "lastNotNull",
    sparkline: bool = False,
    places: int | None = 0,
    width: int = 3,
    link: Link | None = None,
) -> Panel:
    """A number on its colour."""
    return Panel(
        title, asks, (target,), text, "stat", unit, steps, words=words, empty=empty, reduce=reduce,
        sparkline=sparkline, places=places, width=width, height=4, link=link,
    )  # fmt: skip


def should_be_zero(  # noqa: PLR0913
    title: str,
    asks: str,
    target: str,
    text: str,
    *,
    steps: Steps = ZERO,
    empty: str = "",
    width: int = 3,
    link: Link | None = None,
) -> Panel:
    """A tile that says OK, or how many."""
    return tile(
        title, asks, target, text, steps=steps, words=OK, empty=empty, width=width, link=link
    )


def top(  # noqa: PLR0913
    title: str,
    asks: str,
    target: str,
    text: str = "",
    *,
    unit: str = "locale",
    steps: Steps = PLAIN,
    empty: str = "",
    width: int = 8,
    link: Link | None = None,
) -> Panel:
    """The names that lead, each with its bar."""
    return Panel(
        title, asks, (target,), text, "bargauge", unit, steps, empty=empty, width=width, link=link
    )


class Row(NamedTuple):
    """Panels under a headline, from left to right, as many in a line as fit."""

    title: str
    panels: tuple[Panel, ...]


class Variable(NamedTuple):
    """A choice at the top of a dashboard: the entities of `family` that have `metric`, which is a
    counter or a gauge (`C` or `G`)."""

    name: str
    label: str
    kind: str
    family: str
    metric: str


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One page. `choice` is its own variable beside app and percentile, if it has one."""

    uid: str
    title: str
    text: str
    rows: tuple[Row, ...]
    choice: Variable | None = None

    @property
    def panels(self) -> tuple[Panel, ...]:
        """All of them, in order."""
        return tuple(panel for row in self.rows for panel in row.panels)


def total(metric: str) -> str:
    """The target of a counter's sum over the range: exact at any zoom and over roll-ups, where
    the sum of the points drawn is not."""
    return f"consolidateBy(integral(sumSeries({metric})),'last')"


def now(target: str) -> str:
    """A value as it is now: without this the last point drawn is an average of some."""
    return f"consolidateBy({target},'last')"


def by(kind: str, path: str, join: str) -> str:
    """One line an entity, whatever number of agents told of it; `join` is `sum` or `max`."""
    return f"groupByNode({kind}[{path}],@{kind}.entity,'{join}Series')"


def called(target: str) -> str:
    """The lines of `by`, under the names of their entities alone."""
    return f"aliasByNode({target},0)"
