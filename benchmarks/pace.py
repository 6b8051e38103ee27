"""At a pace: a consumer listens while events come as fast as they do in life.

On RabbitMQ. `live` is 40,000 events a second, each its own message, for 5 s: what is left behind
at the end? `steady` is 2,000 a second in mixed messages for 20 s (two flushes of the agent): what
does it cost, and how often does it wake? The publisher sends what is due each 10 ms.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.brokers import Broker, Venue
from benchmarks.contestants import Contestant, Stage
from benchmarks.drain import LAST_FLUSH, LONGEST, START, UnfitError
from benchmarks.load import Load, Message, Plan, load
from benchmarks.meter import Meter, Quiet
from benchmarks.sink import Sink
from tests.servers.process import free_port, wait_until

STEP = 0.01
"""Seconds between two sendings of the publisher."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast, for how long (seconds), in which shape."""

    shape: str
    rate: float
    seconds: float


PACES: Mapping[str, Pace] = {
    "live": Pace("single", 40_000.0, 5.0),
    "steady": Pace("mixed", 2000.0, 20.0),
}
CONTESTANTS = ("celery-statsd", "celery-exporter", "flower", "eventreceiver")

Step = tuple[float, bytes]
"""What is to be sent, and when, in seconds from the beginning."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What came of it. `events_per_s` is what the publisher reached; `left_percent` of all messages
    waited at the broker when the last was published."""

    cpu_percent: float
    us_per_event: float
    left_percent: float
    switches_per_s: float
    resident_mb: float
    datagrams_per_1000: float
    events_per_s: float


def load_of(pace: Pace, begin: float) -> Load:
    """The load of `pace`, its timestamps from `begin` on."""
    number = int(pace.rate * pace.seconds)
    return load(Plan(pace.shape, number, rate=pace.rate, begin=begin))


def keep_pace(contestant: Contestant, broker: Broker, stream: Load, folder: Path) -> Figures:
    """The figures. Raises UnfitError, StartError when it does not start, TimeoutError."""
    with ExitStack() as stack:
        sink = stack.enter_context(Sink())
        venue = broker.venue()
        stack.callback(venue.close)
        stage = Stage(venue.url, sink, free_port(), folder, stream)
        child = contestant.child(stage)
        stack.callback(child.kill)
        child.start(lambda: venue.listening(contestant.queue), START)
        meter = Meter([child.pid])
        Quiet(meter).wait(START)
        steps = tuple(_steps(stream, broker))
        figures = _measured(contestant, venue, stage, meter, steps)
        Quiet(meter).wait(LONGEST, lambda: not venue.waiting(contestant.queue))
        if contestant.mute:
            child.stop()
        wait_until(lambda: contestant.complete(stage), LAST_FLUSH, "all totals have come", poll=0.1)
        wrong = contestant.verdict(stage)
        if wrong:
            raise UnfitError("; ".join(wrong[:3]) + f" ({len(wrong)} in all)")
        return figures


def _measured(
    contestant: Contestant, venue: Venue, stage: Stage, meter: Meter, steps: Sequence[Step]
) -> Figures:
    manifest = stage.load.manifest
    cpu, switches, datagrams = meter.cpu(), meter.switches(), stage.sink.datagrams
    began = time.monotonic()
    for due, wire in steps:
        time.sleep(max(0.0, began + due - time.monotonic()))
        venue.send(wire)
    venue.sync()
    took = time.monotonic() - began
    used = meter.cpu() - cpu
    left = venue.waiting(contestant.queue) / manifest.messages
    return Figures(
        used * 100 / took,
        used * 1e6 / manifest.events,
        left * 100,
        (meter.switches() - switches) / took,
        meter.resident_mb(),
        (stage.sink.datagrams - datagrams) * 1000 / manifest.events,
        manifest.events / took,
    )


def _steps(stream: Load, broker: Broker) -> Iterator[Step]:
    held: list[Message] = []
    begin = stream.messages[0].at
    due = STEP
    for message in stream.messages:
        if message.at - begin >= due:
            yield due, b"".join(map(broker.encoded, held))
            held, due = [], due + STEP * ((message.at - begin - due) // STEP + 1)
        held.append(message)
    yield due, b"".join(map(broker.encoded, held))
