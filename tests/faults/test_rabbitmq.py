"""RabbitMQ fails in every way it can, under load. Nothing the broker confirmed is lost, and
nothing is counted twice. The names of the rows are those of the fault matrix.

Where a heartbeat decides, the short form has one of 2 s instead of 10 s.
"""

import itertools
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from celery_statsd.agent import CHECKPOINT
from tests.faults.conftest import RATE, Under, at_length
from tests.faults.proxy import Proxy
from tests.faults.table import LONG
from tests.faults.trial import FLUSH, Record, Trial, is_exact, pause
from tests.servers.process import wait_until
from tests.servers.rabbitmq import RabbitMQ
from tests.source.rabbit import delete_queue

pytestmark = pytest.mark.e2e

AGED = 2.5
"""Seconds: of a younger quorum queue RabbitMQ may keep nothing when it is killed."""

KILLS = 10 if LONG else 2

QUEUE = "celeryev.statsd.faults"

IMPATIENT = {} if LONG else {"FAULTS_HEARTBEAT": "2"}
HEARTBEAT = 10 if LONG else 2


@pytest.fixture
def proxy(rabbitmq: RabbitMQ) -> Iterator[Proxy]:
    """A proxy before the broker."""
    with Proxy(rabbitmq.port) as found:
        yield found


def test_killed_and_restarted(under: Under, rabbitmq: RabbitMQ, record: Record) -> None:
    """The agent always comes back, without a restart of its own, within 5 s of the broker."""
    trial = under()
    pause(AGED)
    for _ in range(KILLS):
        pause(0.5)
        rabbitmq.kill()
        rabbitmq.start()
        trial.recovered(since=rabbitmq.back_at)
    row = trial.row("B1", f"broker killed (-9) and restarted, {KILLS} times in a row")
    record(row)

    assert is_exact(row)
    assert row.recover_s < 5
    assert KILLS == trial.logged("broker_back")


@at_length
def test_restarted(under: Under, rabbitmq: RabbitMQ, record: Record) -> None:
    """A clean restart: no line of the log is graver than a warning."""
    trial = under()
    pause(AGED)
    rabbitmq.stop()
    rabbitmq.start()
    trial.recovered(since=rabbitmq.back_at)
    row = trial.row("B2", "broker restarted")
    record(row)

    assert is_exact(row)
    assert row.recover_s < 5
    assert "error " not in trial.agent.output()


@at_length
@pytest.mark.parametrize("seconds", [5, 60])
def test_suspended(seconds: int, under: Under, rabbitmq: RabbitMQ, record: Record) -> None:
    """A broker that stands still for less than two heartbeats is waited for, else given up."""
    trial = under()
    with rabbitmq.suspended():
        pause(seconds)
    trial.recovered()
    row = trial.row("B3", f"broker suspended for {seconds} s", f"noticed: {seconds > 20}")
    record(row)

    assert is_exact(row)
    assert (seconds > 20) == bool(trial.logged("broker_lost"))


@pytest.mark.timeout(1200)
def test_any_order_of_starting(under: Under, rabbitmq: RabbitMQ, record: Record) -> None:
    """Broker, agent, StatsD and workers may come up in any order: the sums are the same."""
    trial = under()
    parts = {
        "broker": (rabbitmq.kill, rabbitmq.start),
        "agent": (lambda: trial.end(signal.SIGTERM), lambda: _start_deaf(trial)),
        "statsd": (trial.receiver.down, trial.receiver.start),
        "workers": (trial.stream.hold, trial.stream.release),
    }
    orders = [*itertools.permutations(parts)]
    pause(AGED)
    for order in orders if LONG else orders[-1:]:
        for part in ("workers", "agent", "broker", "statsd"):
            parts[part][0]()
        for part in order:
            parts[part][1]()
        trial.recovered()
    number = len(orders) if LONG else 1
    row = trial.row("B4", f"broker, agent, StatsD and workers started in {number} orders")
    record(row)

    assert is_exact(row)


def _start_deaf(trial: Trial) -> None:
    """Start the agent, whether there is a broker or not."""
    before = trial.logged("agent_started")
    trial.agent.start(lambda: trial.logged("agent_started") > before)


@pytest.mark.parametrize(
    "idle", [pytest.param(False, id="busy", marks=at_length), pytest.param(True, id="idle")]
)
def test_black_hole(idle: bool, under: Under, proxy: Proxy, record: Record) -> None:
    """A connection that swallows everything is noticed by its heartbeats and left."""
    trial = under(port=proxy.port, env=IMPATIENT)
    if idle:
        trial.stream.hold()
        wait_until(lambda: trial.counted == trial.stream.sent, 10, "idle")
    proxy.set("blackhole")
    pause(0.5)
    proxy.set("pass")  # for the next connection; the first one stays in the hole
    trial.stream.release()
    trial.recovered(6 * HEARTBEAT)
    how = "while idle" if idle else "mid-stream"
    note = f"heartbeat {HEARTBEAT} s; the broker too has to notice it"
    row = trial.row("B6" if idle else "B5", f"black hole {how}", note)
    record(row)

    assert is_exact(row)
    assert 1 == trial.logged("broker_back")


def test_reset(under: Under, proxy: Proxy, record: Record) -> None:
    """Connections that are reset at random places of the stream."""
    trial = under(port=proxy.port)
    for _ in range(10 if LONG else 3):
        pause(0.3)
        proxy.set("reset")
        pause(0.2)
        proxy.set("pass")
        trial.recovered()
    row = trial.row("B7", "connection reset mid-stream")
    record(row)

    assert is_exact(row)


@at_length
def test_slices(under: Under, proxy: Proxy, record: Record) -> None:
    """Frames that come byte after byte."""
    proxy.set("slice")
    trial = under(port=proxy.port, rate=20)
    pause(20 if LONG else 2)
    trial.recovered()
    row = trial.row("B7", "stream in slices of 1 byte")
    record(row)

    assert is_exact(row)
    assert 0 == trial.logged("broker_lost")


def test_cut_anywhere_in_the_handshake(under: Under, proxy: Proxy, record: Record) -> None:
    """A connection that is closed after N bytes of the handshake, for each N in turn."""
    trial = under(port=proxy.port, env={"FAULTS_LONGEST_WAIT": "0.02"})
    limits = range(1, 1500, 5 if LONG else 75)
    before = proxy.connections
    proxy.set("cut", limits=limits)
    wait_until(lambda: proxy.connections > before + len(limits), 120, "all cuts were tried")
    trial.recovered()
    row = trial.row("B7", f"closed after N bytes of the handshake, {len(limits)} N")
    record(row)

    assert is_exact(row)
    assert trial.logged("broker_back") >= 1


@at_length
def test_busy_with_heartbeats(under: Under, record: Record) -> None:
    """A stream without a silent moment keeps no heartbeat from being sent."""
    trial = under(rate=2000, env={"FAULTS_HEARTBEAT": "5" if LONG else "1"})
    pause(60 if LONG else 4)
    trial.recovered()
    row = trial.row("B8", f"busy stream, heartbeat {5 if LONG else 1} s", "disconnects: 0")
    record(row)

    assert is_exact(row)
    assert 0 == trial.logged("broker_lost")


def test_memory_alarm(under: Under, rabbitmq: RabbitMQ, record: Record) -> None:
    """Publishers are blocked; we are none: what waits is read, and its acknowledgement too."""
    trial = under()
    with alarmed(rabbitmq):
        wait_until(lambda: waiting(rabbitmq, trial) == 0, 20, "all is read and acknowledged")
        sent = trial.stream.sent
        pause(10 if LONG else 1)
        assert sent == trial.stream.sent, "publishers are blocked"
        assert 0 == trial.logged("broker_lost")
    trial.recovered()
    row = trial.row("B9", "memory alarm", "all acknowledged during it")
    record(row)

    assert is_exact(row)
    assert 0 == trial.logged("broker_lost")


@contextmanager
def alarmed(rabbitmq: RabbitMQ) -> Iterator[None]:
    """Over the memory watermark."""
    set_to = "vm_memory_monitor:set_vm_memory_high_watermark"
    rabbitmq.ctl("eval", f'{set_to}({{absolute, "1MB"}}).')
    try:
        alarms = "rabbit_alarm:get_alarms()."
        wait_until(lambda: "memory" in rabbitmq.ctl("eval", alarms), 10, "an alarm")
        yield
    finally:
        rabbitmq.ctl("eval", f"{set_to}(0.4).")


def waiting(rabbitmq: RabbitMQ, trial: Trial) -> int:
    """Messages in the agent's queue, those that are not acknowledged included."""
    rows = rabbitmq.ctl("list_queues", "-p", trial.vhost, "--no-table-headers", "messages")
    return sum(map(int, rows.split()))


def test_queue_deleted(under: Under, rabbitmq: RabbitMQ, record: Record) -> None:
    """A new generation is declared; what was published in between is lost, and told to the unit."""
    trial = under()
    delete_queue(rabbitmq, trial.url, QUEUE)
    trial.recovered()
    row = trial.row("B10", "queue deleted under us", "published while there was no queue: lost")
    record(row)

    assert (row.lost, 0) == (row.lost_reported, row.doubled)
    assert row.recover_s < 5


def test_connections_closed(under: Under, rabbitmq: RabbitMQ, record: Record) -> None:
    """The broker ends all connections, as an operator would have it."""
    trial = under()
    for _ in range(5 if LONG else 1):
        rabbitmq.ctl("close_all_connections", "--vhost", trial.vhost, "maintenance")
        trial.recovered()
    row = trial.row("B2", "connection closed from the broker's side")
    record(row)

    assert is_exact(row)
    assert row.recover_s < 5


@at_length
def test_user_removed(under: Under, rabbitmq: RabbitMQ, record: Record) -> None:
    """Credentials revoked while connected: it is told, tried again, and well once they are back."""
    everything = (".*", ".*", ".*")
    trial = under()
    trial.end(signal.SIGTERM)
    trial.log_in("faults:pw")
    rabbitmq.ctl("add_user", "faults", "pw")
    rabbitmq.ctl("set_permissions", "-p", trial.vhost, "faults", *everything)
    trial.agent.listen()
    rabbitmq.ctl("delete_user", "faults")
    wait_until(lambda: trial.logged("broker_lost"), 20, "it is told")
    pause(10 if LONG else 1)
    rabbitmq.ctl("add_user", "faults", "pw")
    rabbitmq.ctl("set_permissions", "-p", trial.vhost, "faults", *everything)
    trial.recovered()
    row = trial.row("B14", "user removed while connected, and made again")
    record(row)

    assert is_exact(row)
    assert "pw@" not in trial.agent.output()


@at_length
def test_length_limit(under: Under, rabbitmq: RabbitMQ, record: Record) -> None:
    """The agent is away and its queue full: the broker drops the oldest, and we know how many."""
    trial = under()
    trial.end(signal.SIGTERM)
    limit = '{"max-length": 100, "overflow": "drop-head"}'
    rabbitmq.ctl("set_policy", "-p", trial.vhost, "bound", ".*", limit, "--apply-to", "queues")
    full = trial.stream.sent + 300
    wait_until(lambda: trial.stream.sent > full, 30, "more than it may hold")
    trial.agent.listen()
    trial.recovered()
    row = trial.row("B16", "queue over its length limit while the agent is away")
    record(row)

    assert row.lost > 0
    assert (row.lost, 0) == (row.lost_reported, row.doubled)


@at_length
def test_consumer_timeout(under: Under, rabbitmq: RabbitMQ, record: Record) -> None:
    """A broker that ends consumers who hold a message for 60 s, and a sink that is away longer:
    what is counted is safe in the journal, and therefore acknowledged."""
    before = rabbitmq.ctl("eval", "application:get_env(rabbit, consumer_timeout).")
    rabbitmq.ctl("eval", "application:set_env(rabbit, consumer_timeout, 60000).")
    try:
        trial = under()
        trial.receiver.down()
        pause(130)  # the broker looks once a minute
        trial.receiver.start()
        trial.recovered()
    finally:
        millis = "".join(filter(str.isdigit, before))
        rabbitmq.ctl("eval", f"application:set_env(rabbit, consumer_timeout, {millis}).")
    row = trial.row("B15", "consumer timeout of 60 s, StatsD away for 130 s")
    record(row)

    assert is_exact(row)
    assert 0 == trial.logged("broker_lost")


@pytest.mark.parametrize(
    "how",
    [pytest.param(how, marks=at_length) for how in ("killed", "suspended", "black-holed")],
)
def test_takeover(
    how: str,
    under: Under,
    rabbitmq: RabbitMQ,
    proxy: Proxy,
    record: Record,
) -> None:
    """The agent that is served goes, the one that stands by counts on; then the first is back.

    What the first had taken in, and the broker had not yet heard so, both count: what comes in
    between two checkpoints, at the most.
    """
    trial = under(port=proxy.port, env=IMPATIENT)
    trial.stand_by(trial.url.replace(str(proxy.port), str(rabbitmq.port)))
    away: dict[str, Callable[[], None]] = {
        "killed": lambda: trial.end(signal.SIGKILL),
        "suspended": lambda: os.kill(trial.agent.pid, signal.SIGSTOP),
        "black-holed": lambda: proxy.set("blackhole"),
    }
    back: dict[str, Callable[[], object]] = {
        "killed": trial.agent.listen,
        "suspended": lambda: os.kill(trial.agent.pid, signal.SIGCONT),
        "black-holed": lambda: proxy.set("pass"),
    }
    away[how]()
    trial.recovered(6 * HEARTBEAT)
    back[how]()
    pause(1.0)
    row = trial.row("B17", f"served agent {how}, another takes over", "doubled: one checkpoint")
    record(row)

    assert (0, 0) == (row.lost, row.lost_reported)
    assert row.doubled <= RATE * (CHECKPOINT + FLUSH)
