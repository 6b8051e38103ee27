"""The agent, a camera and the in-process mode watch one workload: three times the same numbers."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from celery import Celery

from tests.servers.agent import Agent
from tests.servers.process import wait_until
from tests.servers.redis import Redis
from tests.servers.truth import Truth
from tests.servers.worker import MODULE, Cluster
from tests.sums import Receiver

WAYS = ("outside", "film", "inside")
"""The names under which each way of watching tells what it has seen."""

POOLS = {"prefork": ("q.any", "q.fork"), "threads": ("q.any",), "gevent": ("q.any",)}


class Watched(NamedTuple):
    """What happened, and what was told of it."""

    truth: Truth
    told: Receiver
    workers: dict[str, str]


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


@pytest.fixture(scope="module")
def watched(
    redis_server: Redis,
    clusters: Callable[[str], Cluster],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Watched]:
    """The mixed workload on a worker of each pool, over; all processes have ended."""
    folder = tmp_path_factory.mktemp("ways")
    url = redis_server.fresh_url()
    with Receiver() as told, ExitStack() as stack:
        cluster = clusters(url)
        cluster.instrument(told.address, "inside", 0.25)
        film = stack.enter_context(filming(cluster, folder, told))
        agent = stack.enter_context(Agent(folder, url, [told.address], "outside"))
        with ThreadPoolExecutor() as hands:
            names = hands.map(lambda pool: cluster.worker(f"{pool}.1", pool, POOLS[pool]), POOLS)
            workers = {pool: worker.nodename for pool, worker in zip(POOLS, names, strict=True)}
        cluster.mix()
        cluster.stop()
        for way in ("outside", "film"):
            wait_until(lambda way=way: told.total(way, "worker", "offline") == 3, 20, way)
        film.terminate()
        assert (0, 0) == (film.wait(15), agent.stop())
        yield Watched(cluster.truth(), told, workers)


@pytest.mark.parametrize("way", WAYS)
def test_each_way_tells_the_truth(watched: Watched, way: str) -> None:
    """Each stage of each task, each class of exception, each queue, to the unit."""
    truth, told = watched.truth, watched.told

    assert truth.over
    for stage, expected in truth.stages.items():
        assert expected == told.counts(way, "task", stage), stage
        assert expected.total() == told.total(way, "cluster", stage), stage
    assert truth.errors == told.counts(way, "exception", "failed")
    assert truth.queues == told.counts(way, "queue", "sent")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("pool", POOLS)
def test_each_pool_is_told(watched: Watched, way: str, pool: str) -> None:
    """What each worker started is what was entered there."""
    nodename = watched.workers[pool]
    node = nodename.replace("-", "--").replace(".", "-").replace("@", "_at_")

    assert watched.truth.entered[nodename] > 0
    assert watched.truth.entered[nodename] == watched.told.counts(way, "worker", "started")[node]


def test_what_no_event_tells_is_known_inside(watched: Watched) -> None:
    """Tasks that raised Ignore have ended, and it is told at once."""
    assert watched.truth.unended == watched.told.counts("inside", "task", "unreported")


def test_the_balance_inside_is_even(watched: Watched) -> None:
    """All that came in has ended in one way."""
    total = lambda metric: watched.told.total("inside", "cluster", metric)  # noqa: E731
    ends = ("succeeded", "failed", "retried", "revoked", "rejected", "unreported")

    assert total("received") + total("on_arrival") == sum(map(total, ends))


def test_times_inside_are_those_of_the_agent(watched: Watched) -> None:
    """As many, but for ends from outside, whose runtime nobody inside knows; and of the same size:
    between them lie the milliseconds of the pools."""
    told, truth = watched.told, watched.truth
    for metric in ("wait", "prefetch", "lateness"):
        inside, agents = (
            sorted(told.values(way, "cluster", metric)) for way in ("inside", "outside")
        )
        assert len(agents) == len(inside), metric
        assert all(abs(a - b) < 1000 for a, b in zip(agents, inside, strict=True)), metric
    killed = truth.errors["TimeLimitExceeded"]
    runtimes = {way: len(told.values(way, "cluster", "runtime")) for way in ("inside", "outside")}
    assert runtimes["outside"] - killed == runtimes["inside"]


def test_no_time_is_shifted_by_a_time_zone(watched: Watched) -> None:
    """Celery's receiver shifts times by the hours between the worker's zone and the camera's."""
    for family, metric in (("cluster", "wait"), ("agent", "event_lag")):
        assert max(watched.told.values("film", family, metric)) < 60_000


INTERVAL = 0.5
"""Seconds between two flushes of the worker that is killed."""

SLACK = 1.0
"""Seconds a busy machine may take to send a flush that is due."""


def test_of_a_killed_worker_one_flush_is_missing_at_most(
    redis_server: Redis, clusters: Callable[[str], Cluster]
) -> None:
    """All that was entered one interval before SIGKILL has been told, nothing twice, though tasks
    were running."""
    url = redis_server.fresh_url()
    with Receiver() as told, Celery(broker=url, set_as_current=False) as app:
        cluster = clusters(url)
        cluster.instrument(told.address, "inside", INTERVAL)
        worker = cluster.worker("fork.1", "prefork", ("q.any",), concurrency=2)
        for _ in range(1000):
            app.send_task("shop.orders.create", (0.02,), queue="q.any", ignore_result=True)
        wait_until(lambda: told.total("inside", "task", "succeeded") > 50, 20, "it tells")
        killed = time.time()
        worker.kill()
        rows = cluster.rows()
        entered = [row["time"] for row in rows if row["what"] == "entered"]
        left = [row["time"] for row in rows if row["what"] == "success"]
        started, succeeded = (
            told.total("inside", "task", metric) for metric in ("started", "succeeded")
        )

    assert len(entered) < 1000
    assert sum(at < killed - INTERVAL - SLACK for at in entered) <= started <= len(entered)
    assert sum(at < killed - INTERVAL - SLACK for at in left) <= succeeded <= len(left)
    assert len(entered) - started <= 2 * (INTERVAL + SLACK) / 0.02
