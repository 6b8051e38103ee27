"""Every other transport, on plain kombu: `memory://` for the demo, the rest as best effort."""

import itertools
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from kombu.connection import Connection
from kombu.entity import Exchange, Queue
from kombu.exceptions import KombuError
from kombu.utils.url import parse_url

from celery_statsd.errors import BrokerLost
from celery_statsd.log import Log
from celery_statsd.source.base import Broker, Facts, Message, Source, place_of, scrubbed

MOST = 5000
"""Messages of one read."""

POLL_EVERY = 0.05
"""Seconds between two looks into a queue that costs nothing to look into; kombu's own is 1 s."""

_CHEAP = ("memory", "filesystem")
_CONSUMER = "celery-statsd"
_ANSWER_WITHIN = 5.0  # seconds to connect

# The exchange of the events is a topic, but for Google's Pub/Sub (celery.events.event).
_KINDS = {"gcpubsub": "fanout"}


class KombuSource(Source):
    """Events by way of any kombu transport. What it cannot notice is not noticed."""

    def __init__(self, broker: Broker, log: Log) -> None:
        super().__init__(log)
        self._broker = broker
        self._url = broker.urls[0]
        self._urls = itertools.cycle(broker.urls)
        self._transport: Any = None
        self._link: Any = None
        self._channel: Any = None
        self._queue: Any = None
        self._taken: list[Message] = []
        self._gone: tuple[type[BaseException], ...] = (KombuError, OSError)

    @property
    def place(self) -> str:
        return place_of(self._url)

    def ack(self) -> None:
        """Nothing to do: the messages were consumed without acknowledgement."""

    def _open(self) -> None:
        self._url = next(self._urls)
        self._taken = []
        transport = parse_url(self._url)["transport"]
        connection = Connection(  # type: ignore[no-untyped-call]
            self._url,
            connect_timeout=_ANSWER_WITHIN,
            transport_options=_options(transport, self._broker.transport_options),
        )
        self._gone = (KombuError, OSError, *_errors_of(connection))
        with self._told():
            self._transport = connection.transport
            # Not connection.channel(): that sleeps and tries a second time.
            self._link = self._transport.establish_connection()
            self._channel = self._transport.create_channel(self._link)
            self._consume()

    def _consume(self) -> None:
        broker = self._broker
        kind = _KINDS.get(self._transport.driver_type, "topic")
        self._queue = Queue(  # type: ignore[no-untyped-call]
            f"{broker.event_queue_prefix}.statsd.{uuid.uuid4()}",
            Exchange(broker.event_exchange, kind, durable=True),  # type: ignore[no-untyped-call]
            "#",
            channel=self._channel,
            durable=False,
            auto_delete=True,
        )
        self._queue.declare()
        self._queue.consume(_CONSUMER, callback=self._take, no_ack=True)

    def _take(self, message: Any) -> None:
        body = message.body
        self._taken.append(
            Message(
                body.encode() if isinstance(body, str) else bytes(body),
                Facts(
                    message.content_type or "",
                    message.content_encoding or "",
                    _word((message.headers or {}).get("hostname")),
                ),
                _word((message.delivery_info or {}).get("routing_key")),
            )
        )

    def _read(self, timeout: float) -> Sequence[Message]:
        with self._told(), suppress(TimeoutError):
            self._transport.drain_events(self._link, timeout=timeout)
            while len(self._taken) < MOST:
                self._transport.drain_events(self._link, timeout=0)
        messages, self._taken = self._taken, []
        return messages

    def _drop(self) -> None:
        # No transport has a way to close without a word; what nobody holds is closed by Python.
        self._transport = self._link = self._channel = self._queue = None

    def _leave(self) -> None:
        """Take the queue along: most of these brokers would fill it for ever."""
        with self._told():
            self._channel.basic_cancel(_CONSUMER)
            self._queue.delete()
            self._channel.close()
        self._drop()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Make BrokerLost of whatever the transport raises, but for a read that came to its end."""
        try:
            yield
        except self._gone as error:
            raise BrokerLost(scrubbed(f"{type(error).__name__} ({error})", self._url)) from error


def _errors_of(connection: Any) -> tuple[type[BaseException], ...]:
    return (*connection.connection_errors, *connection.channel_errors)


def _options(transport: str, options: Mapping[str, Any]) -> dict[str, Any]:
    quick = {"polling_interval": POLL_EVERY} if transport in _CHEAP else {}
    return quick | dict(options)


def _word(value: Any) -> str:
    return value if isinstance(value, str) else ""
