"""The promise, kept from end to end: what real workers did is what Graphite says, to the unit.

One mixed workload a broker, watched by five agents, each of which sends another way, under an
app's name of its own. All ways end in one real Graphite, where every counter of every task,
queue, exception and worker must have the workload's own count as its sum.
"""

import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from celery import Celery

from celery_statsd.dashboards import DASHBOARDS, overview, task
from celery_statsd.dashboards.evaluation import evaluate
from celery_statsd.dashboards.grafana import Taste
from celery_statsd.graphite import Graphite as Asked
from celery_statsd.graphite import Span
from tests.conftest import FLUSH_SECONDS
from tests.dashboards.tiles import tiles
from tests.servers.agent import Agent
from tests.servers.bucky import Bucky
from tests.servers.graphite import Graphite
from tests.servers.listener import Listener
from tests.servers.process import wait_until
from tests.servers.redis import Redis
from tests.servers.statsd import StatsD
from tests.servers.truth import Truth
from tests.servers.worker import Cluster

pytestmark = pytest.mark.e2e

Counts = dict[tuple[str, str, str], float]
"""By family, entity and metric; what is 0 is left out."""

BROKERS = ("rabbitmq", "redis_server")
SINKS = ("statsd_udp", "statsd_tcp", "bucky", "carbon_line", "carbon_pickle")

FAMILIES = "{cluster,task,queue,exception,worker}"

ROUNDS = 3

TILES = {
    "Lost": "lost", "Failed": "failed", "Received": "received", "Succeeded": "succeeded",
    "Retried": "retried",
}  # fmt: skip
"""Tiles that show how often something happened, and what."""

ZEROS = ("Received - ended", "Workers down")
"""Tiles that are 0 once all is done."""

LATELY = 600
"""Seconds that cover all of the test."""

SETTLED = 15.0
"""Seconds: several flushes of a StatsD, and time for Carbon."""


@pytest.fixture(scope="module")
def addresses(statsd: StatsD, bucky: Bucky, graphite: Graphite) -> dict[str, str]:
    """Where each way begins."""
    return {
        "statsd_udp": f"statsd://127.0.0.1:{statsd.port}",
        "statsd_tcp": f"statsd+tcp://127.0.0.1:{statsd.port}",
        "bucky": f"statsd://127.0.0.1:{bucky.port}?share_lines=yes",
        "carbon_line": f"graphite://127.0.0.1:{graphite.line_port}",
        "carbon_pickle": f"graphite+pickle://127.0.0.1:{graphite.pickle_port}",
    }


@dataclass(frozen=True)
class Run:
    """One workload, over and watched: what was true, how each agent ended, what it logged."""

    broker: str
    truth: Truth
    exits: dict[str, int]
    logs: dict[str, str]
    over: float
    """When the last agent was gone, in epoch seconds."""

    def app(self, sink: str) -> str:
        """The app's name the agent with `sink` used."""
        return f"{self.broker}_{sink}"


@pytest.fixture(scope="module", params=BROKERS)
def run(
    request: pytest.FixtureRequest,
    addresses: dict[str, str],
    clusters: Callable[[str], Cluster],
    tmp_path_factory: pytest.TempPathFactory,
) -> Run:
    """The workload, run; the agents are told to stop as soon as the workers have.

    Before that, the workers' heartbeats say that nothing runs any more: this is how an agent
    comes to know of the attempts whose end nobody tells.
    """
    broker = request.getfixturevalue(request.param).fresh_url()
    folder = tmp_path_factory.mktemp("agents")
    cluster = clusters(broker)
    with ExitStack() as stack:
        agents = {
            sink: stack.enter_context(Agent(folder, broker, [address], f"{request.param}_{sink}"))
            for sink, address in addresses.items()
        }
        cluster.worker("fork.1", "prefork", ("q.any", "q.fork"))
        cluster.worker("thread-1", "threads", ("q.any",))
        cluster.mix(ROUNDS)
        listener = stack.enter_context(Listener(broker))
        wait_until(lambda: idle(listener) == 2, 20, "both workers say twice that they are idle")
        cluster.stop()
        for agent in agents.values():
            agent.terminate()
        exits = {sink: agent.stop() for sink, agent in agents.items()}
        logs = {sink: agent.output() for sink, agent in agents.items()}
    return Run(request.param, cluster.truth(), exits, logs, time.time())


@pytest.mark.parametrize("sink", SINKS)
def test_every_count_in_graphite_is_the_truth(run: Run, sink: str, graphite: Graphite) -> None:
    """Totals, tasks, exceptions, queues, workers: each counter's sum is what really happened."""
    expected = counts(run.truth)
    with suppress(TimeoutError):
        wait_until(
            lambda: told(graphite, run.app(sink)) == expected, SETTLED, f"all by {sink}", poll=0.3
        )
    assert differences(expected, told(graphite, run.app(sink))) == "", run.logs[sink]


@pytest.mark.parametrize("sink", SINKS)
def test_the_tiles_of_the_dashboards_are_the_truth(run: Run, sink: str, graphite: Graphite) -> None:
    """What Grafana would show over the last minutes, from the events of real workers to the number
    on its colour; all that came in has ended."""
    stages = {**run.truth.stages, "unreported": run.truth.unended}
    true = {tile: stages.get(stage, Counter()).total() for tile, stage in TILES.items()}
    asked, until, app = Asked(graphite.url), int(time.time()), run.app(sink)
    shown = {
        **tiles(task.DASHBOARD, asked, until, LATELY, app, list(TILES)),
        **tiles(overview.DASHBOARD, asked, until, LATELY, app, [*ZEROS, "Failed", "Lost"]),
    }

    assert true == {tile: shown[tile].number for tile in TILES}
    assert {(0, "green")} == {(shown[tile].number, shown[tile].colour) for tile in ZEROS}


def test_every_panel_can_be_asked(run: Run, graphite: Graphite) -> None:
    """Of all five dashboards: what is empty is empty for a reason that the panel tells."""
    until = int(time.time())
    span = Span(until - LATELY, until, 100)
    bad = [
        (found.panel.title, found.why)
        for dashboard in DASHBOARDS
        for found in evaluate(dashboard, Taste(), Asked(graphite.url), span, run.app("statsd_udp"))
        if found.is_bad
    ]
    assert [] == bad


@pytest.mark.parametrize("sink", SINKS)
def test_sigterm_ends_the_agent_well(run: Run, sink: str) -> None:
    """Exit code 0, and a log without a warning, an error or a traceback."""
    lines = run.logs[sink].splitlines()
    assert run.exits[sink] == 0, run.logs[sink]
    assert [line for line in lines if not line.startswith(("info ", "debug "))] == []


@pytest.mark.parametrize("sink", ["statsd_udp", "statsd_tcp", "bucky"])
def test_nothing_is_told_after_the_agent_has_gone(run: Run, sink: str, graphite: Graphite) -> None:
    """After more flushes of the StatsD the sums are still the truth, not more."""
    path = f"stats.counters.celery.{run.app(sink)}.cluster.all.sent.all.count"
    end = run.over + 2 * FLUSH_SECONDS
    wait_until(lambda: last(graphite, path) >= end, 15, "two more flushes", poll=0.3)
    assert differences(counts(run.truth), told(graphite, run.app(sink))) == ""


@pytest.mark.parametrize("sink", SINKS)
def test_what_came_after_the_last_flush_is_told_by_sigterm(
    redis_server: Redis,
    addresses: dict[str, str],
    graphite: Graphite,
    sink: str,
    tmp_path: Path,
) -> None:
    """The farewell adds to the flush of the same second; Graphite keeps one value for each."""
    broker, app = redis_server.fresh_url(), f"farewell_{sink}"
    client = Celery(broker=broker, set_as_current=False)
    client.conf.task_send_sent_event = True
    path = f"stats.counters.celery.{app}.cluster.all.sent.all.count"
    with Agent(tmp_path, broker, [addresses[sink]], app) as agent:
        for begin, end in ((0.4, 0.8), (0.1, 0.3)):
            wait_until(lambda at=begin, to=end: at < time.time() % 1 < to, 3, "the time has come")
            for _ in range(10):
                client.send_task("never.run", queue="nobody")
        agent.stop()
    client.close()
    with suppress(TimeoutError):
        wait_until(lambda: graphite.total(path) == 20, 5, f"all by {sink}", poll=0.1)
    assert graphite.total(path) == 20, (graphite.render(path), agent.output())


def idle(listener: Listener) -> int:
    """How many workers have said at least twice that they run nothing."""
    beats = Counter(event["hostname"] for event in listener.events if event.get("active") == 0)
    return sum(n >= 2 for n in beats.values())


def counts(truth: Truth) -> Counts:
    """What an agent has to say about `truth`, in the nodes of its names."""
    found: Counts = {}
    for stage, tasks in {**truth.stages, "unreported": truth.unended}.items():
        found["cluster", "all", stage] = tasks.total()
        found |= {("task", node(task), stage): n for task, n in tasks.items()}
    found |= {("exception", error, "failed"): n for error, n in truth.errors.items()}
    found |= {("queue", node(queue), "sent"): n for queue, n in truth.queues.items()}
    found |= {("worker", node(worker), "started"): n for worker, n in truth.entered.items()}
    return {key: n for key, n in found.items() if n}


def told(graphite: Graphite, app: str) -> Counts:
    """What Graphite has of an app's counters; of workers only what the truth knows as well."""
    totals = graphite.totals(f"stats.counters.celery.{app}.{FAMILIES}.*.*.all.count")
    found = {tuple(path.split(".")[4:7]): total for path, total in totals.items() if total}
    return {
        (family, entity, metric): total
        for (family, entity, metric), total in found.items()
        if family != "worker" or metric == "started"
    }


def differences(expected: Counts, seen: Counts) -> str:
    """A line for each count that is not as it should be."""
    return "\n".join(
        f"{'.'.join(key)}: {expected.get(key, 0)} true, {seen.get(key, 0):g} seen"
        for key in sorted(expected.keys() | seen.keys())
        if expected.get(key, 0) != seen.get(key, 0)
    )


def node(name: str) -> str:
    """A name as one node of a path, spelt by the README's table, not by the code under test."""
    safe = name.replace("-", "--").replace(".", "-").replace("@", "_at_")
    return "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in safe)


def last(graphite: Graphite, path: str) -> int:
    """The time of a series' newest point, in epoch seconds."""
    return max((at for points in graphite.render(path).values() for _, at in points), default=0)
