"""The RabbitMQ source, on a real RabbitMQ."""

import contextlib
import os
import signal
import socket
import time
from pathlib import Path

import amqp
import pytest

from celery_statsd.source.amqp import AmqpSource
from celery_statsd.source.base import Broker, Facts, Message, Tls
from celery_statsd.source.queue import PREFETCH
from tests.servers.process import free_port, wait_until
from tests.servers.rabbitmq import RabbitMQ
from tests.source.conftest import Certificates
from tests.source.rabbit import (
    channel,
    event,
    publish,
    queue_of,
    queues,
    ready,
    stop_queue,
    unread,
    vhost,
)
from tests.source.stream import (
    back,
    counts,
    listening,
    lost,
    names,
    read_until,
    send,
    uuids,
    work,
)


@pytest.fixture
def url(rabbitmq: RabbitMQ) -> str:
    """A vhost of one's own."""
    return rabbitmq.fresh_url()


def test_every_event_of_a_real_worker_arrives(url: str, tmp_path: Path) -> None:
    """30 tasks of a prefork worker make 30 of each of the four events."""
    with listening(Broker((url,))) as (source, _):
        messages = work(url, 30, tmp_path, source)
    kinds = ("task-sent", "task-received", "task-started", "task-succeeded")
    assert dict.fromkeys(kinds, 30) == counts(messages)


def test_a_message_is_as_it_was_published(url: str) -> None:
    """Body, type, encoding, sender and routing key are those of the delivery."""
    with listening(Broker((url,))) as (source, _):
        send(url, ["a"])
        (message,) = read_until(source, len)
    assert uuids([message]) == ["a"]
    assert message.facts == ("application/json", "utf-8", "worker@host")
    assert "task.started" == message.routing_key


def test_another_exchange_can_be_listened_to(url: str) -> None:
    """Only events of the exchange that was asked for are heard."""
    with listening(Broker((url,), event_exchange="shop.events")) as (source, _):
        send(url, ["of the usual exchange"])
        send(url, ["ours"], exchange="shop.events")
        assert uuids(read_until(source, len)) == ["ours"]


def test_read_messages_are_held_until_they_are_acknowledged(url: str) -> None:
    """What was read after the last `ack` comes again on the next connection, and nothing else."""
    broker = Broker((url,))
    with listening(broker) as (source, _):
        assert isinstance(source, AmqpSource)
        send(url, names(5))
        read_until(source, lambda seen: len(seen) == 5)
        send(url, names(5, start=5))
        seen: list[Message] = []
        while len(seen) < 5:
            seen += source.read(1)
        source._socket.shutdown(socket.SHUT_RDWR)
        assert names(5, start=5) == uuids(read_until(source, lambda seen: len(seen) == 5))
    with unread(broker) as (source, _):
        send(url, ["the next"])
        assert uuids(read_until(source, len)) == ["the next"]


def test_a_broker_hands_out_no_more_than_the_prefetch(url: str) -> None:
    """Without an acknowledgement the stream pauses; with it all the rest comes."""
    with listening(Broker((url,))) as (source, _):
        send(url, names(PREFETCH + 100))
        messages = []
        while len(messages) < PREFETCH:
            messages += source.read(5)
            assert source.needs_ack == (len(messages) >= PREFETCH / 2)
        assert tuple(source.read(0.3)) == ()
        source.ack()
        assert not source.needs_ack
        messages += read_until(source, lambda seen: len(seen) >= 100)
    assert names(PREFETCH + 100) == uuids(messages)


def test_a_read_is_bounded_by_bytes(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much is waiting: past the bound it ends, and an acknowledgement is due."""
    monkeypatch.setattr("celery_statsd.source.amqp.HEAVY", 100)
    monkeypatch.setattr("celery_statsd.source.amqp.PORTION", 64)
    with listening(Broker((url,))) as (source, _):
        publish(url, names(20))
        with channel(url) as plain:
            wait_until(lambda: ready(plain, queue_of(source)) == 0, 5, "handed out")
        first = source.read(5)
        assert sum(len(message.body) for message in first[:-1]) < 100
        assert source.needs_ack
        source.ack()
        assert not source.needs_ack
        rest = read_until(source, lambda seen: len([*first, *seen]) >= 20)
        assert names(20) == uuids([*first, *rest])


def test_sleeping_for_longer_than_a_heartbeat_ends_the_connection(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits in the socket then may be another's by now: it is not read, but comes again."""
    with listening(Broker((url,))) as (source, log):
        publish(url, names(20))
        with channel(url) as plain:
            wait_until(lambda: ready(plain, queue_of(source)) == 0, 5, "handed out")
        monkeypatch.setattr("celery_statsd.source.amqp.HEARTBEAT", 0.0)
        assert () == source.read(0)
        assert not source.connected
        monkeypatch.undo()
        assert names(20) == uuids(read_until(source, lambda seen: len(seen) >= 20))
    assert "we slept for" in log.getvalue()


def test_a_missing_exchange_is_declared_as_celery_does(rabbitmq: RabbitMQ, url: str) -> None:
    """A durable topic, so that a worker's own declaration agrees."""
    with listening(Broker((url,))):
        found = rabbitmq.management(f"exchanges/{vhost(url)}/celeryev")
        send(url, ["a"])
    assert (found["type"], found["durable"], found["auto_delete"]) == ("topic", True, False)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("guest:guest", "guest:wr%2Fong-pw"), "access refused"),
        (("/test", "/nowhere"), "not allowed"),
        (("guest:guest", "nobody:secret-pw"), "access refused"),
    ],
)
def test_a_refusal_is_told_without_the_password(
    url: str, change: tuple[str, str], reason: str
) -> None:
    """A wrong password, no such vhost, no such user: one line with the reason."""
    with listening(Broker((url.replace(*change),)), connected=False) as (source, log):
        assert "@127.0.0.1" in source.place
    told = log.getvalue()
    assert reason in told
    assert not [word for word in ("wr%2Fong", "wr/ong", "secret-pw", ":guest@") if word in told]


def test_a_connection_closed_by_the_broker_is_opened_again(rabbitmq: RabbitMQ, url: str) -> None:
    """Told as a loss, counted as one reconnect, and events come again."""
    with listening(Broker((url,))) as (source, log):
        rabbitmq.ctl("close_all_connections", "--vhost", vhost(url), "maintenance")
        lost(source, 5)
        back(source, 5)
        send(url, ["after"])
        assert uuids(read_until(source, len)) == ["after"]
        assert source.reconnects == 1
    assert "maintenance" in log.getvalue()


def test_what_came_before_the_end_is_not_lost(rabbitmq: RabbitMQ, url: str) -> None:
    """Events delivered before the broker closed are read first, then the loss is told."""
    with listening(Broker((url,))) as (source, log):
        publish(url, names(20))
        with channel(url) as plain:
            wait_until(lambda: ready(plain, queue_of(source)) == 0, 5, "handed out")
        rabbitmq.ctl("close_all_connections", "--vhost", vhost(url), "maintenance")
        assert names(20) == uuids(source.read(5))
        assert source.connected
        source.ack()
        lost(source, 5)
    assert "maintenance" in log.getvalue()


def test_heartbeats_keep_an_idle_and_a_busy_connection(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a heartbeat of 1 s the broker would close after 3 s without one of ours."""
    monkeypatch.setattr("celery_statsd.source.amqp.HEARTBEAT", 1)
    with listening(Broker((url,))) as (idle, _), listening(Broker((url,))) as (busy, _):
        end = time.monotonic() + 4
        while time.monotonic() < end:
            send(url, names(20))
            busy.read(0.1)  # never a silent moment, and nothing of ours but heartbeats
            assert len(idle.read(0.1)) < 5000
        assert (
            idle.reconnects,
            busy.reconnects,
            idle.connected,
            busy.connected,
        ) == (0, 0, True, True)


def test_a_silent_broker_is_noticed_and_left(
    rabbitmq: RabbitMQ, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stopped RabbitMQ is lost after two heartbeats, and closing waits no longer than asked."""
    monkeypatch.setattr("celery_statsd.source.amqp.HEARTBEAT", 1)
    monkeypatch.setattr("celery_statsd.source.amqp_link.ANSWER_WITHIN", 0.5)
    node = int(rabbitmq.ctl("eval", "list_to_integer(os:getpid()).").strip())
    with listening(Broker((url,))) as (lost_one, log), listening(Broker((url,))) as (closed, _):
        os.kill(node, signal.SIGSTOP)
        try:
            start = time.monotonic()
            closed.close()
            assert time.monotonic() - start < 1
            assert lost(lost_one, 5) < 4
        finally:
            os.kill(node, signal.SIGCONT)
        back(lost_one, 5)
    assert "heartbeats missed" in log.getvalue()


def test_a_killed_broker_is_found_again_with_all_it_had(rabbitmq: RabbitMQ, url: str) -> None:
    """After kill -9 and a new start it listens again within 5 s, and counts one reconnect; each
    event that was confirmed, though transient, comes once: none of them was acknowledged."""
    published: list[str] = []
    with listening(Broker((url,))) as (source, log):
        with channel(url, confirms=True) as plain:
            old = time.monotonic() + 2.5  # of a younger quorum queue RabbitMQ may keep nothing
            while time.monotonic() < old:
                published.append(str(len(published)))
                plain.basic_publish(event(published[-1]), "celeryev", "task.started")
            rabbitmq.kill()
            with contextlib.suppress(OSError, amqp.AMQPError):
                plain.connection.collect()
        lost(source, 5)
        for _ in range(4):  # some attempts in vain
            source.read(0.2)
        rabbitmq.start()
        messages = read_until(source, len, 5)
        messages += read_until(source, lambda rest: len(messages + rest) >= len(published))
        assert published == uuids(messages)
        assert source.reconnects == 1
    told = log.getvalue()
    assert (told.count("broker_lost"), told.count("broker_back")) == (1, 1)


def test_a_memory_alarm_stops_neither_reading_nor_acknowledging(
    rabbitmq: RabbitMQ, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker stops listening to publishers, acknowledgements included; we are none."""
    monkeypatch.setattr("celery_statsd.source.queue.PREFETCH", 5)
    monkeypatch.setattr("celery_statsd.source.amqp.LOOK_EVERY", 0.0)
    set_to, alarms = "vm_memory_monitor:set_vm_memory_high_watermark", "rabbit_alarm:get_alarms()"
    with listening(Broker((url,))) as (source, _):
        send(url, names(30))
        try:
            rabbitmq.ctl("eval", f'{set_to}({{absolute, "1MB"}}).')
            wait_until(lambda: "memory" in rabbitmq.ctl("eval", f"{alarms}."), 5, "an alarm")
            assert names(30) == uuids(read_until(source, lambda seen: len(seen) >= 30))
            wait_until(lambda: not source.read(0) and source.backlog == 0, 5, "nothing waits")
        finally:
            rabbitmq.ctl("eval", f"{set_to}(0.4).")
        assert source.connected
        assert queues(rabbitmq, url, "messages") == [["0"]]


def test_what_waits_in_the_queue_is_known(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is ready, without what was handed out; nothing is known without a connection."""
    monkeypatch.setattr("celery_statsd.source.queue.PREFETCH", 10)
    monkeypatch.setattr("celery_statsd.source.amqp.LOOK_EVERY", 0.1)
    with listening(Broker((url,))) as (source, _):
        send(url, names(25))
        for expected in (15, 5, 0):
            wait_until(lambda: source.read(0.1) == () and source.backlog == expected, 5, "backlog")  # noqa: B023
            source.ack()
    assert source.backlog is None


def test_a_queue_that_forgot_us_is_noticed(
    rabbitmq: RabbitMQ, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RabbitMQ does not tell the consumers of a quorum queue that went down; it is replaced."""
    monkeypatch.setattr("celery_statsd.source.amqp.LOOK_EVERY", 0.1)
    with listening(Broker((url,))) as (source, log):
        stop_queue(rabbitmq, url, "celeryev.statsd.default")
        lost(source, 5)
        back(source, 10)
        send(url, ["after"])
        assert uuids(read_until(source, len)) == ["after"]
        assert queue_of(source) == "celeryev.statsd.default.g2"
    assert "the event queue does not know us any more" in log.getvalue()


def test_a_dead_first_url_is_passed_over(url: str) -> None:
    """The next URL is tried after a failure, and named as the place; one list with `;` is two."""
    dead = f"amqp://guest:guest@127.0.0.1:{free_port()}//"
    with listening(Broker((f"{dead};{url}",)), connected=False) as (source, log):
        back(source, 3)
        assert url.replace(":guest@", "@") == source.place
    assert "nobody listens there" in log.getvalue()


@pytest.fixture(scope="module")
def tls_port(rabbitmq: RabbitMQ, certificates: Certificates) -> int:
    """Where the RabbitMQ speaks TLS too, under a certificate for localhost."""
    port = free_port()
    files = f'[{{certfile, "{certificates.cert}"}}, {{keyfile, "{certificates.key}"}}]'
    listener = f'{{"127.0.0.1", {port}}}'
    rabbitmq.ctl("eval", "application:ensure_all_started(ssl).")
    rabbitmq.ctl("eval", f"rabbit_networking:start_ssl_listener({listener}, {files}, 2).")
    return port


def test_a_trusted_certificate_connects(
    url: str, tls_port: int, certificates: Certificates
) -> None:
    """Over TLS, with the authority given; and by the name that was told to expect."""
    secure = f"amqps://guest:guest@localhost:{tls_port}/{vhost(url)}"
    ca = str(certificates.ca)
    named = Tls(ca_file=ca, server_name="localhost")
    for broker in (
        Broker((secure,), Tls(ca_file=ca)),
        Broker((secure.replace("@localhost", "@127.0.0.1"),), named),
        Broker((secure.replace("amqps", "amqp"),), Tls(on=True, ca_file=ca)),
    ):
        with listening(broker) as (source, _):
            send(url, names(50))
            assert names(50) == uuids(read_until(source, lambda seen: len(seen) >= 50))


@pytest.mark.parametrize(
    ("host", "authority"), [("localhost", "stranger"), ("localhost", None), ("127.0.0.1", "ca")]
)
def test_a_certificate_that_is_not_trusted_is_refused(
    tls_port: int, certificates: Certificates, host: str, authority: str | None
) -> None:
    """An unknown authority, the system's authorities, another host name: no connection."""
    ca = str(getattr(certificates, authority)) if authority else None
    broker = Broker((f"amqps://guest:guest@{host}:{tls_port}//",), Tls(ca_file=ca))
    with listening(broker, connected=False) as (_, log):
        assert "the broker's certificate is not trusted" in log.getvalue()


def test_verification_can_be_turned_off_and_is_told(url: str, tls_port: int) -> None:
    """Only when asked for any certificate does; a warning says so."""
    broker = Broker((f"amqps://guest:guest@127.0.0.1:{tls_port}/{vhost(url)}",), Tls(verify=False))
    with listening(broker) as (_, log):
        assert "broker_unverified" in log.getvalue()


def test_odd_messages_are_messages(url: str) -> None:
    """No type, no header, an empty body, a sender that is no text: read as they are."""
    odd = [
        amqp.Message(b""),
        amqp.Message(b"x", application_headers={"hostname": 7}),
        amqp.Message(b"\xff\xfe", content_encoding="utf-8", content_type="text/plain"),
    ]
    with listening(Broker((url,))) as (source, _), channel(url) as plain:
        for message in odd:
            plain.basic_publish(message, "celeryev", "any.key")
        seen = read_until(source, lambda seen: len(seen) == 3)
    assert seen == [
        Message(b"", Facts(), "any.key"),
        Message(b"x", Facts(), "any.key"),
        Message(b"\xff\xfe", Facts("text/plain", "utf-8"), "any.key"),
    ]
