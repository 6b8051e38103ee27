"""A target in the names of a Graphite."""

import pytest

from celery_statsd.alerts.target import Mention, layout_of, mentions, spelt
from celery_statsd.dashboards.flavours import FLAVOURS, Layout
from celery_statsd.metric import Kind

NEW = Layout(FLAVOURS["statsd"], "celery", "prod")
OLD = Layout(FLAVOURS["statsd-legacy"], "my.celery", "prod")


@pytest.mark.parametrize(
    ("written", "new", "old"),
    [
        (
            "sumSeries(counter:task.*.{failed,lost}.*)",
            "sumSeries(stats.counters.celery.prod.task.*.{failed,lost}.*.count)",
            "sumSeries(stats_counts.my.celery.prod.task.*.{failed,lost}.*)",
        ),
        (
            "aliasByNode(gauge:queue.*.length.all, gauge#entity)",
            "aliasByNode(stats.gauges.celery.prod.queue.*.length.all, 5)",
            "aliasByNode(stats.gauges.my.celery.prod.queue.*.length.all, 6)",
        ),
        (
            "timer:task.*.wait.*.p90",
            "stats.timers.celery.prod.task.*.wait.*.upper_90",
            "stats.timers.my.celery.prod.task.*.wait.*.upper_90",
        ),
        (
            "timer:task.a-b.wait.*.mean",
            "stats.timers.celery.prod.task.a-b.wait.*.mean",
            "stats.timers.my.celery.prod.task.a-b.wait.*.mean",
        ),
        (
            'applyByNode(x, counter#entity, "scale(counter:%.failed.*, 2)")',
            'applyByNode(x, 5, "scale(%.failed.*.count, 2)")',
            'applyByNode(x, 5, "scale(%.failed.*, 2)")',
        ),
    ],
)
def test_it_is_spelt_as_the_statsd_does(written: str, new: str, old: str) -> None:
    """Names and places of nodes; the rest stays."""
    assert new == spelt(written, NEW)
    assert old == spelt(written, OLD)


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("counter:task.*.failed", r"is not counter:family\.entity\.metric\.reporter"),
        ("timer:task.*.wait.*", r"metric\.reporter\.measure"),
        ("counter:%.failed", r"is not counter:metric\.reporter"),
        ("gauge:%", "is not gauge"),
        ("aliasByNode(x, counter#queue)", "has no node 'queue'"),
        ("aliasByNode(x, counter#measure)", "has no node 'measure'"),
    ],
)
def test_what_is_no_name_is_told(written: str, reason: str) -> None:
    """With how it should be."""
    with pytest.raises(ValueError, match=reason):
        list(mentions(written))


def test_every_metric_is_mentioned() -> None:
    """Each of a glob, and those whose family nobody knows."""
    text = "f(counter:cluster.all.{sent,lost}.*, gauge:%.up.*, timer:task.*.wait.*.p90)"
    assert [
        Mention(Kind.COUNTER, "cluster", "sent"),
        Mention(Kind.COUNTER, "cluster", "lost"),
        Mention(Kind.GAUGE, "", "up"),
        Mention(Kind.TIMER, "task", "wait"),
    ] == list(mentions(text))


@pytest.mark.parametrize(
    ("prefix", "app", "head"),
    [
        ("celery", "default", "celery.default"),
        ("", "shop", "shop"),
        ("a.b", "my.shop", "a.b.my-shop"),
        ("celery", "task", "celery.task_"),
        ("celery", "celery", "celery.celery_"),
    ],
)
def test_prefix_and_app_are_made_safe_as_the_agent_makes_them(
    prefix: str, app: str, head: str
) -> None:
    """Words of the catalogue and equal neighbours get a `_`."""
    layout = layout_of("graphite", prefix, app)
    assert f"stats.gauges.{head}.cluster.all.running.*" == layout.gauge("cluster", "all", "running")
