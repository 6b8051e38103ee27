"""What an agent knows of itself: totals that only grow, and values that are there or not."""

import io

from celery_statsd.chronicle import Chronicle
from celery_statsd.log import Log
from celery_statsd.metric import Batch, Kind
from celery_statsd.outlet import Outlet
from celery_statsd.pipeline import Pipeline
from celery_statsd.sinks.memory import MemorySink
from celery_statsd.vitals import TALLIED, Vitals, resident_bytes
from tests.test_agent import Stream


class Watched:
    """The vitals of an agent at a stream, and what each flush says of them."""

    def __init__(self) -> None:
        self.log = Log(stream=io.StringIO())
        self.source = Stream(self.log)
        self.chronicle = Chronicle(lambda: Pipeline(host="me"), (), self.log)
        self.chronicle.open(None, 0.0)
        self.vitals = Vitals(self.chronicle, self.source, "me", "amqp")
        self.vitals.begin()
        self.now = 0.0

    def flush(self, *outlets: Outlet) -> Batch:
        """The next one."""
        self.now += 1.0
        self.vitals.note(outlets)
        return self.chronicle.flush(self.now).batch

    def outlet(self) -> Outlet:
        """One that is never started."""
        return Outlet(MemorySink(), self.log, lambda *_: None)


def said(told: Batch, kind: Kind, family: str = "agent") -> dict[str, float]:
    """What a batch says of an agent, or its broker, by metric."""
    rows = told.counters if kind is Kind.COUNTER else told.gauges
    return {series.metric: value for series, value in rows if series.family == family}


def test_what_the_sinks_did_is_summed_up() -> None:
    """Over all of them, as growth since the last flush; what an outlet gave up counts too."""
    watched = Watched()
    one, other = watched.outlet(), watched.outlet()
    one.sink.tally.packets, other.sink.tally.packets = 3, 4
    one.sink.tally.dropped, other.given_up = 1, 2
    first = said(watched.flush(one, other), Kind.COUNTER)
    other.sink.tally.packets += 1
    second = said(watched.flush(one, other), Kind.COUNTER)

    assert (7, 3) == (first["sink_packets"], first["sink_dropped"])
    assert (1, 0) == (second["sink_packets"], second["sink_dropped"])
    assert {f"sink_{name}" for name in TALLIED} <= second.keys()


def test_a_sink_that_is_gone_takes_nothing_back() -> None:
    """What it did stays in the totals."""
    watched = Watched()
    gone, stays = watched.outlet(), watched.outlet()
    gone.sink.tally.bytes, stays.sink.tally.bytes = 100, 10
    watched.flush(gone, stays)
    gone.sink.tally.bytes += 5
    watched.vitals.bury(gone)

    assert 5 == said(watched.flush(stays), Kind.COUNTER)["sink_bytes"]
    assert 0 == said(watched.flush(stays), Kind.COUNTER)["sink_bytes"]


def test_what_was_left_alone_and_given_up_is_told() -> None:
    """Messages of other hosts, flushes that no sink will get."""
    watched = Watched()
    watched.vitals.foreign, watched.chronicle.given_up = 7, 2
    told = said(watched.flush(), Kind.COUNTER)

    assert (7, 2) == (told["messages_foreign"], told["flushes_given_up"])
    assert 0 == said(watched.flush(), Kind.COUNTER)["messages_foreign"]


def test_a_new_life_begins_at_nothing() -> None:
    """A successor that goes on with the pipeline's state starts its own totals at 0: nothing of
    them is told again, nor missing."""
    watched = Watched()
    watched.vitals.foreign = 7
    watched.flush()
    again = Vitals(watched.chronicle, watched.source, "me", "amqp")
    again.begin()
    again.foreign = 2
    watched.vitals = again

    assert 2 == said(watched.flush(), Kind.COUNTER)["messages_foreign"]


def test_what_nobody_knows_is_absent() -> None:
    """A source without a queue tells of no backlog; the first flush of no flush."""
    watched = Watched()
    told = watched.flush()

    assert "backlog" not in said(told, Kind.GAUGE)
    assert {"rss_bytes", "cpu_ms", "uptime_s"} <= said(told, Kind.GAUGE).keys()
    assert [] == [series for series, _ in told.timers if series.metric == "flush"]
    watched.vitals.flush_took = 0.25
    (timing,) = [t for series, t in watched.flush().timers if series.metric == "flush"]
    assert 250.0 == timing.total


def test_the_broker_is_up_while_it_is_heard() -> None:
    """And its reconnects only grow."""
    watched = Watched()
    down = said(watched.flush(), Kind.GAUGE, "broker")
    watched.source.read(0)
    watched.source.reconnects = 3
    told = watched.flush()

    assert (0.0, 1.0) == (down["up"], said(told, Kind.GAUGE, "broker")["up"])
    assert 3 == said(told, Kind.COUNTER, "broker")["reconnects"]


def test_memory_is_told_in_bytes() -> None:
    """More than a Python, less than this machine's."""
    assert 5e6 < resident_bytes() < 1e12
