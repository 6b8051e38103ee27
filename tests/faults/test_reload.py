"""A3: SIGHUP under load. The settings change at once, the listening goes on, nothing is lost or
counted twice, and settings that are wrong change nothing."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.faults.conftest import RATE
from tests.faults.receivers import Receiver, Statsd, StatsdTcp
from tests.faults.stream import Publisher, RedisPublisher, Worker, vhost
from tests.faults.table import LONG, Row
from tests.faults.trial import FLUSH, PATIENCE, Record
from tests.servers.agent import Agent
from tests.servers.process import REPOSITORY, Child, wait_until
from tests.servers.rabbitmq import RabbitMQ
from tests.servers.redis import Redis

pytestmark = pytest.mark.e2e

HANGUPS = 100


class Configured(Agent):
    """An agent that knows what stands in its file, and nothing else."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.file = folder / "celery-statsd.yml"
        self.settings = settings
        self.write()
        command = [sys.executable, "-m", "celery_statsd", "agent", "--config", self.file]
        Child.__init__(self, "agent", command, folder, {"PYTHONPATH": str(REPOSITORY)})

    def write(self, **settings: Any) -> None:
        """From now on these settings stand there."""
        self.settings |= settings
        self.file.write_text(yaml.safe_dump(self.settings))

    def hang_up(self, answer: str) -> None:
        """SIGHUP; return when `answer` is told once more."""
        before = self.output().count(answer)
        os.kill(self.pid, signal.SIGHUP)
        wait_until(lambda: self.output().count(answer) > before, PATIENCE, answer)

    def belongings(self) -> tuple[int, int]:
        """How many open files and threads it has."""
        process = Path(f"/proc/{self.pid}")
        return tuple(len(list((process / what).iterdir())) for what in ("fd", "task"))  # type: ignore[return-value]


@pytest.fixture(params=["RabbitMQ", "Redis"])
def place(
    request: pytest.FixtureRequest, rabbitmq: RabbitMQ, redis_server: Redis
) -> Iterator[tuple[str, str, Worker]]:
    """A broker's name, its URL, and a worker there."""
    worker: Worker
    if request.param == "RabbitMQ":
        url = rabbitmq.fresh_url()
        worker = Publisher(rabbitmq.port, vhost(url), RATE)
    else:
        url = redis_server.fresh_url()
        worker = RedisPublisher(url, RATE)
    yield request.param, url, worker
    if worker.is_alive():
        worker.leave()


@pytest.fixture
def begin(place: tuple[str, str, Worker], tmp_path: Path) -> Iterator[Callable[..., Configured]]:
    """Starts an agent there that sends to some receivers, and the worker."""
    made: list[Configured] = []

    def start(*receivers: Receiver) -> Configured:
        agent = Configured(
            tmp_path,
            broker=place[1],
            sinks=[receiver.address for receiver in receivers],
            app="faults",
            host="tester",
            flush_interval=FLUSH,
            state_dir=str(tmp_path / "state"),
        )
        made.append(agent.listen())
        if place[0] == "Redis":
            wait_until(lambda: "lease_taken" in agent.output(), PATIENCE, "it speaks")
        place[2].start()
        wait_until(lambda: receivers[0].count("started"), PATIENCE, "it counts")
        return agent

    yield start
    for agent in made:
        agent.kill()


def test_sinks_come_and_go_without_a_gap(
    place: tuple[str, str, Worker],
    begin: Callable[..., Configured],
    receive: Callable[..., Receiver],
    record: Record,
) -> None:
    """One stays, one goes, one comes, each several times: the one that stays has everything, the
    two others together too."""
    stays, goes, comes = receive(Statsd), receive(StatsdTcp), receive(Statsd)
    agent = begin(stays, goes)
    levels = ["debug", "info"]
    for number in range(10 if LONG else 4):
        other = (comes, goes)[number % 2]
        agent.write(
            sinks=[stays.address, other.address],
            flush_interval=(2 * FLUSH, FLUSH)[number % 2],
            log_level=levels[number % 2],
        )
        before = other.packets
        agent.hang_up('info reloaded changed="' if number % 2 == 0 else "info reloaded")
        wait_until(lambda one=other, was=before: one.packets > was, PATIENCE, "it gets something")
    sent = place[2].stop()
    wait_until(lambda: stays.count("started") >= sent, PATIENCE, "all is counted")
    place[2].leave()
    assert 0 == agent.stop()
    record(
        Row(
            "A3",
            "SIGHUP: sinks, flush interval and log level changed",
            place[0],
            sent,
            stays.count("started"),
            sent - stays.count("started"),
            0,
            None,
            0.0,
            stays.lost(),
            stays.own("events"),
        )
    )

    for stage in ("received", "started", "succeeded"):
        assert sent == stays.count(stage)
        assert sent == goes.count(stage) + comes.count(stage)
    assert 0 == stays.lost()
    assert 1 == agent.output().count("broker_connected")
    assert 0 == agent.output().count("broker_lost")
    assert 0 == stays.total("celery.faults.broker.amqp.reconnects")


WRONG: dict[str, str] = {
    "a value": "flush_interval: soon\n",
    "a key": "flush_intervall: 1\n",
    "an address": "sinks: ['statsd://']\n",
    "no YAML": "sinks: [\n",
    "no mapping": "- 1\n",
    "nothing readable": "\x00\x01",
    "a password in it": "broker: 'amqp://u:secret@'\nlog_level: loud\n",
}


@pytest.mark.parametrize("place", ["Redis"], indirect=True)
def test_settings_that_are_wrong_change_nothing(
    place: tuple[str, str, Worker], begin: Callable[..., Configured], statsd: Receiver
) -> None:
    """It is told which, the old ones stay, and the exit code of the end is 0."""
    agent = begin(statsd)
    good = agent.file.read_text()
    for text in WRONG.values():
        agent.file.write_text(text)
        agent.hang_up("error reload_refused")
    agent.file.unlink()
    agent.hang_up("error reload_refused")
    agent.file.write_text(good)
    agent.hang_up("info reloaded changed=nothing")
    sent = place[2].stop()
    wait_until(lambda: statsd.count("started") >= sent, PATIENCE, "all is counted")
    place[2].leave()

    assert 0 == agent.stop()
    assert sent == statsd.count("started")
    assert len(WRONG) + 1 == agent.output().count("reload_refused")
    assert "secret" not in agent.output()
    assert "Traceback" not in agent.output()


@pytest.mark.parametrize("place", ["RabbitMQ"], indirect=True)
def test_many_reloads_leave_nothing_behind(
    place: tuple[str, str, Worker],
    begin: Callable[..., Configured],
    receive: Callable[..., Receiver],
) -> None:
    """Open files and threads are as many as before, though a sink of a connection went and came
    each time."""
    stays, comes = receive(Statsd), receive(StatsdTcp)
    agent = begin(stays)
    sinks = ([stays.address, comes.address], [stays.address])
    for one in sinks:  # whatever is made once has been
        agent.write(sinks=one)
        agent.hang_up("info reloaded")
    before = settled(agent)
    for number in range(HANGUPS):
        agent.write(sinks=sinks[number % 2])
        agent.hang_up("info reloaded")
    after = settled(agent)
    sent = place[2].stop()
    wait_until(lambda: stays.count("started") >= sent, PATIENCE, "all is counted")

    assert before == after
    assert 0 == agent.stop()
    assert sent == stays.count("started")


def settled(agent: Configured) -> tuple[int, int]:
    """What it has once nothing comes or goes for half a second."""
    seen = [agent.belongings()]
    since = [time.monotonic()]

    def still() -> bool:
        now = agent.belongings()
        if now != seen[-1]:
            seen.append(now)
            since.append(time.monotonic())
        return time.monotonic() - since[-1] > 0.5

    wait_until(still, PATIENCE, "it has settled")
    return seen[-1]


@pytest.mark.parametrize("place", ["Redis"], indirect=True)
def test_what_takes_a_restart_is_told(
    place: tuple[str, str, Worker], begin: Callable[..., Configured], statsd: Receiver
) -> None:
    """By its name, without its value; the rest is done at once."""
    agent = begin(statsd)
    agent.write(broker="redis://:secret@elsewhere/0", app="other", flush_interval=2 * FLUSH)
    agent.hang_up("restart_needed")

    assert 'warning restart_needed by="app broker"' in agent.output()
    assert "info reloaded changed=flush_interval" in agent.output()
    assert "secret" not in agent.output()
    place[2].stop()
    assert 0 == agent.stop()


@pytest.mark.parametrize("place", ["Redis"], indirect=True)
def test_a_reload_at_any_time_of_a_life_ends_nothing(
    place: tuple[str, str, Worker], begin: Callable[..., Configured], statsd: Receiver
) -> None:
    """One on the heels of another, and one on the heels of the end."""
    agent = begin(statsd)
    for _ in range(20):
        os.kill(agent.pid, signal.SIGHUP)
    sent = place[2].stop()
    wait_until(lambda: statsd.count("started") >= sent, PATIENCE, "all is counted")
    place[2].leave()
    os.kill(agent.pid, signal.SIGTERM)
    os.kill(agent.pid, signal.SIGHUP)

    assert 0 == agent.stop()
    assert sent == statsd.count("started")
    assert "Traceback" not in agent.output()
