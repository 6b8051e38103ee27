"""What is known of one task, worker, queue, or of all together, at the moment of a refresh."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, chain

from celery_statsd.metric import Timing

CAME = ("received", "on_arrival", "found")
"""The counters of law 4 (see `tracker`) that bring an attempt in."""

ENDED = ("succeeded", "failed", "retried", "revoked", "rejected", "returned", "unreported", "lost")
"""Those that take it out again; each attempt has one."""

FLYING = ("reserved", "running")
"""The gauges of what came in and has not ended."""

ROUNDING = 1e-9
"""The part of a sum that the adding up of fractions may cost."""


@dataclass(frozen=True, slots=True)
class Facts:
    """The numbers of one `entity`.

    `totals` are the counters since the view began, `recent` those of the last `span` seconds;
    `gauges` are as of now; `timers` are what each timer took in within the span, in ms. `state` is
    a worker's: up, down or unknown.
    """

    entity: str
    totals: Mapping[str, int] = field(default_factory=dict)
    recent: Mapping[str, int] = field(default_factory=dict)
    gauges: Mapping[str, float] = field(default_factory=dict)
    timers: Mapping[str, Sequence[Timing]] = field(default_factory=dict)
    span: float = 0.0
    state: str = ""

    def total(self, *metrics: str) -> int:
        """The sum of some counters since the view began."""
        return sum(self.totals.get(metric, 0) for metric in metrics)

    def lately(self, *metrics: str) -> int:
        """The same of the last `span` seconds."""
        return sum(self.recent.get(metric, 0) for metric in metrics)

    def rate(self, *metrics: str) -> float:
        """The same, a second."""
        return self.lately(*metrics) / self.span if self.span else 0.0

    def gauge(self, metric: str) -> float | None:
        """A gauge; None when it is not known."""
        return self.gauges.get(metric)

    def timed(self, metric: str) -> int:
        """How many values a timer took in."""
        return sum(timing.count for timing in self.timers.get(metric, ()))

    def upper(self, metric: str, percent: float) -> float | None:
        """That percentile of a timer, in ms; None without values."""
        return percentile(self.timers.get(metric, ()), percent)

    def highest(self, metric: str) -> float | None:
        """The largest value of a timer, in ms; None without values."""
        return max((timing.upper for timing in self.timers.get(metric, ())), default=None)

    @property
    def in_flight(self) -> int:
        """Received and not ended, by the gauges."""
        return round(sum(self.gauges.get(gauge, 0.0) for gauge in FLYING))

    @property
    def difference(self) -> int:
        """Received, less what ended, less what is reserved or runs: 0, or work is missing."""
        return self.total(*CAME) - self.total(*ENDED) - self.in_flight


def percentile(timings: Sequence[Timing], percent: float) -> float | None:
    """The nearest rank among the values of all `timings`, each weighed by how many it stands for;
    None without values."""
    if all(len(timing.values) == timing.count for timing in timings):
        values = sorted(chain.from_iterable(timing.values for timing in timings))
        place = -int(-percent * len(values) // 100)  # rounded up
        return values[max(place, 1) - 1] if values else None
    weighed = sorted((value, 1 / one.rate) for one in timings for value in one.values)
    sums = list(accumulate(weight for _, weight in weighed))
    return weighed[bisect_left(sums, sums[-1] * percent / 100 * (1 - ROUNDING))][0]
