"""What the rules say of a change, and what is told from outside, as it reaches the aggregator."""

from types import SimpleNamespace

import msgspec

from celery_statsd.aggregator import Aggregator
from celery_statsd.events import Change, Moment
from celery_statsd.metric import Batch
from celery_statsd.names import Names
from celery_statsd.rules import COUNTERS
from celery_statsd.scribe import Scribe
from tests.bodies import NOON

ATTEMPT = SimpleNamespace(
    name="shop.pay", life=SimpleNamespace(entity="w1@web1"), queue=None, error="KeyError",
    sent=None, planned=None, eta=None, received=NOON, started=NOON + 1, ended=NOON + 3,
    runtime=None, apart=0.0,
)  # fmt: skip


def writing() -> tuple[Scribe, Aggregator]:
    aggregator = Aggregator(Names("celery", "default", "all", ()), COUNTERS)
    return Scribe(aggregator), aggregator


def counted(batch: Batch) -> dict[tuple[str, str, str], int]:
    return {(s.family, s.entity, s.metric): n for s, n in batch.counters if n}


def timed(batch: Batch) -> dict[tuple[str, str, str], tuple[float, ...]]:
    return {(s.family, s.entity, s.metric): t.values for s, t in batch.timers}


def test_a_rule_speaks_when_all_it_needs_is_told() -> None:
    """The end of an attempt whose start is known has a runtime, in each family of the rule."""
    scribe, aggregator = writing()
    scribe.measure([Change(Moment.FAILED, ATTEMPT, Moment.FAILED.bit)])
    without = aggregator.drain(NOON)
    assert {} == timed(without)
    scribe.measure([Change(Moment.FAILED, ATTEMPT, Moment.FAILED.bit | Moment.STARTED.bit)])
    batch = aggregator.drain(NOON)
    runtime = {("cluster", "all", "runtime"): (2000.0,), ("task", "shop.pay", "runtime"): (2000.0,)}
    assert runtime == timed(batch)
    failed = {("cluster", "all"), ("task", "shop.pay"), ("worker", "w1@web1")}
    expected = {(*entity, "failed"): 1 for entity in (*failed, ("exception", "KeyError"))}
    assert expected == counted(batch) == counted(without)


def test_a_subject_without_an_entity_is_counted_elsewhere_only() -> None:
    """A start of which the publication is unknown is of no queue."""
    scribe, aggregator = writing()
    told = Moment.TRACED.bit | Moment.STARTED.bit
    attempt = SimpleNamespace(**{**vars(ATTEMPT), "sent": NOON})
    scribe.measure([Change(Moment.STARTED, attempt, told)])
    assert {"cluster", "task"} == {family for family, _, _ in timed(aggregator.drain(NOON))}


def test_what_clocks_made_absurd_is_counted() -> None:
    """Negative is 0, endless is nothing."""
    scribe, aggregator = writing()
    for seconds in (-1.0, 1e12, 0.5):
        scribe.note("agent", "web1", "flush", seconds)
    assert {("agent", "web1", "flush"): (0.0, 500.0)} == timed(aggregator.drain(NOON))
    assert 2 == scribe.clamped


def test_a_total_is_taken_by_its_growth() -> None:
    """From where it was, after a restart of ours too; from 0 after one of its owner."""
    scribe, aggregator = writing()
    scribe.grow("agent", "web1", "sink_bytes", 100)
    scribe.grow("agent", "web1", "events", 7)
    aggregator.drain(NOON)
    state = msgspec.json.decode(msgspec.json.encode(scribe.dump()))
    reborn, later = writing()
    reborn.load(state)
    reborn.restart("agent", "web1", but={"events"})
    reborn.grow("agent", "web1", "sink_bytes", 30)
    reborn.grow("agent", "web1", "events", 9)
    expected = {("agent", "web1", "sink_bytes"): 30, ("agent", "web1", "events"): 2}
    assert expected == counted(later.drain(NOON))
