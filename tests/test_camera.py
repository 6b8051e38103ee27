"""Celery's camera by itself; what it tells of real workers stands in `test_ways`."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from celery_statsd.camera import Camera, as_sent
from celery_statsd.errors import ConfigError
from tests.bodies import NOON, Process
from tests.servers.process import wait_until
from tests.sums import Receiver


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
