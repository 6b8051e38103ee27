"""At rest: how soon a consumer listens, and what it uses while one idle worker's heart beats."""

import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.brokers import Broker, Venue
from benchmarks.contestants import Contestant, Stage
from benchmarks.drain import START
from benchmarks.load import FREQ, Load, Manifest, heartbeats
from benchmarks.meter import Meter, Quiet
from benchmarks.sink import Sink
from tests.servers.process import Child, free_port, wait_until

CONTESTANTS = ("celery-statsd", "celery-exporter", "flower")

SECONDS = 10.0
"""How long is looked at an idle consumer: one flush of the agent."""


@dataclass(frozen=True, slots=True)
class Figures:
    """`start_s` is from the start of the process to its consuming at a broker that is ready: its
    second start, for to make a durable queue is done once, and no cost of a start."""

    start_s: float
    start_cpu_s: float
    idle_rss_mb: float
    idle_cpu_percent: float
    wakeups_per_s: float


def rest(contestant: Contestant, broker: Broker, folder: Path, seconds: float) -> Figures:
    """The figures. Raises StartError when it does not start, TimeoutError."""
    with ExitStack() as stack:
        sink = stack.enter_context(Sink())
        venue = broker.venue()
        stack.callback(venue.close)
        stage = Stage(venue.url, sink, free_port(), folder, Load("single", (), Manifest()))
        child = contestant.child(stage)
        stack.callback(child.kill)
        _live_once(contestant, venue, child)
        began = time.monotonic()
        child.start(lambda: True)
        wait_until(lambda: venue.listening(contestant.queue), START, "it listens", poll=0.003)
        took = time.monotonic() - began
        meter = Meter([child.pid])
        start_cpu = meter.cpu()
        Quiet(meter).wait(START)
        beats = heartbeats(time.time())
        cpu, switches, began = meter.cpu(), meter.switches(), time.monotonic()
        while (elapsed := time.monotonic() - began) < seconds:
            venue.send(broker.encoded(next(beats)))
            time.sleep(min(FREQ, seconds - elapsed))
        return Figures(
            took,
            start_cpu,
            meter.resident_mb(),
            (meter.cpu() - cpu) * 100 / elapsed,
            (meter.switches() - switches) / elapsed,
        )


def _live_once(contestant: Contestant, venue: Venue, child: Child) -> None:
    child.start(lambda: venue.listening(contestant.queue), START)
    child.stop()
    wait_until(lambda: not venue.listening(contestant.queue), START, "it has gone")
