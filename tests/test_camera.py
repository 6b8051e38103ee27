"""Celery's camera: real workers, `celery events -c`, and the workload's own counts."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from celery_statsd.camera import Camera, as_sent
from celery_statsd.errors import ConfigError
from tests.bodies import NOON, Process
from tests.servers.process import wait_until
from tests.servers.redis import Redis
from tests.servers.worker import MODULE, Cluster
from tests.sums import Receiver


@contextmanager
def filming(
    cluster: Cluster, folder: Path, receiver: Receiver
) -> Iterator[subprocess.Popen[bytes]]:
    """A camera in another time zone than the workers', once it hears them."""
    environment = {
        **os.environ,
        **cluster.environment,
        "TZ": "Asia/Kolkata",
        "CELERY_STATSD_SINKS": receiver.address,
        "CELERY_STATSD_APP": "film",
    }
    command = [sys.executable, "-m", "celery", "-A", MODULE, "events"]
    with (folder / "out").open("wb") as out:
        running = subprocess.Popen(
            [*command, "-c", "celery_statsd.camera.Camera", "--frequency", "1"],
            env=environment, cwd=folder, stdout=out, stderr=out,
        )  # fmt: skip
    try:
        wait_until(lambda: receiver.gauge("film", "agent", None, "series"), 20, "it has flushed")
        yield running
    finally:
        running.kill()
        running.wait(10)


def test_a_camera_counts_what_the_workers_did(
    tmp_path: Path, redis_server: Redis, clusters: Callable[[str], Cluster]
) -> None:
    """Each stage of each task, each exception, each queue, to the unit; no time is shifted by a
    time zone; and SIGTERM ends it with a farewell."""
    cluster = clusters(redis_server.fresh_url())
    with Receiver() as receiver, filming(cluster, tmp_path, receiver) as running:
        cluster.worker("fork.1", "prefork", ("q.any", "q.fork"))
        cluster.mix()
        cluster.stop()
        wait_until(lambda: receiver.total("film", "worker", "offline"), 15, "the worker has left")
        running.terminate()
        assert 0 == running.wait(15)
        truth = cluster.truth()

        for stage, expected in truth.stages.items():
            assert expected == receiver.counts("film", "task", stage), stage
        assert truth.errors == receiver.counts("film", "exception", "failed")
        assert truth.queues == receiver.counts("film", "queue", "sent")
        assert 0 == receiver.gauge("film", "worker", None, "up")
        assert max(receiver.values("film", "cluster", "wait")) < 60_000
        assert max(receiver.values("film", "agent", "event_lag")) < 60_000


class State:
    """What Celery hands to a camera, as far as this one looks."""

    event: Any = None


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Camera, Receiver]]:
    """A camera in this process, and what it sends to."""
    with Receiver() as receiver:
        monkeypatch.setenv("CELERY_STATSD_SINKS", receiver.address)
        yield Camera(State(), freq=0.2), receiver


def test_a_camera_flushes_and_says_farewell(camera: tuple[Camera, Receiver]) -> None:
    """At each multiple of its frequency; what is no event at all costs nothing but itself."""
    film, receiver = camera
    worker, now = Process(), time.time()
    with film:
        film.hear(worker.received("u1", now))
        film.hear({"type": "task-received", ("no", "text"): 1})
        film.hear({"type": "task-succeeded", "uuid": object(), "hostname": 7})
        wait_until(lambda: receiver.total("default", "agent", "ticks") >= 3, 10, "it flushes")
        assert 1 == receiver.gauge("default", "cluster", "all", "reserved")
    wait_until(lambda: not receiver.gauge("default", "cluster", "all", "reserved"), 5, "farewell")

    assert 1 == receiver.total("default", "cluster", "received")
    assert 3 == receiver.total("default", "agent", "events")
    assert 2 == receiver.total("default", "agent", "events_bad")


def test_time_is_what_the_sender_said() -> None:
    """The shift of Celery's receiver is taken back, to the bit; a broken time is left alone."""
    stamp = NOON + 0.123456
    for offset in (-11, 0, 5.5):
        hours = offset - (-time.timezone / 3600)
        shifted = {"timestamp": stamp - hours * 3600, "utcoffset": offset}
        assert stamp == as_sent(shifted)["timestamp"]
    assert {"timestamp": "x", "utcoffset": 1} == as_sent({"timestamp": "x", "utcoffset": 1})


def test_wrong_settings_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """By their key, before anything starts."""
    monkeypatch.setenv("CELERY_STATSD_SINKS", "nonsense")
    with pytest.raises(ConfigError, match="sinks"):
        Camera(State())
