"""`memory://`: keeps every batch, for the tests of those who use this package.

    sink = MemorySink()
    ...                                            # let the pipeline or the agent flush into it
    assert 3 == sink.counter("task", "shop.tasks.pay", "succeeded")
    assert 0 == sink.gauge("cluster", "all", "running")
    assert 3 == sink.timer("task", "shop.tasks.pay", "runtime").count

Entities are asked for by their raw names, as Celery knows them.
"""

from collections.abc import Iterable, Iterator
from functools import reduce
from typing import TypeVar

from celery_statsd.metric import Batch, Series, Timing
from celery_statsd.sinks.backlog import joined
from celery_statsd.sinks.base import Address, Sink

Value = TypeVar("Value")


class MemorySink(Sink):
    """Keeps all batches, oldest first, in `batches`; it never forgets, so it is for tests only."""

    def __init__(self, address: Address | None = None) -> None:
        super().__init__(address or Address.parse("memory://"))
        self.address.only()
        self.batches: list[Batch] = []

    def send(self, batch: Batch) -> None:
        """Keep `batch`."""
        self.batches.append(batch)
        self.tally.packets += 1

    def check(self) -> None:
        """There is always room."""

    def close(self) -> None:
        """Nothing to let go of; the batches stay readable."""

    def counter(self, family: str, entity: str, metric: str) -> int:
        """The sum over all batches; 0 for a series never seen."""
        rows = (row for batch in self.batches for row in batch.counters)
        return sum(_values(rows, (family, entity, metric)))

    def gauge(self, family: str, entity: str, metric: str) -> float | None:
        """The last value; None for a series never seen."""
        rows = (row for batch in self.batches for row in batch.gauges)
        values = [*_values(rows, (family, entity, metric))]
        return values[-1] if values else None

    def timer(self, family: str, entity: str, metric: str) -> Timing | None:
        """All batches' timings as one (ms); None for a series never seen."""
        rows = (row for batch in self.batches for row in batch.timers)
        timings = [*_values(rows, (family, entity, metric))]
        return reduce(joined, timings) if timings else None


def _values(rows: Iterable[tuple[Series, Value]], name: tuple[str, str, str]) -> Iterator[Value]:
    """The values of all rows of one series, in their order."""
    return (
        value for series, value in rows if (series.family, series.entity, series.metric) == name
    )
