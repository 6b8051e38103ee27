"""The stream on RabbitMQ shared out among several agents: one queue for each part of the workers.

    celeryev --(worker.#, task.received, task.multi, ...)--> <stem>.of<n> --> <stem>.p<k>of<n>
    celeryev --(task.sent)-----------------------------------------------> each <stem>.p<k>of<n>

The exchange in the middle is a consistent hash of the header `hostname`, so that all a worker says
lands in one queue. A task-sent has the client's name there: it goes to every part, and joins the
worker's events wherever they are. Whoever comes first makes the queues of all parts, so that no
part hears what belongs to another one. The number of parts stands in the names: another number
is another set of queues, and the old ones are to be deleted.
"""

import time
from contextlib import suppress
from dataclasses import replace
from typing import Any

from amqp.exceptions import AccessRefused, AMQPError, NotFound

from celery_statsd.errors import BrokerLost
from celery_statsd.log import Log
from celery_statsd.source.base import Broker
from celery_statsd.source.queue import GroupQueue
from celery_statsd.trouble import Trouble

KINDS = (
    "multi", "received", "started", "succeeded", "failed", "retried", "revoked", "rejected",
    "cancelled",
)  # fmt: skip
KEYS = ("worker.#", *(f"task.{kind}" for kind in KINDS))
"""The routing keys of what workers say (celery.events.dispatcher): a type's `-` is a `.`."""

SENT = "task.sent"

HASH, PLUGIN = "x-consistent-hash", "rabbitmq_consistent_hash_exchange"


class PartitionQueue(GroupQueue):
    """The queue of one part; `siblings` is false for those that are made for other agents."""

    def __init__(self, broker: Broker, log: Log, siblings: bool = True) -> None:
        super().__init__(broker, log)
        stem, parts = self._stem, broker.partitions
        self._stem = f"{stem}.p{broker.partition}of{parts}"
        self._hash = f"{stem}.of{parts}"
        self._siblings = [
            PartitionQueue(replace(broker, partition=part), log, siblings=False)
            for part in range(1, parts + 1 if siblings else 1)
            if part != broker.partition
        ]
        cure = f"run: rabbitmq-plugins enable {PLUGIN}"
        self._trouble = Trouble(log, "partitions_impossible", cure=cure)

    def lay(self, link: Any) -> None:
        """Have a queue there for an agent that is still to come, if we may make one."""
        self._link = link
        self._begin_anew()
        with suppress(AccessRefused):
            if not self._highest():
                self._turn_to(1)
                self._make()
            self._channel.close()

    def _prepare(self) -> None:
        try:
            for sibling in self._siblings:
                sibling.lay(self._link)
            super()._prepare()
        except AMQPError as error:
            if "exchange type" in str(error.reply_text):
                self._trouble.tell(time.monotonic(), BrokerLost(str(error.reply_text)))
            raise

    def _bind_all(self) -> None:
        exchange = self._broker.event_exchange
        self._have_hash()
        for key in KEYS:
            self._channel.exchange_bind(self._hash, exchange, key)
        self._channel.queue_bind(self.name, self._hash, "1")
        self._channel.queue_bind(self.name, exchange, SENT)

    def _unbind_all(self, name: str) -> None:
        self._channel.queue_unbind(name, self._hash, "1")
        self._channel.queue_unbind(name, self._broker.event_exchange, SENT)

    def _have_hash(self) -> None:
        """The exchange in the middle: who may not make it may still find it."""
        try:
            self._channel.exchange_declare(self._hash, HASH, passive=True)
        except NotFound:
            self._begin_anew()
            self._channel.exchange_declare(
                self._hash,
                HASH,
                durable=True,
                auto_delete=False,
                arguments={"hash-header": "hostname"},
            )
