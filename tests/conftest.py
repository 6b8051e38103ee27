"""The real servers, one of each for a session, started when the first test asks for it.

What is not installed is a reason to skip at home and to fail where `CI` is set: a missing
install must not pass for green.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings

from celery_statsd.graphite import Graphite as Asked
from tests.alerts.world import FAULTS, OLD_NAMES, RETENTION, World, app_of, points
from tests.dashboards.world import World as DashboardWorld
from tests.servers.bucky import Bucky
from tests.servers.graphite import Graphite
from tests.servers.process import REPOSITORY, MissingProgramError
from tests.servers.rabbitmq import RabbitMQ
from tests.servers.redis import Redis
from tests.servers.statsd import StatsD
from tests.servers.worker import Cluster

# A busy machine is no failure: what is drawn may take its time.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

FLUSH_SECONDS = 2
"""Of StatsD and Bucky. Graphite keeps one value a second: two flushes never share one."""

Server = TypeVar("Server", bound=AbstractContextManager[Any])


def pytest_sessionstart() -> None:
    """End the session by SIGTERM as by Ctrl-C: with its fixtures, so that no server stays."""

    def leave(*_: object) -> None:
        pytest.exit("SIGTERM", returncode=143)

    signal.signal(signal.SIGTERM, leave)


@contextmanager
def running(make: Callable[[], Server]) -> Iterator[Server]:
    """What `make` makes, running; a skip, or with CI a failure, when it is not installed."""
    try:
        server = make()
    except MissingProgramError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))
    with server:
        yield server


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    """A Redis. Tests must not stop it; those that do make one of their own."""
    with running(lambda: Redis(tmp_path_factory.mktemp("redis"))) as server:
        yield server


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    """A RabbitMQ (5 s to start). Tests that kill it start it again."""
    with running(lambda: RabbitMQ(tmp_path_factory.mktemp("rabbitmq"))) as server:
        yield server


@pytest.fixture(scope="session")
def graphite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Graphite]:
    """A Graphite; tests tell their series from others' by a prefix or app of their own."""
    with running(lambda: Graphite(tmp_path_factory.mktemp("graphite"))) as server:
        yield server


@pytest.fixture(scope="session")
def statsd(tmp_path_factory: pytest.TempPathFactory, graphite: Graphite) -> Iterator[StatsD]:
    """A StatsD that flushes to `graphite` every FLUSH_SECONDS."""
    folder = tmp_path_factory.mktemp("statsd")
    with running(lambda: StatsD(folder, FLUSH_SECONDS, graphite.line_port)) as server:
        yield server


@pytest.fixture(scope="session")
def bucky(tmp_path_factory: pytest.TempPathFactory, graphite: Graphite) -> Iterator[Bucky]:
    """A Bucky that flushes to `graphite` every FLUSH_SECONDS."""
    folder = tmp_path_factory.mktemp("bucky")
    with running(lambda: Bucky(folder, graphite.pickle_port, FLUSH_SECONDS)) as server:
        yield server


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution beside it, both from what git would keep."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--outdir", folder, REPOSITORY]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stdout + done.stderr
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def clusters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Cluster]]:
    """Makes a cluster without workers on the broker of a URL; what runs at the end is killed."""
    with ExitStack() as stack:

        def make(broker: str) -> Cluster:
            folder: Path = tmp_path_factory.mktemp("cluster")
            return stack.enter_context(Cluster(folder, broker))

        yield make


@pytest.fixture(scope="session")
def systems_end(graphite: Graphite) -> int:
    """Write the made systems of tests/alerts/world.py; the epoch second of their last flush."""
    last = int(time.time()) // 60 * 60
    seeds = count(1)
    series = {}
    for name, fault in FAULTS.items():
        world = World(next(seeds))
        fault.bend(world)
        series |= points(world, app_of(name), last)
    old = World(next(seeds))
    FAULTS["failing"].bend(old)
    FAULTS["worker_down"].bend(old)
    series |= points(old, OLD_NAMES, last, "stats_counts")
    graphite.write(series, RETENTION)
    return last


@pytest.fixture(scope="session")
def world(graphite: Graphite) -> DashboardWorld:
    """Three days that ended a moment ago, in Graphite."""
    made = DashboardWorld(int(time.time()) // 600 * 600)
    made.write(graphite.whisper)
    return made


@pytest.fixture(scope="session")
def asked(graphite: Graphite) -> Asked:
    """The session's Graphite, as it is asked in the package."""
    return Asked(graphite.url)
