"""Sinks that are away, slow or stuck while the agent lives, is killed and lives again: every flush
arrives, with its own time or in the sums, and no sink disturbs another."""

import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from celery_statsd.pipeline import Pipeline
from celery_statsd.sinks import sink_from
from celery_statsd.sinks.memory import MemorySink
from tests.faults.receivers import Statsd
from tests.faults.stream import Publisher
from tests.servers.agent import Agent
from tests.servers.process import free_port, wait_until
from tests.servers.rabbitmq import RabbitMQ
from tests.sinks.conftest import Listener, counted
from tests.test_agent import Stage, event, unanswering

pytestmark = pytest.mark.e2e

RATE = 300.0
"""Attempts published in a second."""

FLUSHES = 4
"""At least so many fall into each part of an outage."""

OWN = r"\.celery\.faults\.(agent|broker|cluster\.all\.findings)\."
"""In the paths of what the agent tells of itself, of its connection, and of what it has looked at:
none of that is in the journal."""

Points = dict[tuple[str, int], str]
"""Values as written, by path and epoch second."""


def points(server: Listener) -> Points:
    """What a Graphite would have: of a point that comes twice, the last."""
    rows = (line.split(" ") for line in server.lines)
    return {(path, int(when)): value for path, value, when in rows}


def total(of: Points, stage: str) -> int:
    """The sum of one stage of the whole cluster over all flushes."""
    path = f"stats.counters.celery.faults.cluster.all.{stage}.all.count"
    return sum(int(value) for (name, _), value in of.items() if name == path)


def flushes(of: Points) -> set[int]:
    """The times of all flushes."""
    return {when for _, when in of}


@pytest.fixture
def listeners() -> Iterator[list[Listener]]:
    """Stops at the end what the test has put there."""
    started: list[Listener] = []
    yield started
    for listener in started:
        listener.stop()


def test_a_graphite_that_was_away_over_a_kill_has_every_flush(
    listeners: list[Listener], rabbitmq: RabbitMQ, tmp_path: Path
) -> None:
    """Beside one that was there all the time: the same points, with the same times."""
    port = free_port()
    published = outage(f"graphite://127.0.0.1:{port}", port, listeners, rabbitmq, tmp_path)
    seen, late = (points(listener) for listener in listeners)
    assert 2 * FLUSHES <= len(flushes(seen))
    assert published == total(seen, "succeeded") == total(late, "succeeded")
    assert flushes(seen) == flushes(late)
    assert facts(seen) == facts(late)


def test_a_statsd_that_was_away_over_a_kill_has_every_sum(
    listeners: list[Listener], rabbitmq: RabbitMQ, tmp_path: Path
) -> None:
    """Over TCP: what was published, once each, since no flush was in hand with it."""
    port = free_port()
    published = outage(f"statsd+tcp://127.0.0.1:{port}", port, listeners, rabbitmq, tmp_path)
    sums = counted("\n".join(listeners[1].lines))
    for stage in ("received", "started", "succeeded"):
        assert published == sums[f"celery.faults.cluster.all.{stage}.all"]
    assert len(flushes(points(listeners[0]))) == sums[_ticks(sums)]


def outage(
    sink: str, port: int, listeners: list[Listener], rabbitmq: RabbitMQ, folder: Path
) -> int:
    """How many attempts were published while nobody listened for `sink` on `port`, and the agent
    was killed in the midst of it; in the end all has been sent. `listeners` are then a witness,
    a Graphite that was there all the time, and the one that came."""
    witness = Listener()
    listeners.append(witness)
    url = rabbitmq.fresh_url()
    sinks = [f"graphite://127.0.0.1:{witness.port}", sink]
    agent = Agent(folder, url, sinks, "faults", "--state-dir", str(folder / "state"))
    publisher = Publisher(rabbitmq.port, url.rpartition("/")[2], RATE)
    with agent:
        publisher.start()
        _flushed(witness, FLUSHES)
        agent.kill()
        agent.listen()
        _flushed(witness, FLUSHES)
        listeners.append(Listener(port))
        published = publisher.stop()
        wait_until(lambda: total(points(witness), "succeeded") >= published, 30, "all is counted")
        assert 0 == agent.stop()
    return published


def facts(of: Points) -> Points:
    """What is told of Celery. Of the agent itself a killed one takes along what only it knew."""
    return {key: value for key, value in of.items() if not re.search(OWN, key[0])}


def _flushed(server: Listener, count: int) -> None:
    """Return when `server` has been told of so many more flushes."""
    before = len(flushes(points(server)))
    wait_until(lambda: len(flushes(points(server))) >= before + count, 30, "more flushes")


def _ticks(sums: dict[str, int]) -> str:
    """The name of the agent's ticks, which has this machine's in it."""
    (name,) = (path for path in sums if path.endswith(".ticks.self"))
    return name


class Drip:
    """A TCP server with a small buffer that reads a little now and then: slow, and not stuck."""

    def __init__(self) -> None:
        self.read = 0
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.port = self._server.getsockname()[1]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        with self._server, self._server.accept()[0] as link:
            while not self._over.wait(0.05):
                self.read += len(link.recv(100))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(20)


def test_a_stuck_and_a_slow_sink_disturb_neither_a_third_nor_the_listener(
    statsd: Statsd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One waits for a connection that nobody accepts, one for a peer that reads next to nothing,
    both for longer than the test: the third has every flush before the next is made, and every
    event is counted."""
    monkeypatch.setattr("celery_statsd.agent.FAREWELL", 0.5)
    every = MemorySink()
    with unanswering() as port, Drip() as drip:
        stuck = sink_from(f"statsd+tcp://127.0.0.1:{port}?timeout=60")
        slow = sink_from(f"statsd+tcp://127.0.0.1:{drip.port}?timeout=60")
        healthy = sink_from(f"statsd://127.0.0.1:{statsd.port}")
        pipeline = Pipeline(app="faults", host="me")
        with Stage([stuck, slow, healthy, every], most=1000, pipeline=pipeline) as stage:
            given = 0
            for _ in range(10):
                stage.give(*(event(name=f"shop.pay{n}") for n in range(500)))
                given += 500
                wait_until(lambda n=given: statsd.count("received") == n, 20, "a flush arrives")
            stage.stop()
            assert (0, 0) == (stuck.tally.packets, slow.tally.packets)
            assert 0 < drip.read
    ticks = "celery.faults.agent.me.ticks.self"
    wait_until(lambda: statsd.counters[ticks] == len(every.batches), 20, "the farewell is there")
    assert given == statsd.count("received") == every.counter("cluster", "all", "received")
    assert (0, 0) == (healthy.tally.dropped, healthy.tally.overrun)
    assert 2 == len(stage.logged("sink_abandoned"))
