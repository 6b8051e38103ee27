"""The doctor on real brokers and workers: it tells the truth about each."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
import redis
from celery import Celery

from celery_statsd.check import EXAMINATIONS, Doctor, Request
from celery_statsd.check.facts import Facts
from celery_statsd.errors import ConfigError
from tests.check.scene import Said, looked, looking, publishing, settings
from tests.servers.graphite import Graphite
from tests.servers.listener import Listener
from tests.servers.process import (
    Child,
    MissingProgramError,
    answers,
    free_port,
    program,
    wait_until,
)
from tests.servers.rabbitmq import RabbitMQ
from tests.servers.redis import Redis
from tests.servers.statsd import StatsD
from tests.servers.worker import Cluster, Worker, old_celery
from tests.source.rabbit import channel

SHIPPED = Path(__file__).parents[2] / "config" / "redis" / "users.acl"
OWN = "celeryev.statsd.default"

pytestmark = pytest.mark.timeout(240)


def old_python() -> str:
    """The Python of an old Celery; a skip, or with CI a failure, where there is none."""
    try:
        return old_celery()
    except MissingProgramError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))


class Fleet:
    """Workers of every condition, each under the name of it, and what was said of them."""

    def __init__(self, cluster: Cluster) -> None:
        self._start = cluster.worker
        self.named: dict[str, Worker] = {}

    def add(self, name: str, queue: str, *flags: str, pool: str = "prefork", **how: str) -> None:
        """One worker of one process."""
        self.named[name] = self._start(name, pool, [queue], 1, *flags, **how)

    def __getitem__(self, name: str) -> str:
        """The node name of a worker."""
        return self.named[name].nodename


def lame(cluster: Cluster) -> Fleet:
    """All that can be wrong with workers."""
    fleet = Fleet(cluster)
    fleet.add("fit", "q.fit")
    fleet.add("mute", "q.mute", "--loglevel", "INFO")
    fleet.add("heartless", "q.idle", "--task-events", "--without-heartbeat")
    fleet.add("lone", "q.idle", "--task-events", "--without-gossip", "--without-mingle")
    abroad = ("--task-events", "--", "enable_utc=(bool)0", "task_track_started=(bool)1")
    fleet.add("abroad", "q.idle", *abroad, zone="America/New_York")
    fleet.add("old", "q.idle", pool="threads", python=old_python())
    fleet.add("paused", "q.idle")
    fleet.add("killed", "q.idle")
    fleet.add("stopped", "q.idle")
    fleet.named["stopped"].stop()
    fleet.named["killed"].kill()
    os.kill(fleet.named["paused"].pid, signal.SIGSTOP)
    return fleet


@pytest.fixture(scope="module")
def rabbit_url(rabbitmq: RabbitMQ) -> str:
    """A vhost with the agent's queue, unbounded and unread, and one of a dead monitor."""
    url = rabbitmq.fresh_url()
    with channel(url) as made:
        made.exchange_declare("celeryev", "topic", durable=True, auto_delete=False)
        quorum = {"x-queue-type": "quorum", "x-single-active-consumer": True}
        made.queue_declare(OWN, durable=True, auto_delete=False, arguments=quorum)
        made.queue_bind(OWN, "celeryev", "#")
        made.queue_declare(f"celeryev.{uuid4()}", durable=True, auto_delete=False)
    return url


@pytest.fixture(scope="module", params=["rabbitmq", "redis"])
def kind(request: pytest.FixtureRequest) -> str:
    """The kind of broker."""
    return str(request.param)


@pytest.fixture(scope="module")
def url(kind: str, request: pytest.FixtureRequest) -> str:
    """A place of its own on it."""
    if kind == "rabbitmq":
        return str(request.getfixturevalue("rabbit_url"))
    server: Redis = request.getfixturevalue("redis_server")
    return server.fresh_url()


@pytest.fixture(scope="module")
def fleet(url: str, clusters: Callable[[str], Cluster]) -> Iterator[Fleet]:
    """Workers of every condition, on each kind of broker."""
    made = lame(clusters(url))
    try:
        yield made
    finally:
        os.kill(made.named["paused"].pid, signal.SIGCONT)


@pytest.fixture(scope="module")
def said(kind: str, url: str, fleet: Fleet, request: pytest.FixtureRequest) -> Said:
    """What the doctor says of them, while one client announces its tasks and another does not."""
    flags = {"management": request.getfixturevalue("rabbitmq")} if kind == "rabbitmq" else {}
    if flags:
        flags = {
            "management": f"http://guest:guest@127.0.0.1:{flags['management'].management_port}"
        }
    told = (
        ("shop.orders.create", "q.fit"),
        ("shop.orders.create", "q.mute"),
        ("never", "q.nobody"),
    )
    with publishing(url, *told), publishing(url, ("cache.ignore", "q.fit"), announced=False):
        wait_until(lambda: "cache.ignore" in fleet.named["fit"].output(), 20, "it works")
        return looked(url, **flags)


def test_a_fit_worker(said: Said, fleet: Fleet) -> None:
    """Beats, sends events, answers; nothing is said against it alone."""
    for name in ("heartbeat", "task_events", "answers"):
        assert any(fleet["fit"] in sentence for _, sentence in said.of(name)), name
    assert [] == [f for f in said.findings if f.subject == fleet["fit"]]


def test_a_worker_without_e(said: Said, fleet: Fleet) -> None:
    """Is proven by what it ran."""
    ((severity, sentence),) = said.of("task_events", fleet["mute"])

    assert "critical" == severity
    assert sentence.endswith("tasks without an event: it has no -E")


def test_an_idle_worker_may_have_e_or_not(said: Said, fleet: Fleet) -> None:
    """Nobody can tell, and that is what is told."""
    sentences = [told for severity, told in said.of("task_events") if severity == "unknown"]

    assert 1 == len(sentences)
    assert all(fleet[name] in sentences[0] for name in ("lone", "abroad", "heartless", "old"))
    assert fleet["mute"] not in sentences[0]


def test_a_worker_without_heartbeat(said: Said, fleet: Fleet) -> None:
    """Answers all the same."""
    assert ["warning"] == said.severity("heartbeat", fleet["heartless"])
    assert fleet["heartless"] in said.sentences("answers")


def test_a_worker_without_gossip(said: Said, fleet: Fleet) -> None:
    """Shows in its clock; it does no harm."""
    without, having = (sentence for _, sentence in said.of("gossip"))

    assert without.startswith(f"{fleet['lone']}: no gossip")
    assert all(fleet[name] in having for name in ("fit", "mute", "abroad", "old"))


def test_a_worker_abroad(said: Said, fleet: Fleet) -> None:
    """Its zone and its reckoning are told, and its clock is right."""
    ((severity, zones),) = said.of("zones")

    assert "warning" == severity
    assert "UTC-" in zones
    assert ("warning", f"{fleet['abroad']}: ") == (
        said.of("enable_utc")[0][0], said.of("enable_utc")[0][1][: len(fleet["abroad"]) + 2],
    )  # fmt: skip
    assert ["ok"] == said.severity("clocks")
    assert f"on ({fleet['abroad']})" in said.sentences("task_track_started")


def test_a_worker_of_old_celery(said: Said, fleet: Fleet) -> None:
    """With threads: it loses events."""
    assert ["warning", "critical"] == sorted(said.severity("versions", fleet["old"]), reverse=True)
    ((severity, mixed),) = said.of("versions")
    assert ("warning", True) == (severity, f"5.2.7: {fleet['old']}; 5." in mixed)


def test_workers_that_are_gone_or_stuck(said: Said, fleet: Fleet, kind: str) -> None:
    """On RabbitMQ a paused one is still connected, and a killed one is not. Redis keeps a place
    for both, and nobody can tell one from the other. One that was stopped is nowhere."""
    if kind == "rabbitmq":
        assert ["critical"] == said.severity("heartbeat", fleet["paused"])
        assert fleet["killed"] not in said.sentences("heartbeat")
    else:
        ((_, places),) = [row for row in said.of("heartbeat") if row[0] == "warning"]
        assert places.endswith(f": {fleet['killed']}, {fleet['paused']}")
    everything = "".join(f"{f.subject} {f.sentence}" for f in said.findings)
    assert fleet["stopped"] not in everything


def test_clients_that_do_not_announce(said: Said) -> None:
    """Task by task."""
    assert ["warning"] == said.severity("task_sent", "cache.ignore")
    assert [] == said.severity("task_sent", "shop.orders.create")


def test_a_queue_nobody_consumes(said: Said) -> None:
    """Found by the tasks that are sent to it."""
    assert ["critical"] == said.severity("queues", "q.nobody")
    assert all(queue in said.of("queues")[0][1] for queue in ("q.fit", "q.idle", "q.mute"))


def test_what_is_heard_is_complete(said: Said) -> None:
    """Each start that the fit worker counts was heard."""
    assert ["ok"] == said.severity("events_lost")
    assert ["ok"] == said.severity("events")


def test_the_worst_comes_first(said: Said) -> None:
    """All the way down."""
    ranks = [finding.severity.rank for finding in said.findings]

    assert sorted(ranks) == ranks


def test_rabbitmq_itself(said: Said, kind: str) -> None:
    """The agent's queue without an agent, the dead monitor's, the rights."""
    if kind != "rabbitmq":
        return
    assert {"critical", "warning"} == set(said.severity("own_queue", OWN))
    assert "no agent reads them" in said.sentences("own_queue")
    assert "nothing bounds it" in said.sentences("own_queue")
    assert ["warning"] == said.severity("leftovers")
    assert "1 event queues of dead monitors" in said.sentences("leftovers")
    assert "command workers, forge events, read tasks" in said.of("rights", "guest")[0][1]
    assert ["ok"] == said.severity("rabbitmq")


def test_redis_itself(said: Said, kind: str) -> None:
    """Version, buffers, memory, ETAs, rights."""
    if kind != "redis":
        return
    for name in ("redis", "buffer", "memory", "visibility_timeout", "leftovers"):
        assert ["ok"] == said.severity(name), name
    assert ["ok"] == said.severity("rights", "default")


def test_the_agent_lacks_nothing(said: Said, rabbitmq: RabbitMQ, rabbit_url: str) -> None:
    """What waited in its queue waits there still."""
    del said, rabbitmq
    with channel(rabbit_url) as look:
        assert look.queue_declare(OWN, passive=True).message_count > 50


def test_what_happens_while_it_listens(
    redis_server: Redis, clusters: Callable[[str], Cluster]
) -> None:
    """One worker is killed, one is killed and started again, one is stopped."""
    url = redis_server.fresh_url()
    fleet = Fleet(clusters(url))
    for name in ("killed", "again", "stopped"):
        fleet.add(name, "q.idle", pool="solo")

    def beaten(listener: Listener) -> bool:
        events = [e for e in tuple(listener.events) if e["type"] == "worker-heartbeat"]
        return {fleet[name] for name in fleet.named} <= {event["hostname"] for event in events}

    with looking(url, 20.0) as doctor, Listener(url) as listener:
        wait_until(lambda: beaten(listener), 10, "all beat")
        listener.events.clear()
        wait_until(lambda: beaten(listener), 10, "all beat, and the doctor listens")
        fleet.named["killed"].kill()
        fleet.named["again"].kill()
        fleet.named["stopped"].stop()
        fleet.add("again", "q.idle", pool="solo")
        said = doctor.result(60)

    assert [("critical", True)] == [
        (severity, "no farewell, and no answer" in sentence)
        for severity, sentence in said.of("heartbeat", fleet["killed"])
    ]
    assert [("warning", "began anew 1 times in 20 s")] == said.of("restarts", fleet["again"])
    assert [("ok", "said goodbye while we listened")] == said.of("heartbeat", fleet["stopped"])


def test_events_are_switched_on_once(
    redis_server: Redis, clusters: Callable[[str], Cluster]
) -> None:
    """Where they were off, and it is told; the next look finds them on."""
    url = redis_server.fresh_url()
    fleet = Fleet(clusters(url))
    fleet.add("mute", "q.mute", "--loglevel", "INFO", pool="solo")
    fleet.add("fit", "q.fit", pool="solo")
    first, second = (looked(url, Request(1.0, enable_events=True)) for _ in range(2))

    assert ["warning"] == first.severity("task_events", fleet["mute"])
    assert [("ok", f"1 send them: {fleet['fit']}")] == first.of("task_events")
    assert [("ok", f"2 send them: {fleet['fit']}, {fleet['mute']}")] == second.of("task_events")


def test_an_eta_beyond_the_visibility_timeout(
    redis_server: Redis, clusters: Callable[[str], Cluster]
) -> None:
    """Held by a worker since before we listened."""
    url = redis_server.fresh_url()
    cluster = clusters(url)
    cluster.worker("w", "solo", ["q.any"], 1)
    with publishing(url):
        send_later(url, 7200)
        worker = cluster.workers[0]
        wait_until(lambda: "never-started" in worker.output(), 20, "it is held")
    ((severity, sentence),) = looked(url, Request(1.0)).of("visibility_timeout")

    assert ("critical", True) == (severity, "will run more than once" in sentence)


def test_workers_of_another_app_on_the_same_channels(
    redis_server: Redis, clusters: Callable[[str], Cluster]
) -> None:
    """Without the database in their names channels are one for all: heard, and no answer."""
    ours, theirs = redis_server.fresh_url(), redis_server.fresh_url()
    fleet = Fleet(clusters(theirs))
    flags = ("--task-events", "--", 'broker_transport_options=(dict){"fanout_prefix": false}')
    fleet.add("foreign", "q.any", *flags, pool="solo")
    said = looked(ours, Request(5.0), transport_options='{"fanout_prefix": false}')

    assert ["warning"] == said.severity("answers", fleet["foreign"])
    assert "another app" in "".join(f.cure for f in said.findings if f.name == "answers")


def test_nothing_is_there(redis_server: Redis) -> None:
    """A broker, and nobody on it."""
    said = looked(redis_server.fresh_url(), Request(0.5))

    assert ["critical"] == said.severity("events")
    assert [] == said.sentences("heartbeat").splitlines()


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_no_broker_is_there(scheme: str) -> None:
    """Told once for each thing that could not be asked, and why."""
    said = looked(f"{scheme}://127.0.0.1:{free_port()}//", Request(0.5), sinks=("console://",))

    assert ["critical"] == said.severity("events")
    assert "refused" in said.sentences("events") or "nobody listens" in said.sentences("events")
    for name in ("answers", "broker", "queues"):
        assert ["unknown"] == said.severity(name), name


def test_the_next_address_is_tried(redis_server: Redis) -> None:
    """By each step, when the first one does not answer."""
    away = f"redis://127.0.0.1:{free_port()}/0"
    said = looked(f"{away};{redis_server.fresh_url()}", Request(5.0))

    assert "no event in" in said.sentences("events")
    assert ["ok"] == said.severity("redis")
    for name in ("answers", "broker", "queues"):
        assert [] == said.severity(name), name


def test_a_transport_nobody_can_be_asked_by() -> None:
    """The memory of this process has no workers to answer."""
    said = looked("memory://", Request(0.2))

    assert ["critical"] == said.severity("events")
    assert ["unknown"] == said.severity("answers")


def test_the_least_rights_on_redis(tmp_path: Path) -> None:
    """The agent's own user hears; what it may not ask is told as unknown, and nothing is done."""
    with least_redis(tmp_path) as url:
        said = looked(url, Request(0.5))

    assert ["critical"] == said.severity("events")  # nobody is there, but it may listen
    assert "no event in" in said.sentences("events")
    assert ["unknown"] == said.severity("answers")
    assert ["unknown"] == said.severity("redis")


def test_the_least_rights_on_rabbitmq(rabbitmq: RabbitMQ) -> None:
    """A user who may only read the agent's queue may have none of his own: that is told."""
    vhost = rabbitmq.fresh_url().rpartition("/")[2]
    rabbitmq.ctl("add_user", f"least-{vhost}", "pw")
    rabbitmq.ctl("set_permissions", "-p", vhost, f"least-{vhost}", "^$", "^$", r"^celeryev\.statsd")
    said = looked(f"amqp://least-{vhost}:pw@127.0.0.1:{rabbitmq.port}/{vhost}", Request(0.5))

    assert ["critical"] == said.severity("events")
    assert "access refused" in said.sentences("events")
    assert "pw" not in said.sentences("events")


def test_the_way_out_end_to_end(redis_server: Redis, graphite: Graphite, statsd: StatsD) -> None:
    """A number through StatsD and one straight to Graphite, each read back; one sink is dead."""
    dead = f"statsd+tcp://127.0.0.1:{free_port()}"
    sinks = (
        f"statsd://127.0.0.1:{statsd.port}", f"graphite://127.0.0.1:{graphite.line_port}", dead,
    )  # fmt: skip
    said = looked(
        redis_server.fresh_url(), Request(0.2, graphite.url),
        sinks=sinks, app="trial", host="web1", flush_interval="1",
    )  # fmt: skip

    for number, address in enumerate(sinks[:2], 1):
        ((severity, sentence),) = said.of("graphite", address)
        assert "ok" == severity
        name = f"stats.counters.celery.trial.doctor.web1_sink{number}.readback.self.count"
        assert f"arrived as {name} within" in sentence
        assert graphite.total(name) >= 1000
    assert ["critical"] == said.severity("sink", dead)
    assert [] == said.severity("graphite", dead)
    assert [("ok", "one point each 1 s, one flush each 1 s")] == said.of("schema")
    assert ["ok"] == said.severity("aggregation")


def test_a_graphite_address_that_is_none() -> None:
    """Is told before anything is done."""
    with pytest.raises(ConfigError):
        looked("redis://h", Request(1.0, "graphite"))


def test_each_examination_can_do_without_facts() -> None:
    """What was not gathered is not judged."""
    assert [] == [finding for examine in EXAMINATIONS for finding in examine(Facts())]


def test_it_can_be_told_to_judge_at_once(redis_server: Redis) -> None:
    """By a signal, even before it listens: what there is is judged, and nobody is blamed."""
    doctor = Doctor(settings(redis_server.fresh_url()), Request(60.0))
    doctor.stop()
    said = Said(doctor.findings())

    assert ["unknown"] == said.severity("listening")
    assert [] == said.severity("events")
    assert ["ok"] == said.severity("memory")


def send_later(url: str, seconds: float) -> None:
    """A task with an ETA so far ahead."""
    with Celery("client", broker=url, set_as_current=False) as client:
        client.send_task("never-started", queue="q.any", countdown=seconds)


@contextmanager
def least_redis(folder: Path) -> Iterator[str]:
    """A Redis with the shipped user, and that user's URL."""
    file = folder / "users.acl"
    file.write_text(SHIPPED.read_text())
    port = free_port()
    options = ("--port", str(port), "--aclfile", str(file), "--save", "", "--dir", str(folder))
    child = Child("redis", [program("redis-server"), *options, "--bind", "127.0.0.1"], folder)
    child.start(lambda: answers(port))
    try:
        with redis.Redis(port=port) as root:
            root.execute_command("ACL", "SETUSER", "celery-statsd", ">pw")
        yield f"redis://celery-statsd:pw@127.0.0.1:{port}/0"
    finally:
        child.kill()
