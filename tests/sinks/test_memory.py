"""The sink that ships for the tests of others."""

import pytest

from celery_statsd.errors import ConfigError
from celery_statsd.metric import Timing
from celery_statsd.sinks import sink_from
from celery_statsd.sinks.memory import MemorySink


@pytest.fixture
def sink(make):
    """Two flushes."""
    kept = MemorySink()
    kept.send(make.batch({"task.a.b.sent": 3}, {"queue.q.length": 5}, {"task.a.b.wait": [1.0]}))
    kept.send(make.batch({"task.a.b.sent": 4}, {"queue.q.length": 2}, {"task.a.b.wait": [9.0]}))
    return kept


def test_counters_are_summed(sink):
    """Over all batches."""
    assert 7 == sink.counter("task", "a.b", "sent")


def test_a_gauge_is_the_last(sink):
    """The value of the newest batch that had it."""
    assert 2 == sink.gauge("queue", "q", "length")


def test_timers_are_joined(sink):
    """All batches' values, as one."""
    assert Timing(2, 10.0, 1.0, 9.0, (1.0, 9.0)) == sink.timer("task", "a.b", "wait")


def test_what_was_never_seen_is_nothing(sink):
    """0, None, None; a gauge is no counter."""
    assert 0 == sink.counter("queue", "q", "length")
    assert sink.gauge("queue", "r", "length") is None
    assert sink.timer("task", "a.b", "runtime") is None


def test_batches_are_kept_in_their_order(sink, make):
    """As they were sent, and readable after the end."""
    batch = make.batch({"task.a.b.sent": 1})
    sink.send(batch)
    sink.close()
    assert 3 == len(sink.batches)
    assert batch is sink.batches[-1]


def test_it_takes_no_options():
    """A typo is told here too."""
    with pytest.raises(ConfigError, match="size"):
        sink_from("memory://?size=3")
