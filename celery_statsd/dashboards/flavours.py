"""How each StatsD names in Graphite what the agent sends, and where the nodes of a name stand.

| flavour         | what writes to Graphite                                                        |
| --------------- | ------------------------------------------------------------------------------ |
| `statsd`        | StatsD with `legacyNamespace: false`, the way we recommend                     |
| `statsd-legacy` | StatsD as it comes: `legacyNamespace: true`                                    |
| `bucky`         | Bucky as it comes (`statsd_legacy_namespace = True`)                           |
| `gostatsd`      | gostatsd with its graphite backend as it comes                                 |
| `graphite`      | the agent itself (`graphite://`, `graphite+pickle://`)                         |

The sources: `backends/graphite.js` and `lib/process_metrics.js` of StatsD 0.9, `statsd.py` of
Bucky 2.3.0, `pkg/backends/graphite` of gostatsd, `sinks.graphite` of ours.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from celery_statsd.metric import OWN, Kind

PARTS = ("app", "family", "entity", "metric", "reporter", "measure")
"""The nodes of a name behind the prefix. `measure` is what a StatsD adds: `count`, `upper_90`."""

FEW = frozenset({"count", "count_ps", "lower", "mean", "upper"})
MANY = FEW | {"median", "sum"}


@dataclass(frozen=True, slots=True)
class Flavour:
    """One way of naming.

    `{path}` is the dotted name the agent sends, `{measure}` one of `measures` or a percentile.
    `counter` names what came in during one flush, as a number, not as a rate. `percentiles` are
    those there are unless the StatsD is told otherwise.
    """

    name: str
    text: str
    counter: str = "stats.counters.{path}.count"
    gauge: str = "stats.gauges.{path}"
    timer: str = "stats.timers.{path}.{measure}"
    percentile: str = "upper_{percent}"
    measures: frozenset[str] = MANY
    percentiles: tuple[str, ...] = ("90",)

    def pattern(self, kind: Kind) -> str:
        """The pattern of a kind of metric."""
        return {Kind.COUNTER: self.counter, Kind.GAUGE: self.gauge, Kind.TIMER: self.timer}[kind]


FLAVOURS: Mapping[str, Flavour] = MappingProxyType(
    {
        flavour.name: flavour
        for flavour in (
            Flavour("statsd", "StatsD with legacyNamespace: false"),
            Flavour("statsd-legacy", "StatsD as it comes", counter="stats_counts.{path}"),
            Flavour("bucky", "Bucky as it comes", counter="stats_counts.{path}", measures=FEW),
            Flavour("gostatsd", "gostatsd as it comes"),
            Flavour("graphite", "the agent itself", percentiles=("90", "95", "99")),
        )
    }
)
"""Each by its name."""


class Layout(NamedTuple):
    """Where the metrics of one app lie in one Graphite.

    `prefix` is the agent's (dots allowed, or empty), `app` a safe node or a variable of Grafana.
    An `entity` and a `metric` may be a glob: `*`, `{failed,lost}`, `$task`.
    """

    flavour: Flavour = FLAVOURS["statsd"]
    prefix: str = "celery"
    app: str = "$app"

    def counter(self, family: str, entity: str, metric: str, reporter: str = "") -> str:
        """The values of one flush each."""
        return self.flavour.counter.format(path=self._path(family, entity, metric, reporter))

    def gauge(self, family: str, entity: str, metric: str, reporter: str = "") -> str:
        """The last values."""
        return self.flavour.gauge.format(path=self._path(family, entity, metric, reporter))

    def timer(self, family: str, entity: str, metric: str, measure: str, reporter: str = "") -> str:
        """A measure of a timer, in ms: `count`, `sum`, `mean`, `upper` and so on."""
        path = self._path(family, entity, metric, reporter)
        return self.flavour.timer.format(path=path, measure=measure)

    def percentile(
        self, family: str, entity: str, metric: str, percent: str, reporter: str = ""
    ) -> str:
        """A percentile of a timer, in ms; 99.9 is written `99_9`, a variable `$pct`."""
        measure = self.flavour.percentile.format(percent=percent)
        return self.timer(family, entity, metric, measure, reporter)

    def node(self, kind: Kind, part: str) -> int:
        """The place of one of PARTS in the names of `kind`, from 0, as Graphite counts."""
        head = self.flavour.pattern(kind).partition("{path}")[0]
        before = [*filter(None, head.split(".")), *filter(None, self.prefix.split("."))]
        return len(before) + PARTS.index(part)

    def _path(self, family: str, entity: str, metric: str, reporter: str) -> str:
        """`reporter`: all of them unless told; of an agent there is one."""
        last = reporter or ("self" if family == OWN[0] else "*")
        return ".".join(filter(None, (self.prefix, self.app, family, entity, metric, last)))
