"""Questions to workers on RabbitMQ, and a queue for their answers that ends with the connection.

The answers come by the default exchange, so the queue needs no binding; no exchange is declared:
where there is none, there was never a worker.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any
from uuid import uuid4

from amqp.exceptions import AccessRefused, NotFound
from kombu.messaging import Producer

from celery_statsd.errors import AskRefused
from celery_statsd.probes.workers import Letter, Mailbox
from celery_statsd.source.amqp_link import GONE, linked, told
from celery_statsd.source.base import Broker


class AmqpMailbox(Mailbox):
    """One connection, and an exclusive queue on it."""

    def __init__(self, link: Any, exchange: str) -> None:
        self._link = link
        self._exchange = exchange
        self._came: list[Any] = []
        self._channel = link.channel()
        # So named that everybody can see what it is.
        queue = f"{uuid4()}.reply.{exchange}"
        self._channel.queue_declare(queue, durable=False, exclusive=True, auto_delete=True)
        self._channel.basic_consume(queue, no_ack=True, callback=self._came.append)
        self._producer: Any = Producer(self._channel, auto_declare=False)  # type: ignore[no-untyped-call]
        self.reply_to = {"exchange": "", "routing_key": queue}

    @classmethod
    def choices(cls, broker: Broker) -> Sequence[str]:
        return broker.urls

    @classmethod
    @contextmanager
    def opened(cls, broker: Broker, url: str, exchange: str) -> Iterator["AmqpMailbox"]:
        with told(url):
            link = linked(broker, url, heartbeat=0)
            try:
                yield cls(link, exchange)
            except AccessRefused as error:
                raise AskRefused(f"access refused ({error.reply_text})") from error
            finally:
                with suppress(*GONE):
                    link.close()

    def send(self, message: Mapping[str, Any], expires: float) -> None:
        self._producer.publish(
            message,
            exchange=self._exchange,
            serializer="json",
            headers={"clock": 0, "expires": time.time() + expires},
            expiration=expires,
            delivery_mode=1,
        )

    def letters(self, deadline: float) -> Iterator[Letter]:
        try:
            while (left := deadline - time.monotonic()) > 0:
                self._link.drain_events(timeout=left)
                while self._came:
                    yield _letter(self._came.pop(0))
        except TimeoutError:
            return
        except NotFound:  # there is no such exchange: there was never a worker
            return


def _letter(message: Any) -> Letter:
    about = message.properties
    ticket = (about.get("application_headers") or {}).get("ticket")
    encoding = about.get("content_encoding") or "utf-8"
    return Letter(str(ticket), about.get("content_type") or "", encoding, message.body)
