"""The specification, read: what no dashboard may get wrong."""

import re
from collections import Counter
from itertools import pairwise

import pytest

from celery_statsd.dashboards import DASHBOARDS
from celery_statsd.dashboards.flavours import FLAVOURS, Layout
from celery_statsd.dashboards.grafana import Taste, document, shown
from celery_statsd.dashboards.panels import Dashboard, Panel
from celery_statsd.dashboards.targets import METRIC, Named, named, query
from celery_statsd.metric import Kind
from celery_statsd.rules import CATALOGUE, FAMILIES

KNOWN = {(rule.kind, family, rule.metric) for rule in CATALOGUE for family in rule.families}

PANELS = [(dashboard, panel) for dashboard in DASHBOARDS for panel in dashboard.panels]

UNSHOWN = {
    (Kind.COUNTER, "agent", "messages_foreign"), (Kind.COUNTER, "agent", "names_hashed"),
    (Kind.COUNTER, "agent", "sink_packets"), (Kind.COUNTER, "agent", "timers_clamped"),
    (Kind.COUNTER, "broker", "asks"), (Kind.COUNTER, "broker", "looks"),
    (Kind.COUNTER, "doctor", "readback"),
    (Kind.GAUGE, "worker", "loadavg_15m"), (Kind.GAUGE, "worker", "loadavg_5m"),
    (Kind.GAUGE, "worker", "processed"), (Kind.GAUGE, "worker", "queues"),
    (Kind.GAUGE, "worker", "registered"), (Kind.GAUGE, "worker", "revoked_ids"),
}  # fmt: skip
"""What is sent and stands on no dashboard, with intent: it answers no question of its own."""

each_dashboard = pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda d: d.uid)
each_panel = pytest.mark.parametrize(
    "panel", [p for _, p in PANELS], ids=[f"{d.uid}: {p.title}" for d, p in PANELS]
)


def of_catalogue(target: str) -> set[tuple[Kind, str, str]]:
    """What a target names; the inner target of `applyByNode` is of the family outside."""
    found: list[Named] = list(named(target))
    return {
        (metric.kind, metric.family or found[0].family, name)
        for metric in found
        for name in metric.metrics
    }


@each_panel
def test_panels_name_metrics_of_the_catalogue(panel: Panel) -> None:
    """Of their kind, in their family."""
    for target in panel.targets:
        assert of_catalogue(target)
        assert set() == of_catalogue(target) - KNOWN
        rest = METRIC.sub("", target)
        assert "stats" not in rest, "a name that no flavour can change"


def test_every_metric_is_shown_somewhere() -> None:
    """A metric that nobody looks at is left out with intent, or forgotten. What is told of the
    cluster, of tasks or of workers is the same question at three distances."""
    seen = {row for _, panel in PANELS for target in panel.targets for row in of_catalogue(target)}
    anywhere = {(kind, metric) for kind, _, metric in seen}
    near = {row for row in KNOWN if row[1] in ("cluster", "task", "worker")}
    missing = {row for row in KNOWN - near if row not in seen}
    missing |= {row for row in near if (row[0], row[2]) not in anywhere}
    assert UNSHOWN == missing


@each_panel
def test_targets_avoid_the_traps(panel: Panel) -> None:
    """Brackets close; no `5m`, which Graphite takes for months or not at all; no range of Grafana's
    that it does not have for Graphite; no reference to another target."""
    for target in (query(target, Layout()) for target in panel.targets):
        for opens, closes in ("()", "{}", "[]"):
            assert target.count(opens) == target.count(closes)
        assert 0 == target.count('"') % 2
        assert 0 == target.count("'") % 2
        assert not re.search(r"'\d+(m|mo|M)'|\$__|#[A-Z]", target)
        assert "constantLine" not in target
        assert not re.search(r"\.count\)*,60\),60", target)


@each_panel
def test_nodes_are_counted_in_the_metric_they_are_of(panel: Panel) -> None:
    """The place of an entity differs with the kind: `@G.entity` beside a counter only is wrong."""
    for target in panel.targets:
        asked = set(re.findall(r"@([CGT])\.", target))
        there = {found[0][0] for found in METRIC.finditer(target)}
        assert asked <= there


@each_panel
def test_each_panel_is_explained(panel: Panel) -> None:
    """A question first. What has colours tells from when they hold, unless 0 is all that is good;
    no word there means something only inside this project."""
    asks, *_ = panel.description.split("\n\n")
    assert asks.endswith("?")
    assert asks[0].isupper()
    assert not re.search(r"diffSeries|whisper|ledger|tracker|aggregator", panel.description)
    assert not panel.text or panel.text.endswith(".")
    assert not panel.empty.endswith(".")


@each_dashboard
def test_titles_are_told_apart(dashboard: Dashboard) -> None:
    """An alert rule finds its panel by the title."""
    assert {1} == set(Counter(panel.title for panel in dashboard.panels).values())


def test_links_lead_somewhere() -> None:
    """To a dashboard of ours, and to a variable that it has."""
    choices = {d.uid: d.choice.name if d.choice else "" for d in DASHBOARDS}
    links = [panel.link for _, panel in PANELS if panel.link]
    assert [] == [link for link in links if link.uid not in choices]
    assert [] == [link for link in links if link.variable not in ("", choices[link.uid])]
    roads = {(d.uid, p.link.uid) for d, p in PANELS if p.link}
    assert {("celery-overview", "celery-task"), ("celery-task", "celery-workers")} <= roads


@each_dashboard
def test_variables_are_those_that_are_there(dashboard: Dashboard) -> None:
    """What a target has to be filled with, the dashboard asks for."""
    made = {v["name"] for v in document(dashboard, Taste())["templating"]["list"]}
    used = {
        name
        for panel in dashboard.panels
        for target in shown(panel, Layout())
        for name in re.findall(r"\$(\w+)", target)
    }
    assert used <= made


@pytest.mark.parametrize("name", FLAVOURS)
def test_no_name_has_two_equal_neighbours(name: str) -> None:
    """Bucky would make one of them."""
    for _, panel in PANELS:
        for target in shown(panel, Layout(FLAVOURS[name])):
            for path in re.findall(r"[\w$*{},-]+(?:\.[\w$*{},-]+){3,}", target):
                nodes = path.split(".")
                equal = [a for a, b in pairwise(nodes) if a == b != "*"]
                assert [] == equal, path


def test_each_family_has_a_panel() -> None:
    """All but the doctor's, who shows by himself what he has read."""
    assert set(FAMILIES) - {"doctor"} == {
        family for _, p in PANELS for target in p.targets for _, family, _ in of_catalogue(target)
    }
