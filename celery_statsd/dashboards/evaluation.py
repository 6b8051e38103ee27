"""What a dashboard would show now: each panel asked of a Graphite, and why one is empty."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from statistics import fmean

from celery_statsd.dashboards.flavours import FLAVOURS, Layout
from celery_statsd.dashboards.grafana import Taste, shown
from celery_statsd.dashboards.panels import Dashboard, Panel
from celery_statsd.errors import BadTarget, ConfigError
from celery_statsd.graphite import KEY, Answer, Graphite, Span

_SERIES = re.compile(r"(?<![\w'\"%])[\w-]+(?:\.(?:[\w*$-]|\{[^}]*\})+){4,}")
"""A path among the functions and arguments of a target."""

_REDUCED: Mapping[str, Callable[[Sequence[float]], float]] = {
    "lastNotNull": lambda values: values[-1],
    "mean": fmean,
    "max": max,
}


class Verdict(Enum):
    """What became of a panel."""

    SHOWN = "ok"
    EMPTY = "empty"
    MISSING = "MISSING"
    WRONG = "WRONG"


@dataclass(frozen=True, slots=True)
class Finding:
    """A panel, asked. `why` is a sentence where there is nothing to see, or a fault; `answers` are
    the series it would draw."""

    dashboard: Dashboard
    panel: Panel
    verdict: Verdict
    why: str = ""
    answers: Sequence[Answer] = ()

    @property
    def number(self) -> float | None:
        """What a tile would show."""
        values = self.answers[0].values if self.answers else ()
        return _REDUCED[self.panel.reduce](values) if values else None

    @property
    def colour(self) -> str:
        """The colour of a tile; empty when it shows nothing."""
        number, colour = self.number, ""
        for step, name in self.panel.steps if number is not None else ():
            if step is None or (number is not None and number >= step):
                colour = name
        return colour

    @property
    def is_bad(self) -> bool:
        """Whether somebody has to do something about it."""
        return self.verdict in (Verdict.MISSING, Verdict.WRONG)


def filled(target: str, choices: Mapping[str, str]) -> str:
    """`target` with Grafana's variables replaced."""
    return re.sub(r"\$(\w+)", lambda found: choices.get(found[1], found[0]), target)


def choices(dashboard: Dashboard, taste: Taste, app: str) -> dict[str, str]:
    """The variables as they stand at first: all entities, the first percentile."""
    chosen = {"app": app, "pct": taste.known_percentiles[0]}
    return chosen | ({dashboard.choice.name: "*"} if dashboard.choice else {})


def evaluate(
    dashboard: Dashboard, taste: Taste, graphite: Graphite, span: Span, app: str
) -> Iterator[Finding]:
    """Each panel, asked at once. Raises ConfigError when Graphite is not there."""
    variables = choices(dashboard, taste, app)
    for panel in dashboard.panels:
        targets = [filled(target, variables) for target in shown(panel, taste.layout)]
        if targets:
            yield _asked(Finding(dashboard, panel, Verdict.SHOWN), targets, graphite, span)


def apps(layout: Layout, graphite: Graphite) -> list[str]:
    """The apps that an agent has told of, by their nodes."""
    found = graphite.expand(_below(layout))
    return sorted(path.rpartition(".")[2] for path in found)


def some_apps(layout: Layout, graphite: Graphite, named: bool = False) -> list[str]:
    """As `apps`; when the layout's is `named`, it alone.

    Raises ConfigError when there are none, with the flavours and the apps that there are.
    """
    found = apps(layout, graphite)
    wanted = [app for app in found if app == layout.app] if named else found
    if not wanted:
        path = _below(layout)
        problem = f"{graphite.url} has no series {path[:-1] + layout.app if named else path}"
        raise ConfigError(KEY, problem, _instead(layout, graphite, found, named))
    return wanted


def _instead(layout: Layout, graphite: Graphite, found: Sequence[str], named: bool) -> str:
    """What to name where there is nothing."""
    flavours = other_flavours(layout, graphite, named)
    others = [*(f"--flavour {name}" for name in flavours), *(f"--app {app}" for app in found)]
    return f"try {' or '.join(others)}" if others else "start an agent, or name its --prefix"


def line(found: Finding) -> str:
    """A finding for a terminal: how it is, where, and the number or the reason."""
    number = "" if found.number is None else f"{found.number:,.6g}"
    shown = number if found.panel.type == "stat" else f"{len(found.answers)} lines"
    where = (
        f"{found.dashboard.title.rpartition(' / ')[2]}: {found.panel.title.removesuffix(', p$pct')}"
    )
    return f"{found.verdict.value:8} {where:50} {found.why or shown}"


def other_flavours(layout: Layout, graphite: Graphite, named: bool = False) -> list[str]:
    """The flavours under whose names there are apps (or the layout's, when it is `named`)."""
    there = {name: apps(layout._replace(flavour=FLAVOURS[name]), graphite) for name in FLAVOURS}
    return [name for name, found in there.items() if (layout.app in found if named else found)]


def _below(layout: Layout) -> str:
    path = layout.counter("*", "*", "*").split(".")
    return ".".join([*path[: path.index(layout.app)], "*"])


def _asked(panel: Finding, targets: list[str], graphite: Graphite, span: Span) -> Finding:
    try:
        answers = graphite.render(targets, span)
    except BadTarget as error:
        return _found(panel, Verdict.WRONG, f"Graphite refuses the query ({error})")
    names = [answer.name for answer in answers]
    if len(set(names)) < len(names):
        return _found(panel, Verdict.WRONG, f"two lines have one name: {sorted(names)}", answers)
    if any(answer.values for answer in answers):
        return _found(panel, Verdict.SHOWN, "", answers)
    expected = bool(panel.panel.empty)
    why = " ".join(filter(None, (_reason(targets, graphite, span), _excuse(panel.panel))))
    return _found(panel, Verdict.EMPTY if expected else Verdict.MISSING, why, answers)


def _found(panel: Finding, verdict: Verdict, why: str, answers: Sequence[Answer] = ()) -> Finding:
    return Finding(panel.dashboard, panel.panel, verdict, why, answers)


def _excuse(panel: Panel) -> str:
    return f"That is right when {panel.empty}." if panel.empty else ""


def _reason(targets: Sequence[str], graphite: Graphite, span: Span) -> str:
    """Why nothing came: no series, no values, or none that the panel keeps."""
    paths = dict.fromkeys(path for target in targets for path in _SERIES.findall(target))
    absent = [path for path in paths if not graphite.expand(path)]
    if absent:
        return f"No series is called {absent[0]}."
    silent = [p for p in paths if not any(a.values for a in graphite.render([p], span))]
    if silent:
        return f"{silent[0]} has no value in this time."
    return "There are values, and none that this panel keeps."
