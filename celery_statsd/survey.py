"""What a look at the queues has found, and how it is told with each flush.

A look takes place in a thread of its own, and nothing waits for it. What was seen is told as long
as it is fresh. What is stale is left out: it would look like a queue that stands still.
"""

import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from celery_statsd.errors import BrokerLost
from celery_statsd.log import Log
from celery_statsd.pipeline import Pipeline
from celery_statsd.probes.base import Probe, QueueFacts, Sight
from celery_statsd.rules.queue import level, thresholds_of
from celery_statsd.trouble import Trouble

FRESH = 3
"""Intervals for which what was seen may be told."""

Levels = Mapping[str, Sequence[int]]


class Survey:
    """Looks through `probe`, each `interval` seconds, at the queues that `names` tells by then;
    `alias` is the broker's name in the metrics."""

    def __init__(  # noqa: PLR0913
        self,
        probe: Probe,
        names: Callable[[], Collection[str]],
        log: Log,
        *,
        interval: float = 10.0,
        levels: Levels | None = None,
        alias: str = "broker",
    ) -> None:
        self.interval = interval
        self.sight: Sight | None = None
        self._probe = probe
        self._names = names
        self._levels = levels or {}
        self._alias = alias
        self._seen_at = 0.0
        self._pings: deque[float] = deque()  # of one thread, told by another
        self._looks = self._failed = 0
        self._trouble = Trouble(log, "queues_unseen", "queues_seen")

    def look(self) -> None:
        """Look once. Never raises: a failure is counted, and told."""
        try:
            sight = self._probe.look(self._names())
        except Exception as error:  # a fault of ours must not end the looking either
            self._failed += 1
            self._trouble.tell(time.monotonic(), error)
            if not isinstance(error, BrokerLost):
                self._probe.close()
            return
        self._looks += 1
        self._pings.append(sight.ping)
        self.sight, self._seen_at = sight, time.monotonic()
        self._trouble.over(time.monotonic())

    def note(self, pipeline: Pipeline, now: float) -> None:
        """Give the pipeline what is to be said in a flush at `now` (epoch seconds)."""
        pipeline.grow("broker", self._alias, "looks", self._looks)
        pipeline.grow("broker", self._alias, "looks_failed", self._failed)
        while self._pings:
            pipeline.note("broker", self._alias, "ping", self._pings.popleft())
        sight = self.sight
        if sight is None or self.age > FRESH * self.interval:
            return
        for metric in ("connections", "memory_bytes"):
            value = getattr(sight, metric)
            if value is not None:
                pipeline.note("broker", self._alias, metric, value)
        for queue, gauges in self.shown(pipeline, now).items():
            for metric, value in gauges.items():
                pipeline.note("queue", queue, metric, value)

    @property
    def age(self) -> float:
        """Seconds since what is known was seen."""
        return time.monotonic() - self._seen_at

    def shown(self, pipeline: Pipeline, now: float) -> dict[str, dict[str, float]]:
        """What was seen, by queue: the gauges as they would be told at `now` (epoch seconds)."""
        oldest, queues = pipeline.oldest(), self.sight.queues if self.sight else ()
        return {
            facts.name: dict(told(facts, oldest.get(facts.name), now, self._levels))
            for facts in queues
        }

    def close(self) -> None:
        """Look no more."""
        self._probe.close()


def told(
    facts: QueueFacts, sent: float | None, now: float, levels: Levels
) -> Iterator[tuple[str, float]]:
    """The gauges of one queue; what is not known is left out. `sent` is when the oldest task that
    waits in it was sent, as far as events tell: the broker knows better, if it does."""
    for metric in ("length", "unacked", "consumers", "memory_bytes"):
        value = getattr(facts, metric)
        if value is not None:
            yield metric, value
    length = facts.length
    if length is None:
        return
    yield "level", level(length, thresholds_of(facts.name, levels))
    if facts.consumers is not None:
        yield "unconsumed", 0 if facts.consumers else length
    since = facts.oldest_at or sent
    if not length:
        yield "oldest_age_s", 0.0
    elif since is not None:
        yield "oldest_age_s", max(0.0, now - since)
