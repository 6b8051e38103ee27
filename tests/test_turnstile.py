"""Counting in somebody else's process: forks, threads, bounds, sinks that are down."""

import io
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from celery_statsd import turnstile as module
from celery_statsd.log import Log
from celery_statsd.sinks import sink_from
from celery_statsd.sinks.memory import MemorySink
from celery_statsd.turnstile import Row, Turnstile
from tests.servers.process import REPOSITORY, free_port, wait_until
from tests.sums import Receiver


def turnstile(*sinks: Any, interval: float = 60.0) -> tuple[Turnstile, io.StringIO]:
    """One that sends to `sinks`, and what it logs."""
    told = io.StringIO()
    return Turnstile(lambda: sinks, Log(stream=told), interval=interval), told


def test_a_row_is_told_of_each_entity() -> None:
    """By the families of the catalogue; times in ms."""
    sink = MemorySink()
    gate, _ = turnstile(sink)
    gate.note(Row("started", "shop.pay", "w@h", "mails", times=(("wait", 0.25),)))
    gate.note(Row("failed", "shop.pay", "w@h", error="KeyError"))
    gate.note(Row("sent", "shop.pay", queue="mails"))
    gate.close()

    for family, entity in (("cluster", "all"), ("task", "shop.pay"), ("worker", "w@h")):
        assert 1 == sink.counter(family, entity, "started")
        assert 1 == sink.counter(family, entity, "failed")
    assert 1 == sink.counter("exception", "KeyError", "failed")
    assert 1 == sink.counter("queue", "mails", "sent")
    for family, entity in (("cluster", "all"), ("task", "shop.pay"), ("queue", "mails")):
        timing = sink.timer(family, entity, "wait")
        assert timing
        assert (250.0,) == timing.values
    (batch,) = sink.batches
    assert () == batch.gauges


def test_only_what_is_new_or_has_grown_is_told() -> None:
    """Each series once as 0, then when it has something to say."""
    sink = MemorySink()
    gate, _ = turnstile(sink)
    for _ in range(3):
        gate.note(Row("sent", "a"))
        gate.flush()
    gate.close()

    first, *others = ([row[1] for row in batch.counters] for batch in sink.batches)
    assert (2, len(first) - 2) == (sum(first), first.count(0))
    assert [[1, 1], [1, 1], []] == others


def test_a_thread_tells_each_interval() -> None:
    """By itself, from the first row on; it ends when it is closed."""
    sink = MemorySink()
    gate, _ = turnstile(sink, interval=0.05)
    threads = set(threading.enumerate())
    gate.note(Row("sent", "a"))
    (mine,) = set(threading.enumerate()) - threads
    wait_until(lambda: len(sink.batches) >= 2, 10, "it tells")
    gate.close()
    mine.join(5)

    assert not mine.is_alive()
    assert 1 == sink.counter("task", "a", "sent")


def test_many_threads_lose_nothing() -> None:
    """Rows are noted while others are added up and sent."""
    sink = MemorySink()
    gate, told = turnstile(sink, interval=0.01)

    def work() -> None:
        for _ in range(5000):
            gate.note(Row("sent", "a"))

    hands = [threading.Thread(target=work) for _ in range(4)]
    for hand in hands:
        hand.start()
    for hand in hands:
        hand.join()
    gate.close()

    assert 20_000 == sink.counter("cluster", "all", "sent")
    assert "" == told.getvalue()


FORKING = """
import os, sys
from celery_statsd.log import Log
from celery_statsd.sinks import sink_from
from celery_statsd.turnstile import Row, Turnstile

gate = Turnstile(lambda: [sink_from(sys.argv[1])], Log(), interval=0.05)
for _ in range(3):
    gate.note(Row("sent", "parent"))
gate.flush()
gate.note(Row("sent", "parent"))
if not os.fork():
    for _ in range(2):
        gate.note(Row("sent", "child"))
    if not os.fork():
        gate.note(Row("sent", "grandchild"))
        gate.close()
        os._exit(0)
    os.wait()
    gate.close()
    os._exit(0)
os.wait()
gate.close()
"""


@pytest.mark.parametrize("held", [False, True], ids=["idle", "while it sends"])
def test_a_fork_counts_nothing_twice(held: bool) -> None:
    """What waits in the parent is told by the parent, and a child tells its own; also if the
    parent's lock was held as it was forked."""
    script = FORKING.replace("if not os.fork", "gate._sending.acquire()\nif not os.fork", 1)
    script = script.replace("\nos.wait()\ngate", "\ngate._sending.release()\nos.wait()\ngate")
    with Receiver() as told:
        subprocess.run(
            [sys.executable, "-c", script if held else FORKING, told.address],
            cwd=REPOSITORY, timeout=20, check=True,
        )  # fmt: skip
        wait_until(lambda: told.total("default", "task", "sent") >= 7, 5, "all have told")

        counts = told.counts("default", "task", "sent")
    assert {"parent": 4, "child": 2, "grandchild": 1} == counts


def test_rows_past_the_bound_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that floods it loses rows, never memory, and it is told."""
    monkeypatch.setattr(module, "MOST_ROWS", 10)
    sink = MemorySink()
    gate, _ = turnstile(sink)
    for _ in range(15):
        gate.note(Row("sent", "a"))
    gate.close()

    assert 10 == sink.counter("task", "a", "sent")
    assert 5 == sink.counter("agent", "localhost", "forgotten")


def test_times_of_a_broken_clock_are_told() -> None:
    """Negative ones as 0, absurd ones not at all, each counted."""
    sink = MemorySink()
    gate, _ = turnstile(sink)
    gate.note(Row("started", "a", times=(("wait", -1.0), ("prefetch", 1e10))))
    gate.close()

    timing = sink.timer("task", "a", "wait")
    assert timing
    assert (0.0,) == timing.values
    assert sink.timer("task", "a", "prefetch") is None
    assert 2 == sink.counter("agent", "localhost", "timers_clamped")


def test_a_sink_that_is_down_delays_nobody() -> None:
    """It is told once, and what it lacks is kept by it; the others get theirs."""
    port = free_port()
    sink = MemorySink()
    gate, told = turnstile(sink_from(f"statsd+tcp://127.0.0.1:{port}"), sink)
    began = time.monotonic()
    for _ in range(3):
        gate.note(Row("sent", "a"))
        gate.flush()
    gate.close()

    assert time.monotonic() - began < 5
    assert 3 == sink.counter("task", "a", "sent")
    assert 1 == told.getvalue().count("sink_down")
    assert sink.counter("agent", "localhost", "sink_errors") >= 2


class Broken(MemorySink):
    """A sink with a fault of ours in it."""

    def send(self, batch: Any) -> None:
        """Fails."""
        raise ZeroDivisionError(batch)


def test_a_fault_of_ours_is_told_and_stays_here() -> None:
    """In the log, once for each place, and in numbers; the thread lives on, and other sinks get
    theirs."""
    sink = MemorySink()
    gate, told = turnstile(Broken(), sink, interval=0.02)
    for _ in range(5):
        gate.note(Row("sent", "a"))
        gate.note(Row("no such metric", "a"))
        gate.flush()
    assert gate._thread
    assert gate._thread.is_alive()
    gate.close()

    assert 5 == sink.counter("task", "a", "sent")
    assert 5 == sink.counter("agent", "localhost", "forgotten")
    assert sink.counter("agent", "localhost", "sink_errors") >= 5
    assert sink.counter("agent", "localhost", "sink_dropped") > 0
    assert 1 == told.getvalue().count("instrument_failed")
    assert 1 == told.getvalue().count("sink_down")


def test_closing_waits_for_seconds_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flush that hangs does not hold up a process that ends."""
    monkeypatch.setattr(module, "PATIENCE", 0.1)
    gate, _ = turnstile(MemorySink())
    with gate._sending:
        began = time.monotonic()
        gate.close()
    assert time.monotonic() - began < 2
