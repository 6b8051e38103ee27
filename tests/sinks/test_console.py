"""What a person sees on the terminal."""

import io
import os

import pytest

from celery_statsd.errors import ConfigError, SinkDown
from celery_statsd.sinks import sink_from
from celery_statsd.sinks.base import Address
from celery_statsd.sinks.console import ConsoleSink


@pytest.fixture
def batch(make):
    return make.batch(
        {"task.add.sent": 3, "task.add.failed": 0},
        {"queue.q1.length": 0, "worker.w1.clock_skew_ms": -2.5},
        {"task.add.runtime": make.timing([10.0, 20.0, 30.0])},
    )


def test_idle_counters_are_left_out(batch, capsys):
    """What happened, what is, how long it took; a gauge at 0 is a fact, a counter at 0 is none."""
    sink_from("console://").send(batch)
    assert (
        "-- 2023-11-14 22:13:20 UTC, 10 s\n"
        "task.add.sent  3\n"
        "queue.q1.length  = 0\n"
        "worker.w1.clock_skew_ms  = -2.5\n"
        "task.add.runtime  count 3, mean 20 ms, upper 30 ms\n"
    ) == capsys.readouterr().out


def test_all_shows_idle_counters_too(batch, capsys):
    """With `all=1` every series has its line."""
    sink_from("console://?all=1").send(batch)
    assert "task.add.failed  0\n" in capsys.readouterr().out


def test_bytes_are_counted(batch):
    """The tally is what was written."""
    stream = io.StringIO()
    sink = ConsoleSink(Address.parse("console://"), stream)
    sink.send(batch)
    assert (1, len(stream.getvalue())) == (sink.tally.packets, sink.tally.bytes)


def test_a_reader_that_left_is_told(batch):
    """A broken pipe is a sink that is down; its lines are counted as dropped."""
    reader, writer = os.pipe()
    os.close(reader)
    stream = os.fdopen(writer, "w")
    sink = ConsoleSink(Address.parse("console://"), stream)
    with pytest.raises(SinkDown, match="Broken pipe"):
        sink.send(batch)
    assert (1, 5) == (sink.tally.errors, sink.tally.dropped)
    with pytest.raises(BrokenPipeError):
        stream.close()


@pytest.mark.parametrize("options", ["all=yes", "all=", "colour=1"])
def test_an_impossible_option_is_refused(options):
    """The sentence names it."""
    with pytest.raises(ConfigError, match=options.partition("=")[0]):
        sink_from(f"console://?{options}")
