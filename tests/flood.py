"""Floods: streams of a million different things, and what must come of them, to the unit.

As a program (`python -m tests.flood NUMBER`) it sends all floods of that many messages through one
pipeline of the default bounds and tells, as JSON, what came out and what it took.
"""

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from celery_statsd.aggregator import OTHER
from celery_statsd.metric import Batch
from celery_statsd.pipeline import Pipeline
from tests.bodies import NOON, Event, Process, body, client

RATE = 10_000.0
"""Messages in a second of the stream's own time, several times what the agent can take."""

FLUSH = 10
"""Seconds between two flushes."""

WORKER, CLIENT = Process(), client()

Flood = Callable[[int, float], list[Event]]


def endless(number: int, at: float) -> list[Event]:
    """A task that never ends."""
    uuid = f"endless-{number}"
    return [WORKER.received(uuid, at), WORKER.started(uuid, at)]


def names(number: int, at: float) -> list[Event]:
    """A task with a name nobody else has."""
    uuid, name = f"name-{number}", f"shop.tasks.task{number}"
    return [WORKER.received(uuid, at, name), WORKER.started(uuid, at), WORKER.succeeded(uuid, at)]


def hosts(number: int, at: float) -> list[Event]:
    """A worker on a host of its own, that beats once and drops a task."""
    uuid, worker = f"host-{number}", Process(f"celery@web{number}", number)
    return [worker.beat(at), worker.received(uuid, at), worker.revoked(uuid, at)]


def queues(number: int, at: float) -> list[Event]:
    """A task sent to a queue of its own, and dropped."""
    uuid = f"queue-{number}"
    sent, received = CLIENT.sent(uuid, at, queue=f"queue{number}"), WORKER.received(uuid, at)
    return [sent, received, WORKER.revoked(uuid, at)]


def exceptions(number: int, at: float) -> list[Event]:
    """A task that raises an exception of a class of its own."""
    uuid = f"exception-{number}"
    failed = WORKER.failed(uuid, at, exception=f"Error{number}('x')")
    return [WORKER.received(uuid, at), WORKER.started(uuid, at), failed]


def attempts(number: int, at: float) -> list[Event]:  # noqa: ARG001
    """One more attempt of the same task, that never ends."""
    return [WORKER.received("attempts", at), WORKER.started("attempts", at)]


def sendings(number: int, at: float) -> list[Event]:  # noqa: ARG001
    """One more publication of the same task, that nobody receives."""
    return [CLIENT.sent("sendings", at)]


class Taken:
    """The sums of all batches of a pipeline: `counters` by (family, entity or "", metric), where
    "" is all of a family, and the values timed by (family, entity or "")."""

    def __init__(self) -> None:
        self.counters: Counter[tuple[str, str, str]] = Counter()
        self.timed: Counter[tuple[str, str]] = Counter()
        self.most_series = 0

    def take(self, batch: Batch) -> None:
        """Add a batch."""
        for series, total in batch.counters:
            if total:
                kinds = ("", series.entity) if series.entity == OTHER else ("",)
                for entity in kinds:
                    self.counters[series.family, entity, series.metric] += total
        for series, timing in batch.timers:
            for entity in ("", OTHER) if series.entity == OTHER else ("",):
                self.timed[series.family, entity] += timing.count
        self.most_series = max(self.most_series, len(batch.counters) + len(batch.gauges))

    def of(self, family: str, metric: str, entity: str = "") -> int:
        """The sum of a counter over a family, or of one entity of it."""
        return self.counters[family, entity, metric]


def pour(pipeline: Pipeline, messages: Iterable[list[Event]]) -> Taken:
    """Let `messages` pass, with the ticks and flushes that their time brings."""
    taken, second = Taken(), 0
    pipeline.begin(NOON)
    for events in messages:
        at = events[0]["timestamp"]
        while NOON + second + 1 <= at:
            second += 1
            pipeline.tick(NOON + second)
            if second % FLUSH == 0:
                taken.take(pipeline.flush(NOON + second))
        pipeline.feed(body(*events), at)
    taken.take(pipeline.flush(NOON + second + 2))
    return taken


def stream(
    flood: Flood, number: int, start: float = NOON, rate: float = RATE
) -> Iterator[list[Event]]:
    """`number` messages of a flood that begins at `start`, `rate` a second."""
    return (flood(n, start + n / rate) for n in range(number))


LONG = (hosts, endless, names, queues)


def told(pipeline: Pipeline, taken: Taken) -> dict[str, Any]:
    """What came out and what it took, as JSON can say it."""
    return {
        "counters": [[*key, total] for key, total in taken.counters.items()],
        "most_series": taken.most_series,
        "running": pipeline.balance["running"],
        "difference": pipeline.balance["difference"],
        "balanced": pipeline.ledger.balanced(),
        "peak_bytes": peak_bytes(),
    }


def peak_bytes() -> int:
    """The most memory this program was resident with. Not what getrusage tells: that begins with
    the size of whoever started it."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def main(number: int) -> None:
    """All floods, one after the other, through one pipeline."""
    length = number / RATE
    parts = [stream(flood, number, NOON + length * n) for n, flood in enumerate(LONG)]
    pipeline = Pipeline()
    json.dump(told(pipeline, pour(pipeline, chain(*parts))), sys.stdout)


if __name__ == "__main__":
    main(int(sys.argv[1]))
