"""Workers as their operator sees them: real ones, in every way in which one can be there or not.

Ground truth is what the test has done to a worker's process.
"""

import http.client
import json
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery import Celery

from tests.cli.program import run
from tests.servers.agent import Agent
from tests.servers.process import free_port, wait_until
from tests.servers.rabbitmq import RabbitMQ
from tests.servers.redis import Redis
from tests.servers.wire import Wire
from tests.servers.worker import Cluster, Worker, old_celery

APP = "crew"
PATIENCE = 20.0
SILENCE = 2 * 2.0
"""Seconds: two of a worker's own heartbeat intervals."""


class Scene:
    """An agent that looks often, and a cluster to look at."""

    def __init__(self, broker: str, cluster: Cluster, wire: Wire, window: str) -> None:
        self.broker, self.cluster, self.wire, self.window = broker, cluster, wire, window

    def worker(self, name: str, *flags: str, pool: str = "threads", **how: str) -> Worker:
        return self.cluster.worker(name, pool, [f"{name}.q"], 2, *flags, **how)

    def table(self) -> dict[str, list[str]]:
        """What `workers` prints of each, by the agent's memory."""
        asked = run("workers", "-b", self.broker, "--http", self.window)
        assert "" == asked.stderr
        return {line.split()[0]: line.split()[1:] for line in asked.stdout.splitlines()}

    def page(self, path: str) -> Any:
        window = http.client.HTTPConnection(self.window, timeout=5)
        window.request("GET", path)
        answer = json.load(window.getresponse())
        window.close()
        return answer

    def facts(self, worker: Worker) -> dict[str, Any]:
        """What /workers has of it; {} when it is not there."""
        found: dict[str, Any] = self.page("/workers")["workers"].get(worker.nodename, {})
        return found

    def until(self, worker: Worker, what: str, **expected: Any) -> None:
        """Wait until /workers says so of it, while the metrics are read on."""

        def holds() -> bool:
            self.wire.worker(worker, "up")
            found = self.facts(worker)
            return all(found.get(key) == value for key, value in expected.items())

        wait_until(holds, PATIENCE, what, poll=0.1)

    def gauge(self, worker: Worker, metric: str, value: float) -> None:
        wait_until(
            lambda: self.wire.worker(worker, metric) == value,
            PATIENCE,
            f"{metric} of {worker.name} is {value}",
            poll=0.1,
        )


@pytest.fixture(scope="module", params=["redis", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> str:
    """A fresh place on a real broker."""
    kind = {"redis": "redis_server", "rabbitmq": "rabbitmq"}[request.param]
    server: Redis | RabbitMQ = request.getfixturevalue(kind)
    return server.fresh_url()


@pytest.fixture(scope="module")
def scene(
    broker: str,
    clusters: Callable[[str], Cluster],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Scene]:
    """One for all tests: each has workers of its own."""
    window = f"127.0.0.1:{free_port()}"
    flags = ("--probe-interval", "0.5", "--inspect-interval", "3", "--http", window)
    folder = tmp_path_factory.mktemp("agent")
    with Wire(APP) as wire, Agent(folder, broker, [wire.address], APP, *flags):
        yield Scene(broker, clusters(broker), wire, window)


def test_one_that_lives_tells_all(scene: Scene) -> None:
    """What its heart beats, and what it answers."""
    worker = scene.worker("plain")
    scene.until(worker, "it lives and answers", state="up", pool_size=2, queues=["plain.q"])
    scene.gauge(worker, "up", 1)
    scene.gauge(worker, "pool_size", 2)
    scene.gauge(worker, "prefetch_count", 8)
    scene.gauge(worker, "queues", 1)
    found = scene.facts(worker)
    assert (0, 0, "5") == (found["active"], found["processed"], found["version"][:1])
    assert "shop.orders.create" in found["tasks"]


def test_one_that_is_killed_is_down(scene: Scene) -> None:
    """After two of its heartbeat intervals, and not for good: it comes back as a new life."""
    worker = scene.worker("killed")
    scene.until(worker, "it lives and answers", state="up", pool_size=2)
    scene.gauge(worker, "up", 1)
    scene.gauge(worker, "pool_size", 2)
    os.killpg(worker.pid, signal.SIGKILL)
    scene.until(worker, "it is down", state="down")
    assert SILENCE < scene.facts(worker)["heartbeat_age_s"] < SILENCE + 4
    scene.gauge(worker, "up", 0)
    scene.gauge(worker, "offline", 1)
    scene.gauge(worker, "pool_size", 0)
    worker.kill()
    again = scene.worker("killed")
    assert again.nodename == worker.nodename
    scene.until(worker, "it lives again", state="up", flapping=0)
    scene.gauge(worker, "up", 1)
    scene.gauge(worker, "restarts", 1)


def test_one_that_is_stopped_has_left(scene: Scene) -> None:
    """Its series are closed: 0, then nothing more; nobody is missed."""
    worker = scene.worker("stopped")
    scene.until(worker, "it lives", state="up")
    scene.gauge(worker, "up", 1)
    worker.stop()
    wait_until(lambda: not scene.facts(worker), PATIENCE, "it is gone from /workers", poll=0.1)
    scene.gauge(worker, "up", 0)
    assert 1 == scene.wire.worker(worker, "offline")


def test_one_that_starts_again_and_again_flaps(scene: Scene) -> None:
    """Three new lives of its name within minutes."""
    worker = scene.worker("flapping")
    scene.until(worker, "it lives", state="up", flapping=0)
    for _ in range(3):
        pid = worker.pid
        os.killpg(pid, signal.SIGKILL)
        worker.kill()
        worker = scene.worker("flapping")
        scene.until(worker, "it lives", state="up")
    scene.until(worker, "it flaps", flapping=1)
    scene.gauge(worker, "flapping", 1)
    scene.gauge(worker, "restarts", 3)
    found = scene.page("/findings")["findings"]
    assert [worker.nodename] == [one["entity"] for one in found if one["kind"] == "flapping"]
    table = run("workers", "-b", scene.broker, "--http", scene.window)
    assert 1 == len([line for line in table.stdout.splitlines() if "up, flapping" in line])


def test_one_that_is_paused_is_down_until_it_goes_on(scene: Scene) -> None:
    """It is no new life; what it had answered is not known for longer than it is fresh."""
    worker = scene.worker("paused")
    scene.until(worker, "it lives and answers", state="up", pool_size=2)
    os.killpg(worker.pid, signal.SIGSTOP)
    try:
        scene.until(worker, "it is down", state="down")
        scene.gauge(worker, "up", 0)
        wait_until(
            lambda: "scheduled" not in scene.facts(worker), PATIENCE, "answers are old", poll=0.2
        )
    finally:
        os.killpg(worker.pid, signal.SIGCONT)
    scene.until(worker, "it lives again", state="up", pool_size=2)
    scene.gauge(worker, "up", 1)
    assert 0 == scene.wire.worker(worker, "restarts")


def test_one_without_a_heartbeat_is_unknown(scene: Scene) -> None:
    """It answers, and has no `up`: nobody could tell when it dies."""
    worker = scene.worker("heartless", "--task-events", "--without-heartbeat")
    scene.until(worker, "it answers", state="unknown", pool_size=2, queues=["heartless.q"])
    with Celery(broker=scene.broker) as app:
        app.send_task("shop.orders.create", queue="heartless.q")
    scene.gauge(worker, "succeeded", 1)
    assert "unknown" == scene.facts(worker)["state"]
    scene.gauge(worker, "pool_size", 2)
    assert scene.wire.worker(worker, "up") is None


@pytest.mark.parametrize("flags", [("--loglevel", "INFO"), ("-E", "--without-gossip")])
def test_one_without_task_events_or_gossip_is_up(scene: Scene, flags: tuple[str, ...]) -> None:
    """Heartbeats and answers are all it takes."""
    worker = scene.worker(f"quiet{len(flags[0])}", *flags)
    scene.until(worker, "it lives and answers", state="up", pool_size=2)
    scene.gauge(worker, "up", 1)


@pytest.mark.parametrize(
    ("zone", "utc"),
    [("America/New_York", "enable_utc=(bool)0"), ("Asia/Kolkata", "enable_utc=(bool)1")],
)
def test_one_in_another_zone_is_up_and_not_askew(scene: Scene, zone: str, utc: str) -> None:
    """What its clock says there is no skew, and no age of its heartbeat; killed, it is down."""
    name = f"{zone.rpartition('/')[2].lower()}{utc[-1]}"
    worker = scene.worker(name, "--task-events", "--", utc, zone=zone)
    scene.until(worker, "it lives and answers", state="up", pool_size=2)
    scene.gauge(worker, "up", 1)
    assert abs(scene.wire.worker(worker, "clock_skew_ms") or 0.0) < 1000
    assert scene.facts(worker)["heartbeat_age_s"] < SILENCE
    assert ["up", "0", "2"] == scene.table()[worker.nodename][:3]
    worker.kill()
    scene.until(worker, "it is down", state="down")
    scene.gauge(worker, "up", 0)
    assert "down" == scene.table()[worker.nodename][0]


def test_one_with_an_old_celery_is_told_as_any(scene: Scene) -> None:
    """Celery 5.2 (of processes: its threads lose events): it lives, answers, works, and is down
    when it was killed."""
    worker = scene.worker("old", pool="prefork", python=old_celery())
    scene.until(worker, "it lives and answers", state="up", pool_size=2, version="5.2.7")
    scene.gauge(worker, "up", 1)
    with Celery(broker=scene.broker) as app:
        app.send_task("shop.orders.create", queue="old.q")
    scene.gauge(worker, "succeeded", 1)
    scene.until(worker, "its heart tells of it", processed=1)
    assert ["up", "0", "2"] == scene.table()[worker.nodename][:3]
    worker.kill()
    scene.until(worker, "it is down", state="down")
    scene.gauge(worker, "up", 0)
    assert "down" == scene.table()[worker.nodename][0]


def test_one_that_is_busy_does_not_answer_and_lives(scene: Scene) -> None:
    """A solo worker is silent while it works: unknown, not dead; what it takes from is known."""
    worker = scene.worker("solo", pool="solo")
    scene.until(worker, "it lives and answers", state="up", queues=["solo.q"])
    with Celery(broker=scene.broker) as app:
        app.send_task("shop.orders.create", (12.0,), queue="solo.q")
    wait_until(lambda: scene.wire.worker(worker, "started") == 1, PATIENCE, "it works", poll=0.1)
    wait_until(
        lambda: scene.wire.worker(worker, "succeeded") == 1, PATIENCE, "its work is done", poll=0.1
    )
    scene.until(worker, "it lives", state="up", queues=["solo.q"])
    assert 0 == scene.wire.worker(worker, "restarts")


def test_the_command_tells_the_same(scene: Scene) -> None:
    """By the agent's memory, and by ears of its own, which a heart that does not beat cannot
    reach: it answers."""
    alive, dead = scene.worker("alive"), scene.worker("dead")
    mute = scene.worker("mute", "--task-events", "--without-heartbeat")
    for worker in (alive, dead):
        scene.until(worker, "it lives and answers", state="up", pool_size=2)
    dead.kill()
    scene.until(dead, "it is down", state="down")
    assert 2 == run("workers", "-b", scene.broker, "--http", scene.window).returncode
    rows = scene.table()
    assert ["up", "0", "2"] == rows[alive.nodename][:3]
    assert "alive.q" == rows[alive.nodename][-1]
    assert "down" == rows[dead.nodename][0]
    heard = json.loads(run("workers", "-b", scene.broker, "--json").stdout)
    assert ("up", ["alive.q"]) == (heard[alive.nodename]["state"], heard[alive.nodename]["queues"])
    assert dead.nodename not in heard
    assert "unknown" == heard[mute.nodename]["state"]
