"""The Redis source, on real Redis servers."""

import base64
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from celery_statsd.errors import ConfigError
from celery_statsd.log import Log
from celery_statsd.source.base import Broker, Tls
from celery_statsd.source.envelope import BAD_ENVELOPE
from celery_statsd.source.redis import MOST, RedisSource
from tests.servers.process import Child, answers, free_port, program, wait_until
from tests.servers.redis import Redis
from tests.source.conftest import Certificates
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


@contextmanager
def client(url: str) -> Iterator[Any]:
    """redis-py's own client, to look into the server."""
    with redis.Redis.from_url(url) as found:
        yield found


@contextmanager
def special(folder: Path, *arguments: str, port: int = 0) -> Iterator[Child]:
    """A redis-server of one's own with `arguments`; `port` tells when it is up."""
    folder.mkdir()
    base = ("--bind", "127.0.0.1", "--save", "", "--dir", str(folder))
    child = Child("redis", [program("redis-server"), *arguments, *base], folder)
    child.start(lambda: answers(port) if port else list(folder.glob("*.sock")))
    try:
        yield child
    finally:
        child.kill()


def test_every_event_of_a_real_worker_arrives(redis_server: Redis, tmp_path: Path) -> None:
    """30 tasks of a prefork worker make 30 of each of the four events."""
    url = redis_server.fresh_url()
    with listening(Broker((url,))) as (source, _):
        messages = work(url, 30, tmp_path, source)
    kinds = ("task-sent", "task-received", "task-started", "task-succeeded")
    assert dict.fromkeys(kinds, 30) == counts(messages)
    assert {"application/json"} == {message.facts.content_type for message in messages}


def test_a_message_is_as_it_was_published(redis_server: Redis) -> None:
    """Body, type, encoding, sender and routing key come out of kombu's envelope."""
    url = redis_server.fresh_url()
    with listening(Broker((url,))) as (source, _):
        send(url, ["a"])
        (message,) = read_until(source, len)
    assert json.loads(message.body)["uuid"] == "a"
    assert message.facts == ("application/json", "utf-8", "worker@host")
    assert "task.started" == message.routing_key


OPTIONS: dict[str, dict[str, Any]] = {
    "none": {},
    "global_keyprefix": {"global_keyprefix": "shop:"},
    "fanout_prefix off": {"fanout_prefix": False},
    "fanout_prefix text": {"fanout_prefix": "/prod."},
    "fanout_patterns off": {"fanout_patterns": False},
    "all": {"global_keyprefix": "shop:", "fanout_prefix": "/p{db}.", "fanout_patterns": False},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("exchange", ["celeryev", "shop.events"])
def test_channels_are_named_as_kombu_names_them(
    redis_server: Redis, options: dict[str, Any], exchange: str
) -> None:
    """With the same options and exchange as the worker, its events are heard."""
    url = redis_server.fresh_url()
    broker = Broker((url,), transport_options=options, event_exchange=exchange)
    with listening(broker) as (source, _):
        send(url, names(3), options, exchange)
        assert names(3) == uuids(read_until(source, lambda seen: len(seen) >= 3))


def test_databases_and_exchanges_are_apart(redis_server: Redis) -> None:
    """Events of another database or exchange of the same server are not heard."""
    url, other = redis_server.fresh_url(), redis_server.fresh_url()
    with listening(Broker((url,))) as (source, _):
        send(other, ["of another database"])
        send(url, ["of another exchange"], exchange="elsewhere")
        send(url, ["ours"])
        assert uuids(read_until(source, len)) == ["ours"]


def test_all_at_hand_is_read_at_once(redis_server: Redis) -> None:
    """A waiting crowd comes in reads of at most MOST messages, in order."""
    url, count = redis_server.fresh_url(), MOST + 10
    body = base64.b64encode(b'{"type": "task-started", "uuid": "x"}').decode()
    with listening(Broker((url,))) as (source, _), client(url) as publisher:
        pipe = publisher.pipeline(transaction=False)
        for number in range(count):
            info = {"delivery_info": {"routing_key": str(number)}, "body_encoding": "base64"}
            envelope = json.dumps({"body": body, "properties": info})
            pipe.publish(f"/{url.rpartition('/')[2]}.celeryev/x", envelope)
        pipe.execute()
        reads = [source.read(1), source.read(1)]
    assert list(map(len, reads)) == [MOST, 10]
    assert names(count) == [message.routing_key for read in reads for message in read]


def test_nothing_is_left_in_the_broker(redis_server: Redis) -> None:
    """No key while it listens, and no subscription after it closed."""
    url = redis_server.fresh_url()
    pattern = f"/{url.rpartition('/')[2]}.celeryev/*"
    with client(url) as look:
        with listening(Broker((url,))):
            assert look.keys("*") == []
            heard = look.publish(pattern.replace("*", "x"), "{}")
        assert heard == 1
        wait_until(lambda: look.publish(pattern.replace("*", "x"), "{}") == 0, 5, "unsubscribed")
        assert look.keys("*") == []


def test_a_killed_broker_is_found_again(tmp_path: Path) -> None:
    """After kill -9 and a new start it listens again within 5 s, and counts one reconnect."""
    with Redis(tmp_path) as server, listening(Broker((server.url,))) as (source, log):
        server.kill()
        lost(source, 2)
        for _ in range(5):  # some attempts in vain
            source.read(0.2)
        server.start()
        back(source, 5)
        send(server.url, ["after"])
        assert uuids(read_until(source, len)) == ["after"]
        assert source.reconnects == 1
    told = log.getvalue()
    assert (told.count("broker_lost"), told.count("broker_back")) == (1, 1)


def test_a_killed_connection_is_never_mended_in_silence(redis_server: Redis) -> None:
    """CLIENT KILL is told as a loss, counted as one reconnect, and events come again."""
    url = redis_server.fresh_url()
    with listening(Broker((url,))) as (source, log), client(url) as admin:
        admin.client_kill_filter(_type="pubsub")
        lost(source, 2)
        back(source, 5)
        send(url, ["after"])
        assert uuids(read_until(source, len)) == ["after"]
        assert source.reconnects == 1
    assert "broker_lost" in log.getvalue()


def test_what_came_before_the_end_is_not_lost(redis_server: Redis) -> None:
    """Events that were sent before the connection was killed are read before the loss is told."""
    url = redis_server.fresh_url()
    with listening(Broker((url,))) as (source, _), client(url) as admin:
        send(url, names(20))
        admin.client_kill_filter(_type="pubsub")
        messages = read_until(source, lambda seen: len(seen) >= 20)
        assert names(20) == uuids(messages)
        lost(source, 2)


def test_a_connection_cut_within_a_message_is_a_loss(redis_server: Redis) -> None:
    """What came whole is read, the half one is not, and nothing reconnects in silence."""
    url = redis_server.fresh_url()
    with listening(Broker((url,))) as (source, log), client(url) as admin:
        send(url, ["whole"])
        # More than the sockets' buffers take: the end of it is still in Redis when it cuts.
        admin.publish(f"/{url.rpartition('/')[2]}.celeryev/x", b"x" * 24_000_000)
        admin.client_kill_filter(_type="pubsub")
        assert uuids(source.read(1)) == ["whole"]
        lost(source, 2)
        back(source, 5)
        assert source.reconnects == 1
    assert "broker_lost" in log.getvalue()


def test_a_broker_that_only_accepts_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stopped Redis accepts connections by its kernel and says nothing: lost in time."""
    monkeypatch.setattr("celery_statsd.source.redis_link.ANSWER_WITHIN", 0.3)
    with Redis(tmp_path) as server:
        with client(server.url) as look:
            pid = look.info("server")["process_id"]
        os.kill(pid, signal.SIGSTOP)
        try:
            start = time.monotonic()
            with listening(Broker((server.url,)), connected=False):
                assert time.monotonic() - start < 1
        finally:
            os.kill(pid, signal.SIGCONT)


def test_a_silent_broker_is_noticed(tmp_path: Path) -> None:
    """A stopped Redis, whose connection stays open, is noticed within 8 s, and found again."""
    with Redis(tmp_path) as server, listening(Broker((server.url,))) as (source, log):
        with client(server.url) as look:
            pid = look.info("server")["process_id"]
        os.kill(pid, signal.SIGSTOP)
        try:
            seconds = lost(source, 9)
        finally:
            os.kill(pid, signal.SIGCONT)
        back(source, 5)
    assert seconds < 8
    assert "no answer to a PING within 5 s" in log.getvalue()


def test_pings_keep_a_silent_stream_alive(
    redis_server: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An idle connection whose PINGs are answered is never given up."""
    monkeypatch.setattr("celery_statsd.source.redis.PING_EVERY", 0.05)
    monkeypatch.setattr("celery_statsd.source.redis.PONG_WITHIN", 0.3)
    with listening(Broker((redis_server.fresh_url(),))) as (source, log):
        end = time.monotonic() + 1
        while time.monotonic() < end:
            assert not source.read(0.1)
        assert source.connected
    assert "broker_lost" not in log.getvalue()


def test_a_busy_agent_is_no_lost_broker(
    redis_server: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A PONG that waits in the socket counts, however late the agent comes to read it."""
    monkeypatch.setattr("celery_statsd.source.redis.PING_EVERY", 0.05)
    monkeypatch.setattr("celery_statsd.source.redis.PONG_WITHIN", 0.0)
    with listening(Broker((redis_server.fresh_url(),))) as (source, _), client(source._url) as look:
        for _ in range(5):
            asked = look.info("commandstats")["cmdstat_ping"]["calls"]
            source.read(0)  # sends a PING, once it is time
            wait_until(
                lambda asked=asked: (
                    source.read(0) is None
                    or look.info("commandstats")["cmdstat_ping"]["calls"] > asked
                ),
                5,
                "a PING was answered",
            )
        assert source.connected


def test_a_wrong_password_is_told_without_it(tmp_path: Path) -> None:
    """The log says that the login was refused; the password is in no line, nor in the place."""
    port = free_port()
    with special(tmp_path / "own", "--port", str(port), "--requirepass", "right", port=port):
        broker = Broker((f"redis://:wr%2Fong-pw@127.0.0.1:{port}/0",))
        with listening(broker, connected=False) as (source, log):
            assert f"redis://127.0.0.1:{port}/0" == source.place
        assert "login refused" in log.getvalue()
        assert "wr%2Fong-pw" not in log.getvalue()
        assert "wr/ong-pw" not in log.getvalue()
        with listening(Broker((f"redis://:right@127.0.0.1:{port}/0",))):
            pass


def test_few_rights_are_enough(redis_server: Redis) -> None:
    """A user who may only subscribe to the event channels and PING can listen."""
    rules = ("on", ">pw", "resetchannels", "-@all", "&/0.celeryev/*", "+psubscribe", "+ping")
    with client(redis_server.url) as admin:
        admin.execute_command("ACL", "SETUSER", "statsd", *rules)
    url = f"redis://statsd:pw@127.0.0.1:{redis_server.port}/0"
    with listening(Broker((url,))) as (source, _):
        send(redis_server.url, ["a"])
        assert uuids(read_until(source, len)) == ["a"]


def test_missing_rights_are_told(redis_server: Redis) -> None:
    """A user who may not subscribe gives a lost broker with the reason."""
    with client(redis_server.url) as admin:
        rules = ("on", ">pw", "resetchannels", "-@all", "+psubscribe", "+ping")
        admin.execute_command("ACL", "SETUSER", "nobody", *rules)
    url = f"redis://nobody:pw@127.0.0.1:{redis_server.port}/0"
    with listening(Broker((url,)), connected=False) as (_, log):
        assert "access refused" in log.getvalue()


def test_a_refused_lease_is_told_once(redis_server: Redis) -> None:
    """However often it connects: here, where it may not hear the events either, for ever."""
    with client(redis_server.url) as admin:
        rules = ("on", ">pw", "resetchannels", "-@all", "+ping")
        admin.execute_command("ACL", "SETUSER", "mute", *rules)

        def tried() -> int:
            refused = [row for row in admin.acl_log() if row["username"] == "mute"]
            return int(max((row["count"] for row in refused), default=0))

        url = f"redis://mute:pw@127.0.0.1:{redis_server.port}/0"
        with listening(Broker((url,), chorus=True), connected=False) as (source, log):
            wait_until(lambda: (source.read(0.1), tried() >= 3)[1], 20, "it tries again")
            assert 1 == log.getvalue().count("lease_refused")


@pytest.fixture(scope="module")
def tls_port(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[int]:
    """Where a Redis speaks TLS, under a certificate for localhost."""
    port = free_port()
    arguments = (
        *("--port", "0", "--tls-port", str(port), "--tls-auth-clients", "no"),
        *("--tls-cert-file", str(certificates.cert), "--tls-key-file", str(certificates.key)),
        *("--tls-ca-cert-file", str(certificates.ca)),
    )
    with special(tmp_path_factory.mktemp("tls") / "own", *arguments, port=port):
        yield port


@pytest.mark.parametrize("scheme", ["rediss", "redis"])
def test_a_trusted_certificate_connects(
    tls_port: int, certificates: Certificates, scheme: str
) -> None:
    """Over TLS, with the authority given; redis:// with tls on is the same as rediss://."""
    tls = Tls(on=True, ca_file=str(certificates.ca))
    with listening(Broker((f"{scheme}://localhost:{tls_port}/0",), tls)) as (source, _):
        assert not source.read(0.1)
        assert source.connected


@pytest.mark.parametrize(
    ("host", "authority", "reason"),
    [
        ("localhost", "stranger", "certificate verify failed"),
        ("localhost", None, "certificate verify failed"),
        ("127.0.0.1", "ca", "IP address mismatch"),
    ],
)
def test_a_certificate_that_is_not_trusted_is_refused(
    tls_port: int, certificates: Certificates, host: str, authority: str | None, reason: str
) -> None:
    """An unknown authority, the system's authorities, another host name: no connection."""
    ca = str(getattr(certificates, authority)) if authority else None
    broker = Broker((f"rediss://{host}:{tls_port}/0",), Tls(ca_file=ca))
    with listening(broker, connected=False) as (_, log):
        assert reason in log.getvalue()


@pytest.mark.parametrize(
    ("options", "tls"), [("", Tls(verify=False)), ("?ssl_cert_reqs=CERT_NONE", Tls())]
)
def test_verification_can_be_turned_off_and_is_told(tls_port: int, options: str, tls: Tls) -> None:
    """Only when asked for, by setting or URL, any certificate does; a warning says so."""
    broker = Broker((f"rediss://127.0.0.1:{tls_port}/0{options}",), tls)
    with listening(broker) as (_, log):
        assert "broker_unverified" in log.getvalue()


def test_the_authority_may_stand_in_the_url(tls_port: int, certificates: Certificates) -> None:
    """`ssl_ca_certs` in the URL, as Celery takes it, is what the certificate is verified by."""
    url = f"rediss://localhost:{tls_port}/0?ssl_cert_reqs=required&ssl_ca_certs={certificates.ca}"
    with listening(Broker((url,))) as (_, log):
        assert "broker_unverified" not in log.getvalue()


def test_a_unix_socket_does_too(tmp_path: Path) -> None:
    """redis+socket:///path, kombu's way to name one, with the database as virtual_host."""
    path = tmp_path / "own" / "redis.sock"
    with special(tmp_path / "own", "--port", "0", "--unixsocket", str(path)):
        url = f"redis+socket://{path}?virtual_host=3"
        with listening(Broker((url,))) as (source, _):
            send(url, ["a"])
            assert uuids(read_until(source, len)) == ["a"]


def test_sentinel_leads_to_the_master(redis_server: Redis, tmp_path: Path) -> None:
    """With a dead sentinel first in the list, the second names the master."""
    port, dead = free_port(), free_port()
    folder = tmp_path / "sentinel"
    folder.mkdir()
    settings = folder / "sentinel.conf"
    settings.write_text(f"sentinel monitor shop 127.0.0.1 {redis_server.port} 1\n")
    command = [program("redis-server"), settings, "--sentinel", "--port", str(port)]
    sentinel = Child("sentinel", [*command, "--bind", "127.0.0.1"], folder)
    sentinel.start(lambda: answers(port))
    try:
        urls = (f"sentinel://127.0.0.1:{dead}/5", f"sentinel://127.0.0.1:{port}/5")
        broker = Broker(urls, transport_options={"master_name": "shop"})
        start = time.monotonic()
        with listening(broker) as (source, _):
            assert time.monotonic() - start < 3
            assert source.place == ";".join(urls)
            send(f"redis://127.0.0.1:{redis_server.port}/5", ["a"])
            assert uuids(read_until(source, len)) == ["a"]
    finally:
        sentinel.kill()


def test_a_dead_first_url_is_passed_over(redis_server: Redis) -> None:
    """The next URL is tried after a failure, and named as the place."""
    url = redis_server.fresh_url()
    broker = Broker((f"redis://127.0.0.1:{free_port()}/0", url))
    with listening(broker, connected=False) as (source, _):
        back(source, 3)
        assert url == source.place


@pytest.mark.parametrize(
    ("broker", "key"),
    [
        (Broker(("sentinel://localhost",)), "transport_options"),
        (Broker(("rediss://localhost",), Tls(server_name="other")), "tls_server_name"),
    ],
)
def test_what_cannot_be_done_is_a_config_error(broker: Broker, key: str) -> None:
    """Sentinel without a master's name, a certificate name other than the host's."""
    with pytest.raises(ConfigError) as caught:
        RedisSource(broker, Log())
    assert key == caught.value.key


def test_a_broken_envelope_does_not_end_the_stream(redis_server: Redis) -> None:
    """A bad message is one message; the next one is read as usual."""
    url = redis_server.fresh_url()
    with listening(Broker((url,))) as (source, _), client(url) as publisher:
        publisher.publish(f"/{url.rpartition('/')[2]}.celeryev/x", "rubbish")
        send(url, ["a"])
        bad, good = read_until(source, lambda seen: len(seen) == 2)
    assert (bad.body, bad.facts.content_type) == (b"rubbish", BAD_ENVELOPE)
    assert uuids([good]) == ["a"]
