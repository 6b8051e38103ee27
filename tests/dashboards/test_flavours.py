"""The names in Graphite: what each StatsD makes of ours."""

import pytest

from celery_statsd.dashboards.flavours import FLAVOURS, PARTS, Layout
from celery_statsd.metric import Kind

HEADS = {
    "statsd": "stats.counters",
    "statsd-legacy": "stats_counts",
    "bucky": "stats_counts",
    "gostatsd": "stats.counters",
    "graphite": "stats.counters",
}
TAILS = {"statsd": ".count", "gostatsd": ".count", "graphite": ".count"}

each_flavour = pytest.mark.parametrize("name", FLAVOURS)


@each_flavour
def test_each_flavour_names_the_three_kinds(name: str) -> None:
    """Counters differ, gauges and timers do not."""
    layout = Layout(FLAVOURS[name], app="shop")
    counter = layout.counter("task", "a-b", "failed")
    assert f"{HEADS[name]}.celery.shop.task.a-b.failed.*{TAILS.get(name, '')}" == counter
    assert "stats.gauges.celery.shop.queue.*.length.all" == layout.gauge(
        "queue", "*", "length", "all"
    )
    assert "stats.timers.celery.shop.cluster.all.wait.*.mean" == layout.timer(
        "cluster", "all", "wait", "mean"
    )
    assert "stats.timers.celery.shop.cluster.all.wait.*.upper_99_9" == layout.percentile(
        "cluster", "all", "wait", "99_9"
    )


def test_an_agent_speaks_of_itself() -> None:
    """Nobody else does; every agent sees its broker in its own way."""
    layout = Layout(app="shop")
    assert "stats.counters.celery.shop.agent.web1.ticks.self.count" == layout.counter(
        "agent", "web1", "ticks"
    )
    assert "stats.gauges.celery.shop.broker.*.up.*" == layout.gauge("broker", "*", "up")


@each_flavour
@pytest.mark.parametrize("prefix", ["", "celery", "a.b.c"])
def test_nodes_are_where_they_are_said_to_be(name: str, prefix: str) -> None:
    """Each part of a name is found at its place, for each kind and prefix."""
    layout = Layout(FLAVOURS[name], prefix, "shop")
    words = ("task", "a-b", "failed", "all")
    paths = {
        Kind.COUNTER: layout.counter(*words),
        Kind.GAUGE: layout.gauge(*words),
        Kind.TIMER: layout.timer(*words[:3], "mean", words[3]),
    }
    for kind, path in paths.items():
        nodes = path.split(".")
        told = dict(zip(PARTS, ("shop", *words, nodes[-1]), strict=True))
        if kind is Kind.GAUGE or (kind is Kind.COUNTER and name not in TAILS):
            del told["measure"]
        assert told == {part: nodes[layout.node(kind, part)] for part in told}
