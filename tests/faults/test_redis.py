"""Redis fails in every way it can, under load. It remembers nothing, so what is published while
nobody listens is lost: the agent must know how much, to the unit, from the workers' heartbeats."""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.faults.conftest import RATE, Under, at_length
from tests.faults.proxy import Proxy
from tests.faults.receivers import Receiver
from tests.faults.stream import RedisPublisher
from tests.faults.table import LONG, Row
from tests.faults.trial import Record, Trial, pause
from tests.servers.process import wait_until
from tests.servers.redis import Redis

pytestmark = pytest.mark.e2e

LIMIT = "normal 0 0 0 slave 268435456 67108864 60 pubsub 1mb 1mb 1"
"""An output buffer that is soon full; Redis's own is 32 MB."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Redis]:
    """A Redis of one's own."""
    with Redis(tmp_path) as found:
        yield found


@pytest.fixture
def client(server: Redis) -> Iterator[Any]:
    """redis-py's own client."""
    with redis.Redis(port=server.port) as found:
        yield found


@pytest.fixture
def on(server: Redis, statsd: Receiver, tmp_path: Path) -> Iterator[Under]:
    """Begins a trial on Redis; `url` is where the agent finds it, if not where it is."""
    with ExitStack() as stack:

        def begin(url: str = "", rate: float = RATE) -> Trial:
            stream = RedisPublisher(server.url, rate)
            trial = Trial(tmp_path, "Redis", url or server.url, statsd, stream)
            return stack.enter_context(trial)

        yield begin


def is_told(row: Row) -> bool:
    """Whether all was counted once, or told to be lost, to the unit."""
    return row.lost == row.lost_reported and not row.doubled


def test_killed_and_restarted(on: Under, server: Redis, record: Record) -> None:
    """The agent is back within 5 s of the broker."""
    trial = on()
    for _ in range(10 if LONG else 2):
        pause(1.0)
        server.kill()
        pause(0.5)
        server.start()
        trial.recovered()
    row = trial.row("R1", f"broker killed (-9) and restarted, {10 if LONG else 2} times")
    record(row)

    assert row.lost > 0
    assert is_told(row)
    assert row.recover_s < 5


def test_client_kill(on: Under, client: Any, record: Record) -> None:
    """CLIENT KILL TYPE pubsub, several times."""
    trial = on()
    for _ in range(10 if LONG else 2):
        pause(0.7)
        client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        trial.recovered()
    row = trial.row("R2", "CLIENT KILL TYPE pubsub")
    record(row)

    assert is_told(row)
    assert row.recover_s < 5


@at_length
def test_suspended(on: Under, server: Redis, record: Record) -> None:
    """A Redis that stands still is given up, and found again."""
    trial = on()
    with server.suspended():
        pause(20 if LONG else 4)
    trial.recovered()
    row = trial.row("R3", f"broker suspended for {20 if LONG else 4} s")
    record(row)

    assert is_told(row)


@at_length
def test_black_hole(on: Under, server: Redis, record: Record) -> None:
    """A connection that swallows everything is noticed by its PINGs within 8 s."""
    with Proxy(server.port) as proxy:
        trial = on(server.url.replace(str(server.port), str(proxy.port)))
        proxy.set("blackhole")
        pause(0.2)
        proxy.set("pass")
        trial.recovered()
        row = trial.row("R3", "black hole mid-stream", "PING each 2 s, PONG within 5 s")
    record(row)

    assert row.lost > 0
    assert is_told(row)
    assert row.recover_s < 12
    assert 1 == trial.logged("broker_back")


def test_output_buffer(on: Under, client: Any, record: Record) -> None:
    """An agent that reads too slowly is cut by Redis; what that has cost is known."""
    client.config_set("client-output-buffer-limit", LIMIT)
    trial = on(rate=2000)
    os.kill(trial.agent.pid, signal.SIGSTOP)
    wait_until(lambda: not client.client_list(_type="pubsub"), 60, "Redis has cut us")
    os.kill(trial.agent.pid, signal.SIGCONT)
    trial.recovered()
    row = trial.row("R4", "output buffer full: the agent suspended under load")
    record(row)

    assert row.lost > 0
    assert is_told(row)


def test_channel_forbidden(on: Under, server: Redis, client: Any, record: Record) -> None:
    """The user loses the channel while connected: told, tried again, well when it is back."""
    rights = ("on", ">pw", "-@all", "+psubscribe", "+punsubscribe", "+ping")
    client.execute_command("ACL", "SETUSER", "faults", *rights, "resetchannels", "&/0.celeryev/*")
    trial = on(server.url.replace("://", "://faults:pw@"))
    client.execute_command("ACL", "SETUSER", "faults", "resetchannels")
    wait_until(lambda: trial.logged("broker_lost"), 20, "it is told")
    pause(10 if LONG else 0.5)
    client.execute_command("ACL", "SETUSER", "faults", "&/0.celeryev/*")
    trial.recovered()
    row = trial.row("R8", "ACL user loses the channel, and gets it back")
    record(row)

    assert row.lost > 0
    assert is_told(row)
    assert "pw@" not in trial.agent.output()


@at_length
def test_huge_event(on: Under, client: Any, record: Record) -> None:
    """An event larger than the output buffer ends the subscriber's connection: a gap, no more."""
    trial = on()
    client.publish("/0.celeryev/task.sent", b"x" * 50_000_000)
    wait_until(lambda: trial.logged("broker_back"), 20, "back")
    trial.recovered()
    row = trial.row("R9", "event of 50 MB")
    record(row)

    assert is_told(row)
    assert row.peak_rss_mb < 100


def test_a_demoted_master_is_left(
    server: Redis, statsd: Receiver, tmp_path: Path, record: Record
) -> None:
    """After a fail-over the old master answers every PING and delivers nothing. When no worker's
    heart beats any more it is doubted, and the new one found; what was missed is told."""
    (tmp_path / "second").mkdir()
    with Redis(tmp_path / "second") as second, Proxy(server.port) as proxy, ExitStack() as stack:
        stream = RedisPublisher(server.url, RATE)
        url = server.url.replace(str(server.port), str(proxy.port))
        trial = stack.enter_context(Trial(tmp_path, "Redis", url, statsd, stream))
        pause(1.0)
        stream.move(second.url)
        proxy.target = second.port
        trial.recovered()
        row = trial.row("R5", "demoted master that answers PINGs and delivers nothing")
    record(row)

    assert row.lost > 0
    assert is_told(row)
    assert row.recover_s < 10
    assert 1 == trial.logged("broker_lost")
    assert "no heartbeat of any worker for" in trial.agent.output()


def test_workers_that_are_gone_are_not_the_brokers_fault_for_long(
    on: Under, record: Record
) -> None:
    """Nobody's heart beats, for all workers are gone without a word: the broker is doubted ever
    more rarely, and whatever comes is heard."""
    trial = on()
    trial.stream.hold()
    wait_until(lambda: trial.logged("broker_lost") == 2, 30, "it is doubted again")
    trial.stream.release()
    trial.recovered()
    row = trial.row("R6", "no heartbeat of any worker")
    record(row)

    assert is_told(row)
    assert trial.logged("broker_lost") == trial.logged("broker_back") == 2
