"""The servers start, answer and leave nothing behind; the workload's truth is the truth."""

import pickle
import re
import signal
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers import process
from tests.servers.bucky import Bucky
from tests.servers.graphite import Graphite
from tests.servers.listener import Listener
from tests.servers.process import Child, StartError, answers, free_port, group, wait_until
from tests.servers.rabbitmq import RabbitMQ
from tests.servers.redis import Redis
from tests.servers.statsd import StatsD
from tests.servers.truth import STAGES, Recorder, Truth
from tests.servers.worker import Cluster

pytestmark = pytest.mark.e2e

FORKING = "import os, time; os.fork(); os.fork(); time.sleep(60)"


def udp(port: int, text: str) -> None:
    """Send one datagram."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(text.encode(), ("127.0.0.1", port))


def tcp(port: int, data: bytes) -> None:
    """Send one stream."""
    with socket.create_connection(("127.0.0.1", port), 5) as sender:
        sender.sendall(data)


def test_stopped_child_takes_what_it_forked_with_it(tmp_path: Path) -> None:
    """After stop no process of the group is left, nor does the list of the running hold it."""
    child = Child("forking", [sys.executable, "-c", FORKING], tmp_path)
    child.start(lambda: len(group(child.pid)) == 4)
    assert child.stop() == -signal.SIGTERM
    assert group(child.pid) == []
    assert child not in process._running


def test_child_that_dies_at_the_start_says_why(tmp_path: Path) -> None:
    """StartError carries the output of a child that ended instead of answering."""
    child = Child("failing", [sys.executable, "-c", "raise SystemExit('no such luck')"], tmp_path)
    with pytest.raises(StartError, match="ended with 1\nno such luck"):
        child.start(lambda: False)


def test_child_that_stays_deaf_is_killed_at_its_deadline(tmp_path: Path) -> None:
    """StartError after the deadline, and nothing of the child left."""
    child = Child("deaf", [sys.executable, "-c", FORKING], tmp_path)
    with pytest.raises(StartError, match=r"not within 0\.3 s: deaf is ready"):
        child.start(lambda: False, 0.3)
    assert group(child.pid) == []


def test_ports_are_given_once() -> None:
    """A hundred ports are a hundred different ones, and none of a well-known server."""
    ports = {free_port() for _ in range(100)}
    assert len(ports) == 100
    assert not ports & {5672, 15672, 6379, 8125, 8126, 2003, 2004, 8080}


def test_redis_comes_back_on_its_port_after_a_crash(tmp_path: Path) -> None:
    """Killed it is gone, started again it answers at the same URL; databases are never shared."""
    with Redis(tmp_path) as server:
        server.kill()
        assert not answers(server.port)
        server.start()
        assert answers(server.port)
        urls = {server.url, server.fresh_url(), server.fresh_url()}
    assert len(urls) == 3
    assert not answers(server.port)


def test_rabbitmq_keeps_what_is_durable_over_a_crash(tmp_path: Path) -> None:
    """Killed and started again on its folder, it still has the vhost; left, nothing listens."""
    with RabbitMQ(tmp_path) as server:
        vhost = server.fresh_url().rpartition("/")[2]
        server.kill()
        assert not answers(server.port)
        server.start()
        assert vhost in [one["name"] for one in server.management("vhosts")]
        assert vhost in server.ctl("list_vhosts").split()
        pids = [server._node.pid, server._epmd.pid]
    assert [group(pid) for pid in pids] == [[], []]
    assert [answers(port) for port in (server.port, server.management_port)] == [False, False]


def test_statsd_tells_what_it_took(tmp_path: Path) -> None:
    """Counters add up over UDP and TCP, timers keep their values, gauges the last one."""
    with StatsD(tmp_path, flush_seconds=600) as server:
        udp(server.port, "a.b:2|c\nplain:1|c\na.t:1.5|ms\na.t:20|ms\ng:-0|g")
        tcp(server.port, b"a.b:5|c\na.g:7.25|g\n")
        wait_until(lambda: server.counters().get("a.b") == 7, 5, "both packets are counted")
        assert server.counters()["plain"] == 1
        assert server.timers() == {"a.t": [1.5, 20]}
        wait_until(lambda: server.gauges().get("a.g") == 7.25, 5, "the gauge is set")
    assert not answers(server.port)


def test_statsd_refuses_to_tell_half_a_timer(tmp_path: Path) -> None:
    """Node prints a hundred values and then a number: an error, not a short list."""
    with StatsD(tmp_path, flush_seconds=600) as server:
        udp(server.port, "\n".join(["t:1|ms"] * 101))
        with pytest.raises(ValueError, match="only the first"):
            wait_until(lambda: len(server.timers().get("t", ())) > 100, 5, "101 values")


def test_graphite_renders_what_carbon_took(graphite: Graphite) -> None:
    """Points sent by line and by pickle come back, with their times, and are summed up."""
    now = int(time.time())
    body = pickle.dumps([("smoke.pickle", (now - 1, 4.5))], protocol=2)
    tcp(graphite.line_port, f"smoke.line 1 {now - 2}\nsmoke.line 2 {now - 1}\n".encode())
    tcp(graphite.pickle_port, struct.pack("!L", len(body)) + body)
    wait_until(lambda: graphite.total("smoke.*") == 7.5, 10, "all three points are there")
    assert graphite.render("smoke.line") == {"smoke.line": [(1, now - 2), (2, now - 1)]}


@pytest.mark.parametrize("kind", ["statsd", "bucky"])
def test_both_statsds_sum_up_in_graphite(
    kind: str, graphite: Graphite, request: pytest.FixtureRequest
) -> None:
    """A counter sent to StatsD or Bucky over several of their flushes arrives whole."""
    server: StatsD | Bucky = request.getfixturevalue(kind)
    path = f"stats.counters.smoke.{kind}.count"
    for flushed in (3, 6, 9):
        udp(server.port, f"smoke.{kind}:3|c")
        wait_until(lambda total=flushed: graphite.total(path) == total, 10, f"{flushed} counted")


SESSION = """
import pathlib, time

def test_it(redis_server, {fixture}):
    pathlib.Path("port").write_text(str(redis_server.port))
    {body}
"""


def session(folder: Path, body: str, fixture: str = "tmp_path", **env: str) -> Child:
    """A pytest session of its own with one test, which asks for a Redis and then does `body`."""
    (folder / "test_it.py").write_text(SESSION.format(body=body, fixture=fixture))
    (folder / "pytest.ini").write_text("[pytest]")
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-rs", "test_it.py"]
    return Child("session", command, folder, {"PYTHONPATH": str(process.REPOSITORY), **env})


@pytest.mark.parametrize("body", ["assert False", "import os, signal; os.kill(os.getpid(), 15)"])
def test_no_server_outlives_its_session(tmp_path: Path, body: str) -> None:
    """Neither when a test fails nor when the session is ended by SIGTERM."""
    child = session(tmp_path, f"{body}; time.sleep(60)")
    with pytest.raises(StartError, match=r"ended with (1|143)\n"):
        child.start(lambda: False)
    assert not answers(int((tmp_path / "port").read_text()))


@pytest.mark.parametrize(("ci", "outcome"), [("", "1 skipped"), ("true", "1 error")])
def test_what_is_not_installed_fails_only_in_ci(tmp_path: Path, ci: str, outcome: str) -> None:
    """At home the test is skipped; where CI is set a missing install is no excuse."""
    child = session(tmp_path, "pass", "graphite", TEST_SERVERS_CACHE=str(tmp_path), CI=ci)
    with pytest.raises(StartError) as ended:
        child.start(lambda: False)
    assert outcome in str(ended.value)
    assert "Graphite is not installed: run tests/install" in str(ended.value)


def test_truth_leaves_a_half_written_line_for_later(tmp_path: Path) -> None:
    """Reading while others write sees whole lines only."""
    path = tmp_path / "truth"
    Recorder(path).write("sent", task="a", id="1", queue="q")
    with path.open("a") as file:
        file.write('{"what": "se')
    assert Truth.read(path).queues == Counter({"q": 1})


@pytest.fixture(scope="module", params=["rabbitmq", "redis_server"])
def overheard(
    request: pytest.FixtureRequest, clusters: Callable[[str], Cluster]
) -> tuple[Truth, list[dict[str, Any]]]:
    """The truth of two workers' mixed workload, and every event a listener heard meanwhile."""
    broker = request.getfixturevalue(request.param).fresh_url()
    cluster = clusters(broker)
    with Listener(broker) as listener:
        cluster.worker("fork.1", "prefork", ("q.any", "q.fork"))
        cluster.worker("thread-1", "threads", ("q.any",))
        cluster.mix(rounds=3)
        cluster.stop()
        wait_until(lambda: listener.count("worker-offline") == 2, 10, "both workers said goodbye")
    return cluster.truth(), listener.events


Overheard = tuple[Truth, list[dict[str, Any]]]


def test_truth_agrees_with_the_events(overheard: Overheard) -> None:
    """Each stage of each task, counted from the raw events, is what the workers wrote down."""
    truth, events = overheard
    assert counted(events) == {stage: dict(truth.stages[stage]) for stage in STAGES}


def test_truth_agrees_with_the_exceptions_told(overheard: Overheard) -> None:
    """The classes in the failed events are those the truth has, each attempt once."""
    truth, events = overheard
    failed = once(event for event in events if event["type"] == "task-failed")
    assert Counter(map(error_class, failed)) == truth.errors
    assert truth.errors_told == truth.errors


def test_truth_agrees_with_the_queues_told(overheard: Overheard) -> None:
    """task-sent names the queue each message went to."""
    truth, events = overheard
    sent = [event for event in events if event["type"] == "task-sent"]
    assert Counter(event["queue"] for event in sent) == truth.queues


def test_truth_agrees_with_the_heartbeats(overheard: Overheard) -> None:
    """The last `processed` of each worker is the number of bodies it entered."""
    truth, events = overheard
    last = {
        event["hostname"]: event["processed"]
        for event in events
        if event["type"].startswith("worker-") and "processed" in event
    }
    assert last == truth.entered


def test_truth_has_two_witnesses_and_no_loose_end(overheard: Overheard) -> None:
    """Bodies and signals agree, every message has its end, and every kind of end occurs."""
    truth, _ = overheard
    assert truth.over
    assert truth.returned == truth.stages["succeeded"]
    assert set(truth.unended) == {"cache.ignore", "shop.orders.swap"}
    ends = sum(truth.total(stage) for stage in ("succeeded", "failed", "retried", "revoked"))
    assert truth.total("received") + truth.total("on_arrival") == ends + truth.unended.total()
    assert all(truth.total(stage) for stage in STAGES)


def counted(events: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """The stages by task, as plainly as the events allow: joined by uuid, in order of time.

    By arrival, one worker's receipt of a replacement may come before the other's of the replaced.
    """
    events = sorted(events, key=lambda event: event["timestamp"])
    names = named(events)
    stages: dict[str, Counter[str]] = {stage: Counter() for stage in STAGES}
    for uuid, mine in by_uuid(events).items():
        kinds = Counter(event["type"].removeprefix("task-") for event in mine)
        tasks = names[uuid]
        for stage in ("sent", "received"):
            stages[stage].update(e["name"] for e in mine if e["type"] == f"task-{stage}")
        # Of two names under one uuid (replace) the first is started, and then the second.
        stages["started"].update(tasks[i % len(tasks)] for i in range(kinds["started"]))
        stages["succeeded"][tasks[-1]] += kinds["succeeded"]
        stages["retried"][tasks[-1]] += kinds["retried"]
        # Twice for a hard limit; before task-rejected for a Reject: it is one failure.
        stages["failed"][tasks[-1]] += bool(kinds["failed"])
        stages["revoked"][tasks[-1]] += bool(kinds["revoked"])
        stages["on_arrival"][tasks[-1]] += not kinds["received"]
    return {stage: {task: n for task, n in found.items() if n} for stage, found in stages.items()}


def by_uuid(events: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The task events of each uuid, in their order."""
    found: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        if "uuid" in event:
            found.setdefault(event["uuid"], []).append(event)
    return found


def named(events: list[dict[str, Any]]) -> dict[str, list[str]]:
    """The task names of each uuid: as received, or as sent for what never was received."""
    names: dict[str, list[str]] = {}
    for kind in ("task-received", "task-sent"):
        for event in events:
            if event["type"] == kind and event["name"] not in names.setdefault(event["uuid"], []):
                names[event["uuid"]].append(event["name"])
    return names


def once(events: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first event of each uuid."""
    first: dict[str, dict[str, Any]] = {}
    for event in events:
        first.setdefault(event["uuid"], event)
    return list(first.values())


def error_class(event: dict[str, Any]) -> str:
    """The exception's class: from the traceback's last line, or where there is none its repr."""
    told = event.get("traceback") or event["exception"]
    found = re.match(r"[\w.]+", told.strip().splitlines()[-1])
    assert found, told
    return found[0].rpartition(".")[2]
