"""Made faults of a real system, as the overview and the alerts show them: the right tiles turn red
in two flushes and what each of them needs by its definition, no other does, and all are green when
the fault is over.

Each fault says how many seconds it is until an agent can know of it at all; to that come one second
in which Celery holds back events, and the two flushes.
"""

import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence

import pytest
from celery import Celery

from tests.conftest import running
from tests.dashboards.stage import (
    ANY,
    FLUSH,
    FORK,
    INSPECT,
    LOST_AFTER,
    MAIL,
    PATIENCE,
    PROBE,
    SILENCE,
    SPAN,
    Look,
    Stage,
)
from tests.servers.process import wait_until
from tests.servers.rabbitmq import RabbitMQ
from tests.servers.redis import Redis
from tests.servers.worker import Worker

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

BATCH = 1.0
"""Seconds for which a worker may hold back its events."""

SILENT = 6 * FLUSH
"""Seconds after which an agent that does not tick is silent: six points."""

LATE = 2 * FLUSH + 2.0
"""Seconds: the two flushes, the agent's and StatsD's; and what a busy machine takes, which at
flushes of 2 s is not little, and the same at those of 10 s that we ship."""

BROKERS = ("rabbitmq", "redis") if "CALM_SECONDS" in os.environ else ("rabbitmq",)
"""Both with `make calm`; with all the tests the one that tells more."""


@pytest.fixture(scope="module", params=BROKERS)
def stage(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    """One for all faults: each ends with nothing red."""
    kind = {"redis": "redis_server", "rabbitmq": "rabbitmq"}[request.param]
    server: Redis | RabbitMQ = request.getfixturevalue(kind)
    folder = tmp_path_factory.mktemp("stage")
    with running(lambda: Stage(folder, server.fresh_url())) as made:
        yield made


class Outage:
    """A fault from now on: `needs` are the tiles that are to turn red, and after how many seconds
    at the earliest an agent can tell."""

    def __init__(self, stage: Stage, needs: Mapping[str, float]) -> None:
        self._stage = stage
        self._needs = needs
        assert set() == stage.look().red
        self.began = time.time()

    def shows(self) -> Look:
        """Wait until all of them are red; the look at that. None is late, nothing else is red."""
        everything = frozenset(self._needs)
        looks = self._stage.looks(
            lambda look: look.red == everything, PATIENCE, f"{sorted(everything)} are red"
        )
        for title, need in self._needs.items():
            latest = self.began + need + LATE
            assert [] == [look.at for look in looks if look.at > latest and title not in look.red]
            first = next(look.at for look in looks if title in look.red)
            print(f"{title}: red {first - self.began:.1f} s after the fault")
        self._only_these(looks)
        return looks[-1]

    def heals(self, seconds: float) -> None:
        """Wait until none is red any more, for so many seconds and two flushes after the cure."""
        cured = time.time()
        looks = self._stage.looks(lambda look: not look.red, PATIENCE, "nothing is red")
        self._only_these(looks)
        assert [] == [look.at for look in looks[:-1] if look.at > cured + seconds + LATE]
        print(f"green {looks[-1].at - cured:.1f} s after the cure")
        after = self._stage.looks(lambda look: look.at > looks[-1].at + LATE, PATIENCE, "some more")
        assert [] == [sorted(look.red) for look in after if look.red]

    def _only_these(self, looks: Sequence[Look]) -> None:
        for look in looks:
            others = {title: look.numbers[title] for title in look.red - set(self._needs)}
            assert {} == others, look


def test_a_worker_that_is_killed_in_the_middle_of_a_task(stage: Stage) -> None:
    """It is down after two heartbeats, and what it held is lost a while later; when it is there
    again, what was lost stays for as long as the dashboard looks back."""
    worker = busy(stage)
    outage = Outage(
        stage,
        {"Workers down": SILENCE + BATCH, "Lost": SILENCE + LOST_AFTER + BATCH},
    )
    worker.kill()
    try:
        look = outage.shows()
        assert 1 == look.numbers["Workers down"]
        assert 1 <= (look.numbers["Lost"] or 0) in lost(stage, worker, outage.began)
        assert {"lost", "worker-down"} == stage.firing()
    finally:
        stage.cluster.worker(worker.name, "prefork", (ANY, FORK), 2)
    outage.heals(SPAN)


def test_tasks_that_fail(stage: Stage) -> None:
    """At once; green when they are out of the range."""
    outage = Outage(stage, {"Failed": BATCH})
    stage.cluster.publish("[tasks.fail.delay('ValueError') for _ in range(3)]")
    assert 3 == outage.shows().numbers["Failed"]
    assert "failures" in stage.firing()
    outage.heals(SPAN)


def test_a_queue_that_nobody_takes_any_more(stage: Stage) -> None:
    """As soon as the agent has looked at the queue and asked the workers; until somebody does."""
    (worker,) = (one for one in stage.cluster.workers if one.name == "mail")
    outage = Outage(stage, {"Unconsumed": PROBE + INSPECT})
    consumers = {"destination": [worker.nodename], "reply": True, "timeout": 10}
    with Celery(broker=stage.cluster.broker) as app:
        assert app.control.cancel_consumer(MAIL, **consumers)
        try:
            assert (outage.shows().numbers["Unconsumed"] or 0) > 0
            assert "unconsumed" in stage.firing()
        finally:
            assert app.control.add_consumer(MAIL, **consumers)
    outage.heals(PROBE + INSPECT)


@pytest.mark.parametrize("how", ["stopped", "suspended"])
def test_an_agent_that_is(how: str, stage: Stage) -> None:
    """After six points without a tick; what it said last of all else is no news. It is back as soon
    as it ticks."""
    outage = Outage(stage, {"Agents silent": SILENT})
    if how == "stopped":
        stage.agent.stop()
    else:
        os.kill(stage.agent.pid, signal.SIGSTOP)
    try:
        assert 1 == outage.shows().numbers["Agents silent"]
        assert "agent" in stage.firing()
    finally:
        if how == "stopped":
            stage.agent.listen()
        else:
            os.kill(stage.agent.pid, signal.SIGCONT)
    outage.heals(FLUSH)


def busy(stage: Stage) -> Worker:
    """One of the workers that share queues, in the middle of a long task."""
    stage.cluster.publish(f"tasks.encode.apply_async((600,), queue={FORK!r})")

    def begun() -> list[str]:
        rows = (row for row in stage.cluster.rows() if row["what"] == "entered")
        return [row["worker"] for row in rows if row["task"] == "media.encode"]

    wait_until(begun, PATIENCE, "it has begun")
    (worker,) = (one for one in stage.cluster.workers if one.nodename == begun()[-1])
    return worker


def lost(stage: Stage, worker: Worker, killed: float) -> range:
    """Of what the worker took that was killed then, how much has no end and was taken by no other.
    What it did at last it may not have told any more, neither what it took nor what it ended."""
    rows = stage.cluster.rows()
    untold = killed - BATCH
    mine, told, others = set(), set(), set()
    for row in rows:
        if row["what"] == "received" and row["pid"] == worker.pid:
            mine.add(row["id"])
            told |= {row["id"]} if row["time"] < untold else set()
        elif row["what"] == "received":
            others.add(row["id"])
    ends = [row for row in rows if row["what"] in ("success", "raised")]
    ended = {row["id"] for row in ends}
    ended_and_told = {row["id"] for row in ends if row["time"] < untold}
    return range(len(told - ended - others), len(mine - ended_and_told - others) + 1)
