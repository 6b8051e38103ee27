"""The agent, a camera and the in-process mode watch one workload: three times the same numbers."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import NamedTuple

import pytest

from tests.servers.agent import Agent
from tests.servers.process import wait_until
from tests.servers.redis import Redis
from tests.servers.truth import Truth
from tests.servers.worker import Cluster
from tests.sums import Receiver
from tests.test_camera import filming

WAYS = ("outside", "film", "inside")
"""The names under which each way of watching tells what it has seen."""

POOLS = {"prefork": ("q.any", "q.fork"), "threads": ("q.any",), "gevent": ("q.any",)}


class Watched(NamedTuple):
    """What happened, and what was told of it."""

    truth: Truth
    told: Receiver
    workers: dict[str, str]


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
        cluster.instrument(told.address, "inside")
        film = stack.enter_context(filming(cluster, folder, told))
        agent = stack.enter_context(Agent(folder, url, [told.address], "outside"))
        workers = {
            pool: cluster.worker(f"{pool}.1", pool, queues).nodename
            for pool, queues in POOLS.items()
        }
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
