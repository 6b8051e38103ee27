"""A rule's target: the metrics of the catalogue, in the names of one Graphite.

| written                          | becomes, with StatsD's own names                            |
| -------------------------------- | ----------------------------------------------------------- |
| `counter:task.*.failed.*`        | `stats.counters.celery.prod.task.*.failed.*.count`          |
| `gauge:queue.*.length.all`       | `stats.gauges.celery.prod.queue.*.length.all`               |
| `timer:task.*.wait.*.p90`        | `stats.timers.celery.prod.task.*.wait.*.upper_90`           |
| `timer:task.*.wait.*.mean`       | `stats.timers.celery.prod.task.*.wait.*.mean`               |
| `counter#entity`                 | 5: the place of a node in a counter's name                  |
| `counter:%.failed.*`             | `%.failed.*.count`: inside `applyByNode`, `%` is the head   |

Everything else is Graphite's own and stays.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from celery_statsd.dashboards.flavours import FLAVOURS, PARTS, Layout
from celery_statsd.metric import Kind
from celery_statsd.names import Names
from celery_statsd.rules import WORDS

_KINDS = "|".join(kind.value for kind in Kind)
_NODE = r"(?:\{[^{}]*\}|[A-Za-z0-9_*?\[\]-])+"
_METRIC = re.compile(rf"\b({_KINDS}):(%|{_NODE})((?:\.{_NODE})*)")
_PLACE = re.compile(rf"\b({_KINDS})#(\w+)")
_PERCENTILE = re.compile(r"p(\d+(?:_\d+)?)")

LENGTHS = {Kind.COUNTER: 4, Kind.GAUGE: 4, Kind.TIMER: 5}
"""Nodes behind the app: family, entity, metric, reporter, and a timer's measure."""


class Mention(NamedTuple):
    """A metric that a target names; behind a `%` family and entity are unknown, thus empty."""

    kind: Kind
    family: str
    metric: str


def mentions(target: str) -> Iterator[Mention]:
    """Every metric in it. Raises ValueError with what is wrong."""
    for match in _METRIC.finditer(target):
        kind, head, rest = _parts(match)
        metrics = rest[0 if head == "%" else 1]
        for metric in metrics.strip("{}").split(","):
            yield Mention(kind, "" if head == "%" else head, metric)
    for match in _PLACE.finditer(target):
        if match[2] not in PARTS[:-1]:
            raise ValueError(f"has no node {match[2]!r}, only {', '.join(PARTS[:-1])}")


def spelt(target: str, layout: Layout) -> str:
    """`target` as Graphite is asked for it. Raises ValueError with what is wrong."""
    placed = _PLACE.sub(lambda match: str(layout.node(Kind(match[1]), match[2])), target)
    return _METRIC.sub(lambda match: _path(match, layout), placed)


def _parts(match: re.Match[str]) -> tuple[Kind, str, list[str]]:
    kind, head = Kind(match[1]), match[2]
    rest = match[3].split(".")[1:] if match[3] else []
    wanted = LENGTHS[kind] - (2 if head == "%" else 1)
    if len(rest) != wanted:
        what = "metric.reporter" if head == "%" else "family.entity.metric.reporter"
        measure = ".measure" if kind is Kind.TIMER else ""
        raise ValueError(f"has {match[0]!r}, which is not {kind.value}:{what}{measure}")
    return kind, head, rest


def _path(match: re.Match[str], layout: Layout) -> str:
    kind, head, rest = _parts(match)
    measure = _measure(rest.pop(), layout) if kind is Kind.TIMER else ""
    pattern = layout.flavour.pattern(kind)
    if head == "%":
        tail = pattern.partition("{path}")[2].format(measure=measure)
        return f"%.{'.'.join(rest)}{tail}"
    path = ".".join(filter(None, (layout.prefix, layout.app, head, *rest)))
    return pattern.format(path=path, measure=measure)


def _measure(written: str, layout: Layout) -> str:
    percentile = _PERCENTILE.fullmatch(written)
    return layout.flavour.percentile.format(percent=percentile[1]) if percentile else written


def layout_of(flavour: str, prefix: str, app: str) -> Layout:
    """Where the metrics of `app` lie, its name and the prefix made safe as the agent makes them."""
    path = Names(prefix, app, "all", WORDS).series("cluster", "all", "sent", Kind.COUNTER).path
    head, _, node = path.rsplit(".", 4)[0].rpartition(".")
    return Layout(FLAVOURS[flavour], head, node)
