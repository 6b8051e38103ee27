"""Several agents share a cluster in each of the ways there are, and are ended and started: each
event once, whoever counts it."""

import contextlib
import json
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import amqp
import pytest
import redis

from celery_statsd.agent import CHECKPOINT
from celery_statsd.source.lease import LEASE, RENEW_EVERY
from tests.faults.conftest import RATE, Under, at_length
from tests.faults.receivers import HOST as SELF
from tests.faults.receivers import Carbon, Receiver
from tests.faults.stream import Maker, Publisher, RedisPublisher, Worker, envelope, message, vhost
from tests.faults.table import LONG, Row
from tests.faults.trial import FLUSH, PATIENCE, Record, is_exact, pause
from tests.servers.agent import Agent
from tests.servers.process import wait_until
from tests.servers.rabbitmq import RabbitMQ
from tests.servers.redis import Redis

pytestmark = pytest.mark.e2e

SECONDS = float(os.environ.get("SEVERAL_SECONDS", "60" if LONG else "3"))
"""How long agents come and go."""

BEAT = 1.0
"""Seconds between two flushes of those whose deaths are timed, or who send to a Graphite."""

STAGES = ("received", "started", "succeeded")

DEATHS = 20 if LONG else 4

by_term_and_kill = pytest.mark.parametrize(
    "number", [pytest.param(number, id=number.name) for number in (signal.SIGTERM, signal.SIGKILL)]
)


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGTERM, id="SIGTERM"),
        pytest.param(signal.SIGKILL, id="SIGKILL", marks=at_length),
    ],
)
def test_three_agents_count_each_event_once(
    number: signal.Signals, under: Under, record: Record
) -> None:
    """Whoever is ended, the others count on, and it goes on with what it had when it is back.

    Killed, it may have written down what the broker then gives to another one: what comes in
    between two checkpoints.
    """
    chance = random.Random(number)
    trial = under()
    agents = [trial.agent, trial.stand_by(trial.url), trial.stand_by(trial.url)]
    deadline, ended = time.monotonic() + SECONDS, 0
    while time.monotonic() < deadline:
        pause(chance.uniform(0.2, 1.0))
        one = chance.choice(agents)
        os.kill(one.pid, number)
        one.stop()
        one.listen()
        ended += 1
    row = trial.row("B17", f"3 agents, one of them ended by {number.name}, {ended} times")
    record(row)

    assert 0 == row.lost
    window = RATE * (CHECKPOINT + FLUSH) if number == signal.SIGKILL else 0
    assert row.doubled <= ended * window


@at_length
def test_what_another_counted_is_no_loss(under: Under, record: Record) -> None:
    """An agent that is served again does not take for lost what another one has counted."""
    trial = under()
    other = trial.stand_by(trial.url)
    for one in (trial.agent, other):
        pause(1.5)
        one.stop()
        trial.recovered()
        one.listen()
    pause(2.0)  # some heartbeats more
    row = trial.row("B17", "2 agents, served in turn")
    record(row)

    assert is_exact(row)


class Troupe:
    """Agents on one broker, and what has come of them."""

    def __init__(self, folder: Path, receiver: Receiver, interval: float = FLUSH) -> None:
        self.agents: list[Agent] = []
        self.receiver = receiver
        self._folder = folder
        self._flags = ("--flush-interval", str(interval))

    def add(self, url: str, host: str, *flags: str, lasting: bool = True) -> Agent:
        """One more, that listens; `lasting`: it has a journal."""
        folder = self._folder / f"agent{len(self.agents)}"
        folder.mkdir()
        state = ("--state-dir", str(folder / "state")) if lasting else ()
        own = ("--host", host, "--log-level", "debug", *self._flags, *state, *flags)
        agent = Agent(folder, url, [self.receiver.address], "faults", *own)
        self.agents.append(agent.listen())
        return agent

    def counted(self, stage: str = "started") -> int:
        """What has come out of a stage, from all of them."""
        return self.receiver.count(stage)

    def end(self, agent: Agent, number: int) -> None:
        """End one by that signal."""
        os.kill(agent.pid, number)
        code = agent.stop()
        assert code == (0 if number == signal.SIGTERM else -number), agent.output()

    def stop(self) -> None:
        """End all that still run, in good order."""
        for agent in self.agents:
            assert 0 == agent.stop(), agent.output()

    def __enter__(self) -> "Troupe":
        return self

    def __exit__(self, *_: object) -> None:
        for agent in self.agents:
            agent.kill()

    def row(self, name: str, fault: str, broker: str, sent: int, recover_s: float | None) -> Row:
        """What it has cost."""
        counted = min(map(self.counted, STAGES))
        return Row(
            id=name,
            fault=fault,
            broker=broker,
            sent=sent,
            counted=counted,
            lost=max(0, sent - counted),
            doubled=max(0, max(map(self.counted, STAGES)) - sent),
            recover_s=recover_s,
            peak_rss_mb=0.0,
            lost_reported=self.receiver.lost(),
            events=self.receiver.own("events"),
        )


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Redis]:
    """A Redis of one's own."""
    with Redis(tmp_path) as found:
        yield found


@pytest.fixture
def client(server: Redis) -> Iterator[Any]:
    """redis-py's own client."""
    with redis.Redis(port=server.port) as found:
        yield found


class Chorus(Troupe):
    """Three agents on one Redis, and a worker; what Redis knows of them is looked up there."""

    def __init__(self, folder: Path, server: Redis, client: Any, receiver: Receiver) -> None:
        super().__init__(folder, receiver, BEAT)
        self._server, self._client = server, client
        self._died = 0.0
        self.worker = RedisPublisher(server.url, RATE)

    def begin(self, lasting: bool) -> None:
        """All listen, are warm, and count."""
        for _ in range(3):
            self.add(self._server.url, SELF, lasting=lasting)
        self.worker.start()
        wait_until(lambda: self._key("zcard", "warm") == 3, PATIENCE, "all are warm")
        wait_until(self.counted, PATIENCE, "it counts")
        beats = self.worker.beats  # two more, and each of them can tell what is missing
        wait_until(lambda: self.worker.beats > beats + 1, PATIENCE, "the worker's heart beats")

    def end(self, agent: Agent, number: int) -> None:
        super().end(agent, number)
        self._died = time.time()

    def quiet_moment(self) -> None:
        """Return when nobody has a flush in hand, nor will soon: who is killed between a delivery
        and the word of it has it told twice. And when two who live have heard all: of the dead
        Redis says so for LEASE seconds more."""
        wait_until(self._is_quiet, PATIENCE, "all that was cut is said")

    def speaker(self) -> Agent:
        """The one that holds the lease, as its log tells."""
        held = self._key("get", "lease").decode()
        (found,) = [agent for agent in self.agents if f"identity={held}" in agent.output()]
        return found

    def settle(self) -> int:
        """End the load; what was sent, once all of it is told."""
        sent = self.worker.stop()
        with contextlib.suppress(TimeoutError):  # what is missing is in the row
            wait_until(
                lambda: self.counted() + self.receiver.lost() >= sent, PATIENCE, "all is told"
            )
        self.worker.leave()
        self.stop()
        return sent

    def _is_quiet(self) -> bool:
        cut, said = self._key("get", "cut"), self._key("get", "said")
        if not 0.3 * BEAT < time.time() % BEAT < 0.6 * BEAT or not cut or not said:
            return False
        return bool(json.loads(said)[1] == cut.decode() and self._alive_and_warm() > 1)

    def _alive_and_warm(self) -> int:
        """How many have renewed their place since the last death, or lately."""
        since = max(self._died, time.time() - 2 * RENEW_EVERY)
        return int(self._key("zcount", "warm", (since + LEASE) * 1000, "inf"))

    def _key(self, command: str, key: str, *arguments: Any) -> Any:
        return getattr(self._client, command)(f"celery-statsd/0/celeryev/faults/{key}", *arguments)

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self.worker.leave()


@pytest.fixture
def chorus(server: Redis, client: Any, statsd: Receiver, tmp_path: Path) -> Iterator[Chorus]:
    """Agents that hear the same Redis."""
    with Chorus(tmp_path, server, client, statsd) as made:
        yield made


@by_term_and_kill
@pytest.mark.parametrize("lasting", [True, False], ids=["journals", "no journal"])
def test_on_redis_others_count_on(
    number: signal.Signals, lasting: bool, chorus: Chorus, record: Record
) -> None:
    """Any of three is ended, and comes back: nothing is missing, nothing twice, nothing said to be
    lost, as long as one that has heard all stays."""
    chance = random.Random(number)
    chorus.begin(lasting)
    for _ in range(DEATHS):
        chorus.quiet_moment()
        one = chance.choice(chorus.agents)
        chorus.end(one, number)
        pause(chance.uniform(0.0, 1.0))
        one.listen()
    sent = chorus.settle()
    fault = f"3 agents ({'' if lasting else 'no '}journals), one ended by {number.name}"
    row = chorus.row("B17", f"{fault}, {DEATHS} times", "Redis", sent, None)
    record(row)

    assert (sent, 0, 0, 0) == (row.counted, row.lost, row.doubled, row.lost_reported)
    assert 0 == chorus.counted("found")


@by_term_and_kill
def test_on_redis_a_warm_one_takes_over(
    number: signal.Signals, chorus: Chorus, record: Record
) -> None:
    """The speaker dies and stays away: the next numbers of the cluster come within a flush and the
    time of the lease."""
    chorus.begin(lasting=False)
    chorus.quiet_moment()
    speaker = chorus.speaker()
    chorus.end(speaker, number)
    chorus.agents.remove(speaker)
    died, before = time.monotonic(), chorus.counted()
    wait_until(lambda: chorus.counted() > before, PATIENCE, "somebody speaks")
    took = time.monotonic() - died
    sent = chorus.settle()
    row = chorus.row("B17", f"the speaker of 3 agents ends by {number.name}", "Redis", sent, took)
    record(row)

    assert (sent, 0, 0) == (row.counted, row.doubled, row.lost_reported)
    assert took < BEAT + LEASE + 10


def test_on_redis_a_gap_of_all_is_told(chorus: Chorus, server: Redis, record: Record) -> None:
    """Redis dies with all it had: what nobody heard is told to be lost, once, whoever is back
    first."""
    chorus.begin(lasting=True)
    for _ in range(3 if LONG else 1):
        chorus.quiet_moment()
        server.kill()
        pause(1.0)
        server.start()
        before = chorus.counted()
        wait_until(lambda was=before: chorus.counted() > was, PATIENCE, "it counts again")
    sent = chorus.settle()
    row = chorus.row("R1", "broker killed (-9) and restarted under 3 agents", "Redis", sent, None)
    record(row)

    assert row.lost == row.lost_reported > 0
    assert 0 == row.doubled


def test_on_redis_all_are_killed_at_once(chorus: Chorus, record: Record) -> None:
    """Without a journal: what they had not sent, and what nobody heard while they were away, their
    successors tell to be lost. Redis knows how far the last speaker was."""
    chorus.begin(lasting=False)
    chorus.quiet_moment()
    for agent in chorus.agents:
        chorus.end(agent, signal.SIGKILL)
    pause(1.0)
    for agent in chorus.agents:
        agent.listen()
    before = chorus.counted()
    wait_until(lambda: chorus.counted() > before, PATIENCE, "it counts again")
    sent = chorus.settle()
    row = chorus.row("A2", "3 agents (no journals) killed (-9) at once", "Redis", sent, None)
    record(row)

    assert row.lost == row.lost_reported > 0
    assert 0 == row.doubled


def test_on_redis_all_may_leave_at_once(chorus: Chorus, record: Record) -> None:
    """Without a journal, at the same moment: each sees to it that somebody says the rest."""
    chorus.begin(lasting=False)
    sent = chorus.worker.stop()
    for agent in chorus.agents:
        agent.terminate()
    chorus.stop()
    row = chorus.row("A1", "3 agents ended by SIGTERM at once", "Redis", sent, None)
    record(row)

    assert (sent, 0) == (row.counted, row.doubled)


HOSTS = ("web1", "web2", "web3")


class Publishers:
    """A worker on each of HOSTS and on one that has no agent, on any broker; `sent` of each."""

    def __init__(self, publish: Callable[[str, str, Any], None]) -> None:
        self._publish = publish
        self._makers = {host: Maker(hostname=f"celery@{host}") for host in (*HOSTS, "other")}

    def work(self, attempts: int) -> None:
        """So many attempts on each."""
        for _ in range(attempts):
            for host, maker in self._makers.items():
                self._publish(f"celery@{host}", "task.multi", maker.attempt())

    @property
    def sent(self) -> int:
        """Attempts of one host."""
        return self._makers[HOSTS[0]].started


def on_rabbitmq(link: amqp.Connection) -> Callable[[str, str, Any], None]:
    """Publishes there, each confirmed."""
    channel = link.channel()
    channel.exchange_declare("celeryev", "topic", durable=True, auto_delete=False)

    def publish(hostname: str, key: str, body: Any) -> None:
        headers = {"hostname": hostname}
        channel.basic_publish(message(body, application_headers=headers), "celeryev", key)

    return publish


def on_redis(client: Any) -> Callable[[str, str, Any], None]:
    """Publishes there."""

    def publish(hostname: str, key: str, body: Any) -> None:
        client.publish(f"/0.celeryev/{key}", json.dumps(envelope(body, key, hostname)))

    return publish


class Place:
    """A broker of one's own: its name, its URL, a worker there, and a way to publish."""

    def __init__(self, name: str, url: str, worker: Worker, publish: Callable[..., None]) -> None:
        self.name, self.url, self.worker, self.publish = name, url, worker, publish


@pytest.fixture
def on_rabbit(rabbitmq: RabbitMQ) -> Iterator[Place]:
    """A vhost."""
    url = rabbitmq.fresh_url()
    there = {"virtual_host": vhost(url), "confirm_publish": True}
    worker = Publisher(rabbitmq.port, vhost(url), RATE)
    with amqp.Connection(f"127.0.0.1:{rabbitmq.port}", **there) as link:
        yield Place("RabbitMQ", url, worker, on_rabbitmq(link))


@pytest.fixture(params=["RabbitMQ", "Redis"])
def place(request: pytest.FixtureRequest) -> Place:
    """Either."""
    if request.param == "RabbitMQ":
        found: Place = request.getfixturevalue("on_rabbit")
        return found
    url = request.getfixturevalue("server").url
    publish = on_redis(request.getfixturevalue("client"))
    return Place("Redis", url, RedisPublisher(url, RATE), publish)


def test_each_host_counts_its_own(place: Place, statsd: Receiver, tmp_path: Path) -> None:
    """An agent on each: what its workers say it counts, under its own name; the rest it leaves to
    the others, and knows how much that was. On RabbitMQ its queue waits for it."""
    workers = Publishers(place.publish)

    def foreign(host: str) -> int:
        return statsd.total(f"celery.faults.agent.{host}.messages_foreign")

    with Troupe(tmp_path, statsd) as troupe:
        for host in HOSTS:
            troupe.add(place.url, host, "--scope", "host")
        workers.work(100)
        wait_until(lambda: troupe.counted() >= 300, PATIENCE, "all is counted")
        if place.name == "RabbitMQ":
            troupe.end(troupe.agents[0], signal.SIGTERM)
        workers.work(100)
        if place.name == "RabbitMQ":
            troupe.agents[0].listen()
        wait_until(lambda: troupe.counted() >= 600, PATIENCE, "all is counted")
        wait_until(lambda: min(map(foreign, HOSTS)) >= 600, PATIENCE, "the rest is told")
        troupe.stop()

    for host in HOSTS:
        for stage in STAGES:
            assert 200 == statsd.counters[f"celery.faults.cluster.all.{stage}.{host}"]
        assert 600 == foreign(host)
    assert 600 == troupe.counted()
    assert 0 == statsd.total("celery.faults.worker.celery_at_other.started")


class Crowd:
    """Twelve workers and a client who tells of each publication; `sent` of them."""

    def __init__(self, publish: Callable[[str, str, Any], None]) -> None:
        self.sent = 0
        self._publish = publish
        self._workers = [Maker(hostname=f"w{number}@host{number}") for number in range(12)]
        self._client = Maker(hostname="gen1@client")

    def work(self, attempts: int) -> None:
        """So many attempts, of one worker after the other."""
        for _ in range(attempts):
            number = self.sent % len(self._workers)
            events = self._workers[number].attempt()
            uuid, name = events[0]["uuid"], events[0]["name"]
            told = self._client.event("task-sent", uuid=uuid, name=name, queue="q", retries=0)
            self._publish("gen1@client", "task.sent", told)
            self._publish(f"w{number}@host{number}", "task.multi", events)
            self.sent += 1


@by_term_and_kill
def test_parts_count_each_event_once(
    number: signal.Signals, on_rabbit: Place, statsd: Receiver, tmp_path: Path, record: Record
) -> None:
    """One of the agents of three parts is ended and comes back; another one for good, and one of
    the same part takes its place. Each publication is counted once, though all hear of it."""
    crowd, stages = Crowd(on_rabbit.publish), ("sent", *STAGES)

    def all_told() -> bool:
        return all(troupe.counted(stage) >= crowd.sent for stage in stages)

    def flushes(host: str) -> int:
        return statsd.counters[f"celery.faults.agent.{host}.ticks.self"]

    with Troupe(tmp_path, statsd, BEAT) as troupe:
        for name, part in (("a", 1), ("b", 2), ("c", 3), ("d", 1)):
            troupe.add(on_rabbit.url, name, "--partitions", "3", "--partition", str(part))
        gone, back = troupe.agents[:2]
        crowd.work(400)
        wait_until(all_told, PATIENCE, "all is told")
        before = flushes("b")
        wait_until(lambda: flushes("b") > before, PATIENCE, "that flush is not in hand any more")
        troupe.end(back, number)
        troupe.end(gone, signal.SIGTERM)
        troupe.agents.remove(gone)
        crowd.work(400)
        back.listen()
        crowd.work(400)
        wait_until(all_told, PATIENCE, "all is told")
        troupe.stop()
    fault = f"3 parts: one ended by {number.name} and back, one taken over"
    record(troupe.row("B17", fault, "RabbitMQ", crowd.sent, None))

    assert dict.fromkeys(stages, crowd.sent) == {stage: troupe.counted(stage) for stage in stages}
    assert 0 == troupe.counted("found")


@pytest.fixture
def carbon(receive: Callable[..., Receiver]) -> Receiver:
    """A Graphite: of two values for one series and second the last one stays."""
    return receive(Carbon)


def test_a_take_over_costs_a_graphite_nothing(
    place: Place, carbon: Receiver, client: Any, tmp_path: Path, record: Record
) -> None:
    """The one that is served leaves, the other takes over, and back: no value stands where another
    one stood."""
    worker = place.worker
    with Troupe(tmp_path, carbon, BEAT) as troupe:
        agents = [troupe.add(place.url, host) for host in ("one", "other")]
        worker.start()
        for agent in agents * (5 if LONG else 2):
            before = troupe.counted()
            wait_until(lambda was=before: troupe.counted() > was, PATIENCE, "it counts")
            if place.name == "Redis":
                warm = "celery-statsd/0/celeryev/faults/warm"
                wait_until(lambda key=warm: client.zcard(key) == 2, PATIENCE, "both are warm")
            troupe.end(agent, signal.SIGTERM)
            agent.listen()
        sent = worker.stop()
        wait_until(lambda: troupe.counted() >= sent, PATIENCE, "all is counted")
        worker.leave()
        troupe.stop()
    row = troupe.row("B17", "take-overs in front of a Graphite", place.name, sent, None)
    record(row)

    assert 0 == row.lost_reported
    assert dict.fromkeys(STAGES, sent) == {stage: troupe.counted(stage) for stage in STAGES}
