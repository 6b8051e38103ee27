"""Targets as the rows write them, and as Graphite is asked.

A row names metrics of the catalogue by kind, family, entity and metric; each flavour of StatsD
turns that into names of its own:

| written                         | with the flavour `statsd`                                      |
| ------------------------------- | -------------------------------------------------------------- |
| `C[task.*.failed]`              | `stats.counters.celery.$app.task.*.failed.*.count`             |
| `G[queue.*.length]`             | `stats.gauges.celery.$app.queue.*.length.*`                    |
| `T[cluster.all.wait:mean]`      | `stats.timers.celery.$app.cluster.all.wait.*.mean`             |
| `T[cluster.all.wait:p$pct]`     | `stats.timers.celery.$app.cluster.all.wait.*.upper_$pct`       |
| `C[%.failed]`                   | `%.failed.*.count`, for the inner target of `applyByNode`      |
| `@C.entity`                     | `5`: where the entity stands in the name of a counter          |
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from celery_statsd.dashboards.flavours import Layout
from celery_statsd.events import OUTCOMES
from celery_statsd.metric import Kind

KINDS = {"C": Kind.COUNTER, "G": Kind.GAUGE, "T": Kind.TIMER}

INTO = "{received,on_arrival,found}"
"""The counters of attempts that came in."""

ENDED = "{" + ",".join(moment.word for moment in OUTCOMES) + "}"
"""The counters of attempts that ended: each attempt is in exactly one."""

METRIC = re.compile(r"\b(?P<kind>[CGT])\[(?P<path>[^\]:]+)(?::(?P<measure>[^\]]+))?\]")
_NODE = re.compile(r"@(?P<kind>[CGT])\.(?P<part>[a-z]+)")


class Named(NamedTuple):
    """A metric that a target names. `family` is empty where `applyByNode` fills it in."""

    kind: Kind
    family: str
    entity: str
    metric: str
    measure: str

    @property
    def metrics(self) -> tuple[str, ...]:
        """Each of the metrics: `{failed,lost}` are two."""
        return tuple(self.metric.strip("{}").split(","))


def named(target: str) -> Iterator[Named]:
    """All metrics a written target names, in its order."""
    for found in METRIC.finditer(target):
        *head, metric = found["path"].split(".")
        family, entity = head if len(head) == 2 else ("", *head)
        yield Named(KINDS[found["kind"]], family, entity, metric, found["measure"] or "")


def query(target: str, layout: Layout) -> str:
    """A written target, as Graphite is asked by `layout`."""
    text = METRIC.sub(lambda found: _path(next(named(found[0])), layout), target)
    return _NODE.sub(lambda found: str(layout.node(KINDS[found["kind"]], found["part"])), text)


def answerable(target: str, layout: Layout) -> bool:
    """Whether the layout's StatsD writes each measure the target needs."""
    known = layout.flavour.measures
    return all(not m.measure or m.measure[0] == "p" or m.measure in known for m in named(target))


def _path(metric: Named, layout: Layout) -> str:
    if not metric.family:
        return _below_prefix(metric, layout)
    words = metric.family, metric.entity, metric.metric
    if metric.kind is Kind.TIMER:
        if metric.measure[0] == "p":
            return layout.percentile(*words, metric.measure[1:])
        return layout.timer(*words, metric.measure)
    return layout.counter(*words) if metric.kind is Kind.COUNTER else layout.gauge(*words)


def _below_prefix(metric: Named, layout: Layout) -> str:
    """`applyByNode` puts all that stands before the metric in the place of `%`."""
    whole = _path(metric._replace(family="family", entity="%"), layout)
    return whole[whole.index("%") :]
