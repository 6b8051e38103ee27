"""The files in config/ for other programs, run by those programs where they could be had.

The servers are started first and sent to at once; while they take their ten seconds to flush, the
rest is tested.
"""

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from celery_statsd.config import load
from celery_statsd.dashboards.flavours import FLAVOURS, Layout
from tests.conftest import running
from tests.servers.agent import Agent
from tests.servers.graphite import Graphite
from tests.servers.process import (
    CACHE,
    REPOSITORY,
    Child,
    answers,
    free_port,
    program,
    wait_until,
)
from tests.servers.redis import Redis

pytestmark = pytest.mark.e2e

CONFIG = REPOSITORY / "config"
BEGUN = 3
"""Sent to each server as a counter, a gauge (+1) and a timer (+2)."""


class Servers(NamedTuple):
    """A Graphite with the shipped storage rules, and what flushes to it."""

    graphite: Graphite
    minute: int
    """The epoch second at which whole minutes of points were sent straight to carbon."""


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """All of them, with the configuration as it is shipped; told something, under their names."""
    folder = tmp_path_factory.mktemp("shipped")
    with ExitStack() as stack:
        make = lambda: Graphite(folder / "graphite", rules=CONFIG / "graphite")  # noqa: E731
        (folder / "graphite").mkdir()
        graphite = stack.enter_context(running(make))
        for name, start in (("statsd", statsd), ("bucky", bucky)):
            child, port = start(folder, graphite)
            stack.callback(child.kill)
            tell(port, name)
        minute = int(time.time()) // 60 * 60 - 300
        fill(graphite, minute)
        yield Servers(graphite, minute)


def statsd(folder: Path, graphite: Graphite) -> tuple[Child, int]:
    """StatsD as a user starts it."""
    port, management = free_port(), free_port()
    code = CACHE / "statsd" / "node_modules" / "statsd" / "stats.js"
    environment = {
        "STATSD_PORT": str(port),
        "STATSD_MANAGEMENT_PORT": str(management),
        "GRAPHITE_PORT": str(graphite.line_port),
    }
    command = [program("node"), code, CONFIG / "statsd" / "config.js"]
    return Child("statsd", command, folder, environment).start(lambda: answers(management)), port


def bucky(folder: Path, graphite: Graphite) -> tuple[Child, int]:
    """Bucky as a user starts it."""
    port, home = free_port(), folder / "bucky"
    home.mkdir()
    environment = {
        "STATSD_PORT": str(port),
        "GRAPHITE_PICKLE_PORT": str(graphite.pickle_port),
        "BUCKY_DIRECTORY": str(home),
    }
    command = [program(CACHE / "bucky" / "bin" / "bucky"), CONFIG / "bucky" / "bucky.conf"]
    wanted = f"0100007F:{port:04X}"
    child = Child("bucky", command, folder, environment)
    return child.start(lambda: wanted in Path("/proc/net/udp").read_text()), port


def tell(port: int, app: str) -> None:
    """What an agent of the name `app` would send."""
    head = f"celery.{app}"
    lines = (
        f"{head}.cluster.all.failed.all:{BEGUN}|c",
        f"{head}.queue.mails.length.all:{BEGUN + 1}|g",
        f"{head}.cluster.all.runtime.all:{BEGUN + 2}|ms",
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto("\n".join(lines).encode(), ("127.0.0.1", port))


ROLLED = {
    "stats.counters.celery.roll.task.a.failed.all.count": 6.0 * 2,
    "stats_counts.celery.roll.task.a.failed.all": 6.0 * 2,
    "stats.counters.celery.roll.task.a.failed.all.rate": 2.0,
    "stats.celery.roll.task.a.failed.all": 2.0,
    "stats.gauges.celery.roll.queue.a.length.all": 2.0,
    "stats.timers.celery.roll.task.a.wait.all.count": 6.0 * 2,
    "stats.timers.celery.roll.task.a.wait.all.sum": 6.0 * 2,
    "stats.timers.celery.roll.task.a.wait.all.mean": 2.0,
}
"""What a minute of six flushes of 2 each is, by the name; and of rising ones for those below."""

RISING = {
    "stats.gauges.celery.roll.queue.b.length.all": 5.0,
    "stats.timers.celery.roll.task.b.wait.all.upper": 5.0,
    "stats.timers.celery.roll.task.b.wait.all.upper_99_9": 5.0,
    "stats.timers.celery.roll.task.b.wait.all.lower": 0.0,
    "stats.timers.celery.roll.task.b.wait.all.lower_90": 0.0,
    "stats.timers.celery.roll.task.b.wait.all.mean_90": 2.5,
}

ONCE = "stats.counters.celery.roll.task.c.failed.all.count"
"""Written once in a minute."""


def fill(graphite: Graphite, minute: int) -> None:
    """Two whole minutes of flushes, by carbon's line protocol, on files that do not exist yet."""
    lines = [f"{ONCE} 1 {minute + 20}"]
    for n in range(12):
        lines += [f"{name} 2 {minute + 10 * n}" for name in ROLLED]
        lines += [f"{name} {n % 6} {minute + 10 * n}" for name in RISING]
    with socket.create_connection(("127.0.0.1", graphite.line_port), 5) as peer:
        peer.sendall("".join(f"{line}\n" for line in lines).encode())


def minutes(graphite: Graphite, name: str, at: int) -> list[float | None]:
    """The values of the archive of minutes from `at` on: what is older than six hours is asked for
    together, so that Graphite takes that one."""
    found = graphite.get("render", target=name, format="json", **{"from": "-7h"})
    points = {when: value for series in found for value, when in series["datapoints"]}
    return [points.get(at + 60 * n) for n in (0, 1)]


@pytest.mark.parametrize("name", [*ROLLED, *RISING])
def test_a_rollup_is_what_it_should_be(name: str, servers: Servers) -> None:
    """On files carbon made by the shipped rules: of a count the sum, of a gauge the last value, of
    the largest the largest."""
    expected = [{**ROLLED, **RISING}[name]] * 2
    with suppress(TimeoutError):  # carbon may write the points of one file in several goes
        wait_until(lambda: minutes(servers.graphite, name, servers.minute) == expected, 20, "all")
    assert expected == minutes(servers.graphite, name, servers.minute)


def test_what_was_counted_once_in_a_minute_is_not_forgotten(servers: Servers) -> None:
    """xFilesFactor 0."""
    wait_until(lambda: minutes(servers.graphite, ONCE, servers.minute)[0], 20, "it is written")
    assert [1.0, None] == minutes(servers.graphite, ONCE, servers.minute)


def test_the_first_retention_is_the_flush_interval(servers: Servers) -> None:
    """Of the agent, of StatsD and of Bucky; for each flavour's names of each kind."""
    assert 10.0 == load({}, {}, None, lambda _: {}, "/none").flush_interval
    assert "flushInterval: 10000," in (CONFIG / "statsd" / "config.js").read_text()
    assert "statsd_flush_time = 10.0\n" in (CONFIG / "bucky" / "bucky.conf").read_text()
    found = servers.graphite.get(
        "render", target=next(iter(ROLLED)), format="json", **{"from": "-1h"}
    )
    times = [at for _, at in found[0]["datapoints"]]
    assert {10} == {after - before for before, after in pairwise(times)}
    schema = (CONFIG / "graphite" / "storage-schemas.conf").read_text()
    pattern = re.search("^pattern = (.*)$", schema, re.MULTILINE)
    assert pattern
    for flavour in FLAVOURS.values():
        layout = Layout(flavour, app="shop")
        for name in (layout.counter("task", "a", "sent"), layout.gauge("queue", "a", "length"),
                     layout.timer("task", "a", "wait", "sum")):  # fmt: skip
            assert re.search(pattern[1], name)


PLUGIN = CONFIG / "munin" / "celery_tasks"
PLUGINS = ("celery_tasks", "celery_task_states")


def munin(folder: Path, name: str, command: str, **environment: str) -> tuple[int, list[str], str]:
    """A plugin as munin-node runs it: linked by its name, its settings in the environment."""
    link = folder / name
    if not link.exists():
        link.symlink_to(PLUGIN)
    done = subprocess.run(
        [sys.executable, "-I", link, *filter(None, [command])],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout.splitlines(), done.stderr


def test_munin_reads_graphite(servers: Servers, tmp_path: Path) -> None:
    """What was counted in the last five minutes, by name and by state."""
    now = int(time.time())
    counts = {"task.shop-tasks-send--x.started": 7, "cluster.all.failed": 3, "cluster.all.lost": 0}
    lines = [
        f"stats.counters.celery.munin.{name}.all.count {n} {now - 60}\n"
        for name, n in counts.items()
    ]
    with socket.create_connection(("127.0.0.1", servers.graphite.line_port), 5) as peer:
        peer.sendall("".join(lines).encode())
    where = {"graphite": servers.graphite.url, "app": "munin"}
    found = {"failed.value 3", "lost.value 0", "received.value U"}
    wait_until(lambda: found <= set(munin(tmp_path, PLUGINS[1], "", **where)[1]), 20, "the states")
    wait_until(
        lambda: munin(tmp_path, PLUGINS[0], "autoconf", **where)[1] == ["yes"], 20, "the names"
    )
    field = "task_shop_tasks_send__x"
    assert (0, [f"{field}.value 7"], "") == munin(tmp_path, PLUGINS[0], "", **where)
    code, told, _ = munin(tmp_path, PLUGINS[0], "config", **where)
    assert (0, True) == (code, f"{field}.label shop.tasks.send-x" in told)
    assert f"{field}.type ABSOLUTE" in told


def test_munin_reads_the_agent(redis_server: Redis, tmp_path: Path) -> None:
    """The states of its balance, counted on since its start."""
    port = free_port()
    agent = Agent(tmp_path, redis_server.fresh_url(), ["console://"], "munin",
                  "--http", f"127.0.0.1:{port}")  # fmt: skip
    with agent:
        where = {"agent": f"http://127.0.0.1:{port}"}
        assert (0, ["yes"], "") == munin(tmp_path, PLUGINS[1], "autoconf", **where)
        code, told, _ = munin(tmp_path, PLUGINS[1], "config", **where)
        fields = {line.partition(".")[0] for line in told if line.endswith(".type DERIVE")}
        assert (0, 9) == (code, len(fields))
        code, told, _ = munin(tmp_path, PLUGINS[1], "", **where)
        assert (0, {f"{field}.value 0" for field in fields}) == (code, set(told))


@pytest.mark.parametrize("name", PLUGINS)
def test_munin_is_told_when_nobody_answers(name: str, tmp_path: Path) -> None:
    """autoconf says no and why; fetch fails with a sentence, and prints no number."""
    nobody = f"http://127.0.0.1:{free_port()}"
    where = {"agent": nobody, "graphite": nobody}
    code, told, _ = munin(tmp_path, name, "autoconf", **where)
    assert (0, "no (") == (code, told[0][:4])
    code, told, problem = munin(tmp_path, name, "", **where)
    assert (1, []) == (code, told)
    assert problem.startswith(f"{name}: nobody tells (")


def test_the_plugin_is_there_under_both_names() -> None:
    """The second is a link to the first."""
    assert (CONFIG / "munin" / "celery_task_states").read_text() == PLUGIN.read_text()
    assert os.access(PLUGIN, os.X_OK)


def test_new_relic_polls_what_is_served() -> None:
    """Not run: the shape nri-flex wants, and the list that `alerts serve` has."""
    found: dict[str, Any] = yaml.safe_load(
        (CONFIG / "newrelic" / "celery-statsd-flex.yml").read_text()
    )
    (integration,) = found["integrations"]
    (api,) = integration["config"]["apis"]
    assert ("nri-flex", ["rules"]) == (integration["name"], api["start_key"])
    assert "http://127.0.0.1:9809/alerts" in api["commands"][0]["run"]


def test_google_cloud_asks_for_the_page() -> None:
    """Not run: JSON, and what refers to what."""
    check = json.loads((CONFIG / "google-cloud" / "uptime-check.json").read_text())
    policy = json.loads((CONFIG / "google-cloud" / "alert-policy.json").read_text())
    assert "/alerts" == check["httpCheck"]["path"]
    assert "uptime_check/check_passed" in policy["conditions"][0]["conditionThreshold"]["filter"]


@pytest.mark.parametrize("name", ["statsd", "bucky"])
def test_a_flush_arrives_under_the_names_of_the_flavour(name: str, servers: Servers) -> None:
    """As it is shipped, started as its users start it."""
    layout = Layout(FLAVOURS[name], app=name)
    expected = {
        layout.counter("cluster", "all", "failed", "all"): BEGUN,
        layout.gauge("queue", "mails", "length", "all"): BEGUN + 1,
        layout.percentile("cluster", "all", "runtime", "90", "all"): BEGUN + 2,
    }
    wait_until(lambda: servers.graphite.total(next(iter(expected))), 40, "a flush", poll=0.3)
    found = {path: servers.graphite.render(path)[path][0][0] for path in expected}
    assert expected == found


def test_statsd_listens_on_the_loopback() -> None:
    """Who copies the file opens no port to the world."""
    text = (CONFIG / "statsd" / "config.js").read_text()
    assert 3 == text.count('"127.0.0.1"')
