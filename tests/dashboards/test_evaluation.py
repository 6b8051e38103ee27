"""Each target of each panel, asked of a real Graphite that holds a known world."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest

from celery_statsd.dashboards import DASHBOARDS, overview
from celery_statsd.dashboards.evaluation import (
    Finding,
    Verdict,
    apps,
    evaluate,
    filled,
    other_flavours,
    some_apps,
)
from celery_statsd.dashboards.files import COMMITTED
from celery_statsd.dashboards.flavours import FLAVOURS, Layout
from celery_statsd.dashboards.grafana import Taste
from celery_statsd.dashboards.panels import Dashboard, Panel, Row
from celery_statsd.errors import ConfigError
from celery_statsd.graphite import Answer, Graphite, Span
from tests.dashboards.world import World

pytestmark = pytest.mark.e2e

HOUR = 3600
OLDER = "a week ago"
"""The made world is three days old: of this one target there can be nothing."""

VIEWS = {
    "a_morning": ("dashboards", 3 * HOUR, 1000),
    "a_day": ("dashboards", 24 * HOUR, 100),
    "legacy": ("dashboards/legacy", 3 * HOUR, 500),
}
"""The flavour, the seconds looked at, the points asked for."""


def single(dashboard: Dashboard) -> Dashboard:
    """`dashboard` with a panel for each target."""
    panels = (
        replace(panel, targets=(target,)) for panel in dashboard.panels for target in panel.targets
    )
    return replace(dashboard, rows=(Row("all", tuple(panels)),))


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda dashboard: dashboard.uid)
def test_every_target_answers(
    dashboard: Dashboard, view: str, world: World, asked: Graphite
) -> None:
    """As Grafana asks: nothing is refused, no two lines share a name, nothing is empty."""
    folder, seconds, points = VIEWS[view]
    span = Span(world.end - seconds, world.end, points)
    found = list(evaluate(single(dashboard), COMMITTED[folder], asked, span, "shop"))

    assert sum(len(panel.targets) for panel in dashboard.panels) == len(found)
    bad = [one for one in found if one.verdict is not Verdict.SHOWN]
    assert [] == [(one.panel.title, one.why) for one in bad if OLDER not in one.panel.targets[0]]


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda dashboard: dashboard.uid)
def test_the_lines_of_a_panel_have_names_of_their_own(
    dashboard: Dashboard, world: World, asked: Graphite
) -> None:
    """Short ones, such as a reader knows: no line is called after functions or paths."""
    span = Span(world.end - HOUR, world.end, 30)
    for one in evaluate(dashboard, COMMITTED["dashboards"], asked, span, "shop"):
        names = Counter(answer.name for answer in one.answers)
        assert [] == [name for name, number in names.items() if number > 1], one.panel.title
        if one.panel.type != "stat":
            assert [] == [name for name in names if set(name) & set("(){}*%'")], one.panel.title


def asking(asked: Graphite, world: World, *panels: Panel) -> Iterator[Finding]:
    """Findings of panels that stand on no dashboard."""
    dashboard = Dashboard("x", "X", "", (Row("r", panels),))
    span = Span(world.end - 600, world.end)
    return evaluate(dashboard, Taste(), asked, span, "shop")


def test_an_empty_panel_tells_why(world: World, asked: Graphite) -> None:
    """There is no such series; it has no value now; or the panel keeps none."""
    absent, silent, none, excused = asking(
        asked,
        world,
        Panel("a", "?", ("sumSeries(G[queue.*.drained])",)),
        Panel("b", "?", ("C[agent.web3.flush]", "T[queue.never.wait:mean]")),
        Panel("c", "?", ("filterSeries(G[queue.*.length],'max','>',99999)",)),
        Panel("d", "?", ("G[queue.*.drained]",), empty="nothing was drained"),
    )
    path = "stats.gauges.celery.shop.queue.*.drained.*"
    assert (Verdict.MISSING, f"No series is called {path}.") == (absent.verdict, absent.why)
    assert "stats.counters.celery.shop.agent.web3.flush.self.count" in silent.why
    assert (Verdict.MISSING, "There are values, and none that this panel keeps.") == (
        none.verdict, none.why,
    )  # fmt: skip
    assert Verdict.EMPTY is excused.verdict
    assert f"No series is called {path}. That is right when nothing was drained." == excused.why
    assert [True, True, True, False] == [one.is_bad for one in (absent, silent, none, excused)]


def test_series_without_a_value_in_the_range_are_told(world: World, asked: Graphite) -> None:
    """What has been silent for two days is there, and has nothing to say of today."""
    span = Span(world.end - 40, world.end - 20)
    (found,) = evaluate(
        Dashboard("x", "X", "", (Row("r", (Panel("a", "?", ("C[cluster.all.received]",)),)),)),
        Taste(), asked, span._replace(since=world.end + 10, until=world.end + 20), "nulls",
    )  # fmt: skip
    path = "stats.counters.celery.nulls.cluster.all.received.*.count"
    assert f"{path} has no value in this time." == found.why


def test_what_graphite_refuses_is_wrong(world: World, asked: Graphite) -> None:
    """An unknown function; and two lines of one name, which an alert could not tell apart."""
    refused, twice = asking(
        asked,
        world,
        Panel("a", "?", ("nonsense(G[queue.*.length])",)),
        Panel("b", "?", ("alias(G[queue.*.length],'x')",)),
    )
    assert (Verdict.WRONG, True) == (refused.verdict, refused.is_bad)
    assert "nonsense" in refused.why
    assert Verdict.WRONG is twice.verdict
    assert "two lines have one name" in twice.why


def test_a_tile_shows_what_it_reduces_to() -> None:
    """The last value, the mean, the greatest; its colour is that of the highest step reached."""
    points = ((3.0, 0), (1.0, 10), (None, 20))
    panel = Panel("a", "?", (), steps=((None, "green"), (2, "yellow"), (3, "red")))
    shown = [
        Finding(overview.DASHBOARD, replace(panel, reduce=how), Verdict.SHOWN, "",
                [Answer("x", points)])
        for how in ("lastNotNull", "mean", "max")
    ]  # fmt: skip
    assert [(1.0, "green"), (2.0, "yellow"), (3.0, "red")] == [(f.number, f.colour) for f in shown]
    nothing = Finding(overview.DASHBOARD, panel, Verdict.EMPTY)
    assert (None, "") == (nothing.number, nothing.colour)


def test_variables_are_filled_in() -> None:
    """Those that are known; `$__range` and the like stay."""
    assert "a.*.$b" == filled("a.$task.$b", {"task": "*"})


@pytest.mark.usefixtures("world")
def test_the_apps_of_a_graphite(asked: Graphite) -> None:
    """By flavour; where there is none, the flavours under which there are."""
    assert {"shop", "dropped", "nulls", "killed"} <= set(apps(Layout(), asked))
    assert [] == apps(Layout(prefix="nobody.here"), asked)
    assert set(FLAVOURS) == set(other_flavours(Layout(), asked))


@pytest.mark.usefixtures("world")
def test_an_app_that_is_named_is_the_only_one(asked: Graphite) -> None:
    """One that is not there is told in a sentence, not as a hundred panels without their series."""
    assert ["shop"] == some_apps(Layout(app="shop"), asked, named=True)
    assert apps(Layout(), asked) == some_apps(Layout(), asked)
    told = r"has no series stats\.counters\.celery\.shap; try --app .*--app shop"
    with pytest.raises(ConfigError, match=told):
        some_apps(Layout(app="shap"), asked, named=True)
    told = r"has no series stats\.counters\.nobody\.shop; start an agent, or name its --prefix"
    with pytest.raises(ConfigError, match=told):
        some_apps(Layout(prefix="nobody", app="shop"), asked, named=True)


class Legacy(Graphite):
    """One that holds what a StatsD as it comes has written for two apps."""

    def expand(self, pattern: str) -> list[str]:
        head = pattern.removesuffix("*")
        return [f"{head}{app}" for app in ("blog", "shop")] if "stats_counts" in head else []


def test_an_app_of_another_flavour_is_told_with_it() -> None:
    """And so are the apps of this one, when there are others."""
    graphite, of_legacy = Legacy("http://graphite"), FLAVOURS["statsd-legacy"]
    told = "try --flavour statsd-legacy or --flavour bucky$"
    with pytest.raises(ConfigError, match=told):
        some_apps(Layout(app="shop"), graphite, named=True)
    with pytest.raises(ConfigError, match=r"; try --app blog or --app shop$"):
        some_apps(Layout(of_legacy, app="shap"), graphite, named=True)
