"""Questions to workers on Redis, and a list for their answers that ends by itself.

The answers are read where they lie. Nothing is consumed by kombu: each of its consumers, once there
is nothing to do, gives back to the queues what workers have held for longer than *its own*
visibility timeout (kombu.transport.redis.QoS.restore_visible), and such tasks would run twice.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any
from uuid import uuid4

import msgspec
from kombu.entity import Exchange, Queue
from kombu.messaging import Producer
from redis import Redis
from redis.exceptions import NoPermissionError

from celery_statsd.errors import AskRefused
from celery_statsd.probes.workers import Letter, Mailbox
from celery_statsd.source.base import Broker
from celery_statsd.source.envelope import unwrapped
from celery_statsd.source.redis_link import GONE, RedisLink, choices_of, refuse_impossible, told

POLL, LONGEST_POLL = 0.05, 0.5
"""Seconds between two looks at the answers: twice as many each time that none has come."""

KEPT = 60
"""Seconds: the list ends then, if nobody was left to delete it."""

LINGERING = 3
"""Seconds for which it is there when nobody waits any more."""


class _Headers(msgspec.Struct):
    ticket: str = ""


class _Ticket(msgspec.Struct):
    headers: _Headers = msgspec.field(default_factory=_Headers)


_ticket = msgspec.json.Decoder(_Ticket).decode


class RedisMailbox(Mailbox):
    """One connection, and a queue bound to the exchange of the answers."""

    def __init__(self, link: RedisLink, exchange: str) -> None:
        self._client: Any = Redis(connection_pool=link.pool)
        self._asking = _passing(exchange, "fanout")
        replies = _passing(f"reply.{exchange}", "direct")
        name = f"{uuid4()}.{replies.name}"
        self._queue: Any = Queue(name, replies, routing_key=name, durable=False)  # type: ignore[no-untyped-call]
        self._key = f"{link.prefix}{name}"
        self._channel = link.channel
        self._producer: Any = Producer(self._channel, auto_declare=False)  # type: ignore[no-untyped-call]
        self._seen = 0
        self.reply_to = {"exchange": replies.name, "routing_key": name}

    @classmethod
    def choices(cls, broker: Broker) -> Sequence[str]:
        refuse_impossible(broker)
        return choices_of(broker)

    @classmethod
    @contextmanager
    def opened(cls, broker: Broker, url: str, exchange: str) -> Iterator["RedisMailbox"]:
        with told(url):
            link = RedisLink(broker, url)
            mailbox = cls(link, exchange)
            try:
                mailbox._lay_out()
                yield mailbox
            except NoPermissionError as error:
                raise AskRefused(f"access refused ({error})") from error
            finally:
                with suppress(*GONE):
                    mailbox._clear_away()
                with suppress(*GONE):
                    link.close()

    def send(self, message: Mapping[str, Any], expires: float) -> None:
        self._producer.publish(
            message,
            exchange=self._asking.name,
            declare=[self._asking],  # kombu's own book-keeping: nothing is sent
            serializer="json",
            headers={"clock": 0, "expires": time.time() + expires},
        )

    def letters(self, deadline: float) -> Iterator[Letter | None]:
        nap = POLL
        while True:
            # New ones are pushed to the left of those that were seen.
            for envelope in reversed(self._client.lrange(self._key, 0, -(self._seen + 1))):
                self._seen += 1
                nap = POLL
                yield _letter(envelope)
            left = deadline - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(nap, left))
            nap = min(2 * nap, LONGEST_POLL)
            yield None

    def _lay_out(self) -> None:
        self._let_expire(KEPT)
        self._seen = 1
        self._queue(self._channel).declare()

    def _clear_away(self) -> None:
        """What is answered from now on goes nowhere; what is just on its way (a worker has looked
        for the binding, and pushes), into a list that ends soon."""
        self._queue(self._channel).delete()
        self._let_expire(LINGERING)

    def _let_expire(self, seconds: int) -> None:
        """A list that is empty is not there, and nothing that is not there can expire: so it holds
        a mark."""
        with self._client.pipeline(transaction=True) as pipeline:
            pipeline.rpush(self._key, "").expire(self._key, seconds).execute()


def _passing(name: str, kind: str) -> Any:
    """An exchange as workers have it."""
    return Exchange(name, kind, durable=False, delivery_mode="transient")  # type: ignore[no-untyped-call]


def _letter(envelope: bytes) -> Letter:
    message = unwrapped(envelope)
    try:
        ticket = _ticket(envelope).headers.ticket
    except msgspec.MsgspecError:
        ticket = ""
    facts = message.facts
    return Letter(ticket, facts.content_type, facts.content_encoding or "utf-8", message.body)
