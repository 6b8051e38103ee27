"""One drain: a consumer works off a backlog, and what that costs is measured.

The consumer starts on an empty queue, becomes idle and is stopped (SIGSTOP); the whole load is
published; the consumer goes on (SIGCONT). What is measured ends when nothing waits any more and the
consumer is idle, and 1.3 s later, or when the last flush of an agent has come: what it takes to
tell the numbers belongs to what they cost. Start-up does not.

On Redis this is a flood: the broker pushes as fast as the consumer takes. (Publishing at the same
time would cost one of two cores, and say more of the publisher.)
"""

import os
import signal
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.brokers import Broker, Venue
from benchmarks.contestants import Contestant, Stage
from benchmarks.load import Load
from benchmarks.meter import Meter, Quiet
from benchmarks.sink import Sink
from tests.servers.process import Child, free_port, wait_until

START = 30.0
"""Seconds a consumer has to listen, and then to become idle."""

LONGEST = 300.0
"""Seconds a drain may take."""

AFTER = 1.3
"""Seconds in which a last flush that comes each second falls."""

LAST_FLUSH = 25.0
"""Seconds until the totals must be there: the agent flushes each 10 s, first after a whole 10 s."""


class UnfitError(Exception):
    """The totals were not those of the manifest, so the figures say nothing."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What one drain came to; CPU in microseconds."""

    us_per_event: float
    broker_us_per_event: float
    events_per_wall_s: float
    peak_rss_mb: float
    datagrams_per_1000: float


def drain(contestant: Contestant, broker: Broker, load: Load, folder: Path) -> Figures:
    """The figures. Raises UnfitError, StartError when it does not start, TimeoutError."""
    with ExitStack() as stack:
        sink = stack.enter_context(Sink())
        venue = broker.venue()
        stack.callback(venue.close)
        encoded = broker.encoding(load)
        stage = Stage(venue.url, sink, free_port(), folder, load, encoded.size)
        child = contestant.child(stage)
        stack.callback(child.kill)
        child.start(lambda: venue.listening(contestant.queue), START)
        figures = _measured(contestant, broker, venue, stage, child)
        if contestant.mute:
            child.stop()
        wrong = contestant.verdict(stage)
        if wrong:
            raise UnfitError("; ".join(wrong[:3]) + f" ({len(wrong)} in all)")
        return figures


def _measured(
    contestant: Contestant, broker: Broker, venue: Venue, stage: Stage, child: Child
) -> Figures:
    meter, theirs = Meter([child.pid]), broker.meter()
    Quiet(meter).wait(START)
    os.killpg(child.pid, signal.SIGSTOP)
    venue.publish(broker.encoding(stage.load).wire)
    broker.calm()
    meter.begin_peak()
    datagrams, cpu, broker_cpu, began = stage.sink.datagrams, meter.cpu(), theirs.cpu(), _now()
    os.killpg(child.pid, signal.SIGCONT)
    quiet = Quiet(meter)
    quiet.wait(LONGEST, lambda: not venue.waiting(contestant.queue))
    broker_cpu = theirs.cpu() - broker_cpu
    _let_flush(contestant, stage, _now())
    Quiet(meter).wait(START)  # the counters are only the head of a flush
    events = stage.load.manifest.events
    return Figures(
        (meter.cpu() - cpu) * 1e6 / events,
        broker_cpu * 1e6 / events,
        events / (quiet.since - began),
        meter.peak_mb(),
        (stage.sink.datagrams - datagrams) * 1000 / events,
    )


def _let_flush(contestant: Contestant, stage: Stage, since: float) -> None:
    """Wait for what is sent last. Raises UnfitError when it does not come."""

    def is_over() -> bool:
        return _now() - since >= AFTER and contestant.complete(stage)

    try:
        wait_until(is_over, LAST_FLUSH, "all totals have come", poll=0.1)
    except TimeoutError:
        wrong = contestant.verdict(stage)
        raise UnfitError("; ".join(wrong[:3]) or "its last flush did not come") from None


def _now() -> float:
    return time.monotonic()
