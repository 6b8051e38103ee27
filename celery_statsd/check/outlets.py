"""The way out: a number through each sink, so that it can be found again where it should arrive."""

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from celery_statsd.errors import SinkDown
from celery_statsd.metric import Batch, Kind
from celery_statsd.names import Names
from celery_statsd.rules import WORDS
from celery_statsd.rules.doctor import FAMILY, READBACK
from celery_statsd.sinks import sink_from
from celery_statsd.sinks.base import Sink

REFUSED_WITHIN = 0.1
"""Seconds in which the refusal of a datagram is back, on this host at least."""

FOR_PEOPLE = ("console", "memory")
"""Schemes of sinks that nothing is sent through."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What became of one sink's number: `value` under `path`, `error` where it was refused.

    `number` is the sink's, from 1; `sent` is False for one nothing was sent through, `sent_at` in
    epoch seconds.
    """

    number: int
    address: str
    path: str
    value: int
    error: str = ""
    sent: bool = True
    sent_at: float = 0.0

    @property
    def scheme(self) -> str:
        """What its address begins with."""
        return self.address.partition("://")[0]


def trials(
    addresses: Sequence[str], prefix: str, app: str, host: str, value: int
) -> Iterator[Trial]:
    """Try each sink: its own check, then a counter of `value`, which is new each time. Each sink
    has a series of its own, since two of them may lead to one place."""
    names = Names(prefix, app, "self", WORDS, host)
    for number, address in enumerate(addresses, 1):
        series = names.series(FAMILY, f"{host}_sink{number}", READBACK, Kind.COUNTER)
        batch = Batch(time.time(), 1.0, ((series, value),), (), ())
        sink = sink_from(address)
        sent = sink.address.scheme not in FOR_PEOPLE
        trial = Trial(number, address, series.path, value, sent=sent, sent_at=batch.time)
        yield replace(trial, error=_error(sink, batch if trial.sent else None))


def ticks(prefix: str, app: str) -> str:
    """The paths of all agents' ticks, as a glob: 1 a flush, so that a sum differs from a mean."""
    path = Names(prefix, app, "self", WORDS).series("agent", "any", "ticks", Kind.COUNTER).path
    head, _, metric, reporter = path.rsplit(".", 3)
    return f"{head}.*.{metric}.{reporter}"


def _error(sink: Sink, batch: Batch | None) -> str:
    """Why a sink did not take it; "" when it did, as far as it can know."""
    try:
        sink.check()
        if batch is not None:
            sink.send(batch)
            time.sleep(REFUSED_WITHIN)
            sink.send(replace(batch, counters=()))  # hears what was refused meanwhile
    except SinkDown as error:
        return str(error)
    finally:
        with suppress(SinkDown):
            sink.close()
    return f"{sink.tally.overrun} datagrams had no room" if sink.tally.overrun else ""
