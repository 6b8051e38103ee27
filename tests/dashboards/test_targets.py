"""From what a row writes to what Graphite is asked."""

import pytest

from celery_statsd.dashboards.flavours import FLAVOURS, Layout
from celery_statsd.dashboards.targets import ENDED, INTO, Named, answerable, named, query
from celery_statsd.events import OUTCOMES
from celery_statsd.metric import Kind

PLAIN, LEGACY = Layout(app="x"), Layout(FLAVOURS["statsd-legacy"], app="x")


@pytest.mark.parametrize(
    ("written", "plain", "legacy"),
    [
        (
            "sumSeries(C[task.*.failed])",
            "sumSeries(stats.counters.celery.x.task.*.failed.*.count)",
            "sumSeries(stats_counts.celery.x.task.*.failed.*)",
        ),
        (
            "groupByNode(C[task.*.failed],@C.entity,'sum')",
            "groupByNode(stats.counters.celery.x.task.*.failed.*.count,5,'sum')",
            "groupByNode(stats_counts.celery.x.task.*.failed.*,4,'sum')",
        ),
        (
            "a(G[queue.*.length],@G.entity,@G.reporter)",
            "a(stats.gauges.celery.x.queue.*.length.*,5,7)",
            "a(stats.gauges.celery.x.queue.*.length.*,5,7)",
        ),
        (
            "T[cluster.all.wait:p$pct] T[cluster.all.wait:mean]",
            "stats.timers.celery.x.cluster.all.wait.*.upper_$pct "
            "stats.timers.celery.x.cluster.all.wait.*.mean",
            "stats.timers.celery.x.cluster.all.wait.*.upper_$pct "
            "stats.timers.celery.x.cluster.all.wait.*.mean",
        ),
        (
            'applyByNode(C[task.*.received],@C.entity,"sum(C[%.{failed,lost}])")',
            "applyByNode(stats.counters.celery.x.task.*.received.*.count,5,"
            '"sum(%.{failed,lost}.*.count)")',
            'applyByNode(stats_counts.celery.x.task.*.received.*,4,"sum(%.{failed,lost}.*)")',
        ),
        (
            "C[agent.*.ticks]",
            "stats.counters.celery.x.agent.*.ticks.self.count",
            "stats_counts.celery.x.agent.*.ticks.self",
        ),
    ],
)
def test_a_target_in_two_flavours(written: str, plain: str, legacy: str) -> None:
    """Names and the places of their nodes."""
    assert plain == query(written, PLAIN)
    assert legacy == query(written, LEGACY)


def test_what_a_target_names() -> None:
    """Kind, family, entity, metrics and measure; the inner target has no family of its own."""
    found = list(named("f(C[task.*.{failed,lost}],T[queue.*.wait:p90],G[%.up])"))
    assert [
        Named(Kind.COUNTER, "task", "*", "{failed,lost}", ""),
        Named(Kind.TIMER, "queue", "*", "wait", "p90"),
        Named(Kind.GAUGE, "", "%", "up", ""),
    ] == found
    assert ("failed", "lost") == found[0].metrics


def test_what_no_statsd_writes_is_not_asked() -> None:
    """Bucky makes no sums of timers; percentiles all make."""
    bucky = Layout(FLAVOURS["bucky"])
    assert not answerable("T[task.*.runtime:sum]", bucky)
    assert answerable("T[task.*.runtime:sum]", PLAIN)
    assert answerable("T[task.*.runtime:p90]", bucky)
    assert answerable("C[task.*.failed]", bucky)


def test_both_sides_of_the_balance() -> None:
    """As the README has it."""
    assert "{received,on_arrival,found}" == INTO
    assert {moment.word for moment in OUTCOMES} == set(ENDED.strip("{}").split(","))
