"""Redis: the fan-out of events, taken from redis-py's connection below kombu.

kombu works out how to connect (TLS, Sentinel, Unix sockets) and what the channel is called. Its
own receiver is not used: it never notices a broker that stopped answering. Nor is redis-py's
PubSub: even with retries off it connects again before it raises, so a gap could go unseen.
Redis keeps nothing for a subscriber who is away, and so nothing is left behind in it.
"""

import itertools
import ssl
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import msgspec
from kombu.connection import Connection
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError
from redis.retry import Retry

from celery_statsd.errors import BrokerLost, ConfigError
from celery_statsd.log import Log
from celery_statsd.names import escape
from celery_statsd.source.base import (
    LONGEST_FACTS,
    Broker,
    Facts,
    Message,
    Said,
    Source,
    Tls,
    Turn,
    place_of,
    scrubbed,
)
from celery_statsd.source.lease import Lease
from celery_statsd.source.resp import Subscriber

PING_EVERY = 2.0
"""Seconds between two PINGs on the subscribed connection."""

PONG_WITHIN = 5.0
"""Seconds after a PING in which something has to arrive, or the broker counts as lost."""

ANSWER_WITHIN = 5.0
"""Seconds to connect, and for each answer."""

MOST_KNOWN = 10_000
"""What messages have in common that is remembered: one for each sender and kind."""

MOST = 5000
"""Messages of one read."""

BAD_ENVELOPE = "application/x-bad-envelope"
"""The content type of a message whose envelope cannot be read; its body is the envelope."""

_HEAD, _TAG = b'{"body": "', b'"delivery_tag": "'
_TAGGED = len(_TAG) + 36 + len(b'"}}')  # bytes from there to the end: a UUID, quoted
_BAD = Facts(BAD_ENVELOPE)
_GONE = (RedisError, OSError, ValueError)
_WORDS: tuple[tuple[type[Exception], str], ...] = (
    (AuthenticationError, "login refused"),
    (NoPermissionError, "access refused"),
    (Exception, "the connection failed or broke"),
)
_ARRIVALS = {b"pmessage", b"message"}


class _Headers(msgspec.Struct):
    hostname: str = ""


class _DeliveryInfo(msgspec.Struct):
    routing_key: str = ""


class _Properties(msgspec.Struct):
    body_encoding: str | None = None
    delivery_info: _DeliveryInfo = msgspec.field(default_factory=_DeliveryInfo)


class _Envelope(msgspec.Struct, rename="kebab"):
    """What kombu wraps around a body (kombu.transport.virtual.base.Channel.prepare_message)."""

    body: msgspec.Raw
    content_type: str | None = None
    content_encoding: str | None = None
    headers: _Headers = msgspec.field(default_factory=_Headers)
    properties: _Properties = msgspec.field(default_factory=_Properties)


_envelope = msgspec.json.Decoder(_Envelope).decode
_base64 = msgspec.json.Decoder(bytes).decode
_text = msgspec.json.Decoder(str).decode


def _plain(raw: msgspec.Raw) -> bytes:
    return _text(raw).encode()


_BODIES = {"base64": _base64, "utf-8": _plain, None: _plain}


class RedisSource(Source):
    """Events from Redis, plain, with TLS, on a Unix socket or behind Sentinel."""

    def __init__(self, broker: Broker, log: Log) -> None:
        """Raises ConfigError for what Redis cannot be asked for."""
        super().__init__(log)
        _refuse_impossible(broker)
        self._broker = broker
        # Sentinels are no alternatives: kombu asks them all for the one master.
        choices = (";".join(broker.urls),) if _is_sentinel(broker) else broker.urls
        self._url = choices[0]
        self._urls = itertools.cycle(choices)
        self._kombu: Any = None
        self._connection: Any = None
        self._heard_at = self._pinged_at = 0.0
        self._end: BrokerLost | None = None
        self._prefix = ""
        self._early: deque[Any] = deque()
        self._subscriber: Any = None
        self._unwrapper = Unwrapper()
        self._lease: Lease | None = None
        self._alone = self._refused = False  # what the last lease knew
        self._turn: Turn | None = None

    @property
    def place(self) -> str:
        return place_of(self._url)

    @property
    def chorus(self) -> bool:
        return self._broker.chorus and not (self._lease.refused if self._lease else self._refused)

    @property
    def alone(self) -> bool:
        return self._lease.alone if self._lease else self._alone

    def retire(self) -> None:
        """Told to Redis, which also answers who else is there."""
        if lease := self._lease:
            lease.retire()

    def turn(self) -> Turn | None:
        turn, self._turn = self._turn, None
        return turn

    def mark(self, stamp: float, last: bool = False) -> None:
        """Granted to the holder of the lease: see `lease`."""
        if lease := self._lease:
            lease.mark(stamp, last)

    def say(self, said: Said) -> None:
        """Published, and kept for those who are still to come."""
        if lease := self._lease:
            lease.say(said)

    def doubt(self, reason: str) -> None:
        """Leave this server, and ask anew which one is the master."""
        self._lost(BrokerLost(f"{reason}, though the broker answers"))

    def ack(self) -> None:
        """Nothing to do: Redis has no memory of what it sent."""

    def _open(self) -> None:
        self._url = next(self._urls)
        self._end = None
        with self._told():
            pool, pattern = self._prepare()
            self._connection = pool.get_connection()
            self._subscriber = Subscriber(self._connection._sock)
            # The marks first: none may pass between two events unheard.
            lease = self._chorus_at(pool) if self._broker.chorus else None
            self._subscribe("PSUBSCRIBE", pattern)
            self._turn = lease.open() if lease else None
        self._heard_at = self._pinged_at = time.monotonic()

    def _subscribe(self, command: str, channel: str) -> None:
        self._connection.send_command(command, channel, check_health=False)
        confirmed = False
        while not confirmed:
            for reply in self._subscriber.replies():
                if isinstance(reply, Exception):
                    raise reply
                if reply[0] in _ARRIVALS:
                    self._early.append(reply)
                else:
                    confirmed = True

    def _chorus_at(self, pool: Any) -> Lease | None:
        """The lease of our chorus, whose marks are subscribed to; None when that is refused."""
        connection, broker = pool.get_connection(), self._broker
        place = f"{self._prefix}celery-statsd/{connection.db}/{broker.event_exchange}"
        name = f"{place}/{escape(broker.group)}"
        self._lease = Lease(name, self.identity, connection, self._log)
        try:
            self._subscribe("SUBSCRIBE", name)
        except NoPermissionError as error:
            self._lease.refuse(error)
            return None
        return self._lease

    def _prepare(self) -> tuple[Any, str]:
        """kombu's pool of connections, and the pattern of the event channels."""
        self._kombu = Connection(  # type: ignore[no-untyped-call]
            self._url,
            ssl=_tls(self._broker.tls),
            connect_timeout=ANSWER_WITHIN,
            transport_options=_options(self._broker),
        )
        # Not connection.channel(): that sleeps and tries a second time.
        transport = self._kombu.transport
        channel = transport.create_channel(transport.establish_connection())
        pool = channel.pool  # it also writes the database's number into the prefix
        self._prefix = channel.global_keyprefix
        return pool, _pattern(channel, self._broker.event_exchange)

    def _read(self, timeout: float) -> Sequence[Message]:
        messages: list[Message] = []
        try:
            with self._told():
                self._listen(messages, timeout)
        except BrokerLost as error:
            if not messages:
                raise
            self._end = error  # raised by the next read: what arrived before the end comes first
        return messages

    def _listen(self, messages: list[Message], timeout: float) -> None:
        if self._end:
            raise self._end
        deadline = time.monotonic() + timeout
        while not (messages or self._turn):
            self._drain(messages, min(PING_EVERY / 2, max(0.0, deadline - time.monotonic())))
            self._beat()
            if time.monotonic() >= deadline:
                return

    def _drain(self, messages: list[Message], wait: float) -> None:
        """Take in all that is at hand, waiting up to `wait` seconds for the first."""
        if not (self._early or self._subscriber.wait(wait)):
            return
        while len(messages) < MOST and self._turn is None:
            if not self._early:
                self._early.extend(self._subscriber.replies())
            while self._early and self._turn is None and len(messages) < MOST:
                self._arrive(self._early.popleft(), messages)
            if not (self._early or self._subscriber.wait(0)):
                break
        self._heard_at = time.monotonic()

    def _arrive(self, reply: Any, messages: list[Message]) -> None:
        if isinstance(reply, Exception):
            raise reply
        if not isinstance(reply, list) or reply[0] not in _ARRIVALS:
            return  # a PONG
        if self._lease is None or reply[-2] != self._lease.wire_channel:
            messages.append(self._unwrapper.message(reply[-1]))
            return
        try:
            self._turn = self._lease.hear(reply[-1])
        except (msgspec.MsgspecError, RecursionError):
            messages.append(Message(reply[-1], _BAD))

    def _beat(self) -> None:
        """Send a PING when it is time to. Raises BrokerLost when the last one was in vain.

        Called after the draining: what was waiting in the socket is a sign of life.
        """
        now = time.monotonic()
        if self._heard_at < self._pinged_at and now - self._pinged_at > PONG_WITHIN:
            raise BrokerLost(f"no answer to a PING within {PONG_WITHIN:g} s")
        if self._heard_at >= self._pinged_at and now - self._pinged_at >= PING_EVERY:
            self._connection.send_command("PING", check_health=False)
            self._pinged_at = now

    def _drop(self) -> None:
        lease, self._lease = self._lease, None
        if lease is not None:
            self._alone, self._refused = lease.alone, lease.refused
            lease.leave()
        self._turn = None
        self._early.clear()
        kombu, self._kombu = self._kombu, None
        connection, self._connection = self._connection, None
        with suppress(*_GONE):
            if connection is not None:
                connection.disconnect()  # shuts the socket down; nothing is sent
            if kombu is not None:
                kombu.release()

    def _leave(self) -> None:
        # Redis forgets a subscriber with its connection: there is nothing to say.
        self._drop()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Make BrokerLost of whatever redis-py raises."""
        try:
            yield
        except _GONE as error:
            raise BrokerLost(_sentence(error, self._url)) from error


class Unwrapper:
    """Takes messages out of kombu's envelopes.

    An envelope is a JSON object (kombu.transport.virtual.base.Channel.prepare_message): the body
    in base64 first, a tag of its own last, and between them what all messages of one sender have
    in common. That is read once. The body ends at the first quote, for base64 has none.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[Facts, str]] = {}

    def message(self, envelope: bytes) -> Message:
        """The message in `envelope`; never raises (see BAD_ENVELOPE)."""
        end, tag = envelope.find(b'"', len(_HEAD)), envelope.rfind(_TAG)
        known = self._known.get(envelope[end:tag])
        if known is None:
            return self._learnt(envelope, end, tag)
        body = _body(envelope, end, tag)
        return unwrapped(envelope) if body is None else Message(body, *known)

    def _learnt(self, envelope: bytes, end: int, tag: int) -> Message:
        """Read all of it, and know what it has in common with others if it is what it looks like:
        then they can be read by their looks."""
        message, common = unwrapped(envelope), envelope[end:tag]
        plain = message.body == _body(envelope, end, tag) and b"\\" not in common
        if plain and len(common) <= LONGEST_FACTS:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[common] = message.facts, message.routing_key
        return message


def _body(envelope: bytes, end: int, tag: int) -> bytes | None:
    """The body that ends there, before a tag that begins there; None when that cannot be."""
    if not envelope.startswith(_HEAD) or len(envelope) != tag + _TAGGED:
        return None
    try:
        return _base64(envelope[len(_HEAD) - 1 : end + 1])
    except msgspec.MsgspecError:
        return None


def unwrapped(envelope: bytes) -> Message:
    """As `Unwrapper.message`, whatever the envelope looks like."""
    try:
        parts = _envelope(envelope)
        body = _BODIES[parts.properties.body_encoding](parts.body)
    except (msgspec.MsgspecError, KeyError, ValueError, RecursionError):
        return Message(envelope, _BAD)
    facts = Facts(parts.content_type or "", parts.content_encoding or "", parts.headers.hostname)
    return Message(body, facts, parts.properties.delivery_info.routing_key)


def _pattern(channel: Any, exchange: str) -> str:
    """What to subscribe to: the names kombu publishes under (Channel._get_publish_topic)."""
    name = f"{channel.global_keyprefix}{channel.keyprefix_fanout}{exchange}"
    return f"{name}/*" if channel.fanout_patterns else name


def _is_sentinel(broker: Broker) -> bool:
    return broker.urls[0].startswith("sentinel://")


def _refuse_impossible(broker: Broker) -> None:
    if _is_sentinel(broker) and not broker.transport_options.get("master_name"):
        raise ConfigError(
            "transport_options", "Sentinel needs a master_name", "add master_name: mymaster"
        )
    if broker.tls.on and broker.tls.server_name:
        raise ConfigError(
            "tls_server_name",
            "Redis is always verified under the host name of its URL",
            "write the certificate's name into the broker URL and remove tls_server_name",
        )


def _options(broker: Broker) -> dict[str, Any]:
    """The user's options under ours: no call waits for ever, and nothing reconnects by itself."""
    once = {"retry": Retry(NoBackoff(), 0), "socket_timeout": ANSWER_WITHIN}
    sentinels = once | dict(broker.transport_options.get("sentinel_kwargs") or {})
    return dict(broker.transport_options) | {
        "socket_timeout": ANSWER_WITHIN,
        "socket_connect_timeout": ANSWER_WITHIN,
        "socket_keepalive": True,
        "retry_on_timeout": False,
        "health_check_interval": 0,  # we PING ourselves
        "sentinel_kwargs": sentinels,
    }


def _tls(tls: Tls) -> dict[str, Any] | bool:
    """kombu's `ssl`. Left out, kombu's rediss:// would accept any certificate."""
    if not tls.on:
        return False
    return {
        "ssl_cert_reqs": ssl.CERT_REQUIRED if tls.verify else ssl.CERT_NONE,
        "ssl_check_hostname": tls.verify,
        "ssl_ca_certs": tls.ca_file,
        "ssl_certfile": tls.cert_file,
        "ssl_keyfile": tls.key_file,
    }


def _sentence(error: Exception, url: str) -> str:
    words = next(words for kind, words in _WORDS if isinstance(error, kind))
    return scrubbed(f"{words} ({error})", url)
