"""The queue on RabbitMQ in which a group's events wait: how it is made, found, and replaced.

What decides here, each measured on RabbitMQ 3.10:

- Celery's events are transient messages: a durable classic queue forgets them when the broker
  restarts, a quorum queue keeps them.
- The arguments of a queue are for ever (another declaration is a 406), so they hold only what no
  policy can say. Its limits come by policy: see config/rabbitmq.
- A quorum queue that is down answers a declaration as if it were well; only `basic.consume` is
  refused, with 541, and a consumer that was there already is not told.
- A quorum queue that was deleted and declared again loses all when the broker is next killed. So
  what went bad is replaced under the name of the next generation: `<name>.g2`, `<name>.g3`, ...
- Where the feature flag of quorum queues is off, their declaration is answered 541 too.
"""

import hashlib
import itertools
import re
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from amqp import spec
from amqp.exceptions import (
    AccessRefused,
    AMQPError,
    AMQPNotImplementedError,
    InternalError,
    NotFound,
    PreconditionFailed,
)

from celery_statsd.log import Log
from celery_statsd.source.base import Broker

PREFETCH = 5000
"""Messages the broker hands out before it waits for an acknowledgement, and the most of a read."""

REPLACE_AFTER = 3
"""Attempts in a row to consume from a queue that the broker refuses with 541."""

LONGEST_GROUP = 100
"""Characters of a group in a queue's name, which may have 255 bytes."""

CONSUMER = "celery-statsd"
"""Our consumer tag."""

_FOREIGN = re.compile(r"[^A-Za-z0-9_-]")
_VERSION = re.compile(r"(\d{1,4})\.(\d{1,4})")
_FIRST_WITH_QUORUM = (3, 8)
_REFUSALS = (InternalError, PreconditionFailed, AMQPNotImplementedError)
_BINDING = (spec.Queue.Bind, spec.Exchange.Bind)
_AWAY_WORDS = ("home node", "supervisor")  # what a 404 says of a queue that is there, but cut off
_TYPE_WORDS = ("feature flag", "queue type")  # what such a refusal says when the type is its reason


@dataclass(frozen=True, slots=True)
class EventQueue:
    """A queue as it is declared."""

    name: str
    durable: bool = False
    exclusive: bool = False
    auto_delete: bool = False
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def transient(cls, prefix: str) -> Self:
        """A queue that lives as long as its connection.

        Its name is new each time: the broker may still hold a dead connection's exclusive queue.
        It has no message TTL (Celery's own event queues drop after 5 s), so nothing is lost while
        the agent is busy. RabbitMQ 4.3 refuses transient queues that are not exclusive.
        """
        return cls(f"{prefix}.statsd.{uuid.uuid4()}", exclusive=True, auto_delete=True)

    @classmethod
    def shared(cls, name: str, queue_type: str) -> Self:
        """A queue that outlives its consumers, of whom one at a time is served."""
        arguments = {"x-queue-type": queue_type, "x-single-active-consumer": True}
        return cls(name, durable=True, arguments=arguments)


class Consumption(ABC):
    """How a connection comes to consume the events. Its calls raise what py-amqp raises.

    `stood_by`: another consumer was there before.
    """

    def __init__(self, broker: Broker, log: Log) -> None:
        self._broker = broker
        self._log = log
        self._link: Any = None
        self._channel: Any = None
        self._refusals = 0
        self.name = ""
        self.stood_by = False

    def consume(self, link: Any, take: Callable[[Any], None]) -> Any:
        """Have each message of the queue given to `take`; the channel on which this is so."""
        self._link = link
        self._begin_anew()
        self._prepare()
        self._channel.auto_decode = False  # bodies stay bytes
        self._channel.basic_qos(0, PREFETCH, False)
        self._channel.basic_consume(self.name, CONSUMER, callback=take)
        return self._channel

    def excuse(self) -> None:
        """Blame no queue: the broker itself is away. Refusals count only in a row."""
        self._refusals = 0

    @abstractmethod
    def _prepare(self) -> None:
        """Have a queue called `name`, bound to the event exchange."""

    def _declare(self, queue: EventQueue) -> None:
        self.name = queue.name
        self._channel.queue_declare(
            queue.name,
            durable=queue.durable,
            exclusive=queue.exclusive,
            auto_delete=queue.auto_delete,
            arguments=dict(queue.arguments),
        )

    def _bind(self) -> None:
        """Bind to the events. Declaring comes second: whoever may only read has no right to it."""
        try:
            self._bind_all()
        except NotFound:
            self._begin_anew()
            exchange = self._broker.event_exchange
            # As Celery declares it (celery.events.event); anything else would be a 406.
            self._channel.exchange_declare(exchange, "topic", durable=True, auto_delete=False)
            self._bind_all()

    def _bind_all(self) -> None:
        self._channel.queue_bind(self.name, self._broker.event_exchange, "#")

    def _begin_anew(self) -> None:
        """Another channel: a refusal ends the one it came on."""
        self._channel = self._link.channel()


class OwnQueue(Consumption):
    """A transient queue for each connection: what is published without one is not heard."""

    def _prepare(self) -> None:
        self._declare(EventQueue.transient(self._broker.event_queue_prefix))
        self._bind()


class GroupQueue(Consumption):
    """One durable queue for all agents of a group, through its generations."""

    def __init__(self, broker: Broker, log: Log) -> None:
        super().__init__(broker, log)
        self._type = broker.queue_type
        self._stem = f"{broker.event_queue_prefix}.statsd.{escaped(broker.group)}"
        self._generation = 0
        self._used = 0  # the last generation that was consumed from
        self._floor = 1  # those below are known to be bad
        self._replaced: list[str] = []
        self._bind_refused = False

    def consume(self, link: Any, take: Callable[[Any], None]) -> Any:
        """As every consumption; a refusal has its consequence in the next one."""
        if self._type == "quorum" and not knows_quorum(link.server_properties):
            self._fall_back("the broker is older than quorum queues and single active consumers")
        try:
            channel = super().consume(link, take)
        except _REFUSALS as error:
            self._answer(error)
            raise
        self._used = self._generation
        self._refusals = 0
        return channel

    def _prepare(self) -> None:
        self.stood_by = False
        highest = self._highest()
        # A quorum queue that is gone is not made again under its name; a classic one may be.
        anew = max(self._floor, self._used + (self._type == "quorum"))
        self._turn_to(highest or anew)
        if highest:
            self._bind_if_allowed()
        else:
            self._make()
        while self._replaced:
            self._retire(self._replaced[-1])
            self._replaced.pop()  # only now: what failed is tried again

    def _turn_to(self, generation: int) -> None:
        self._generation = generation
        self.name = self._stem if generation == 1 else f"{self._stem}.g{generation}"

    def _highest(self) -> int:
        """The highest generation there is, of those not known to be bad; 0 for none.

        One may be missing in between: the first of all, or the one we used, may be deleted.
        """
        highest = 0
        for generation in itertools.count(self._floor):
            self._turn_to(generation)
            if self._exists():
                highest = generation
            elif generation > max(self._floor, self._used):
                break
        return highest

    def _exists(self) -> bool:
        try:
            # A waiting consumer of a quorum queue is not counted: who looks before may still tell.
            self.stood_by = self._channel.queue_declare(self.name, passive=True).consumer_count > 0
        except AccessRefused:  # RabbitMQ 4.3, without any right on it: not ours
            self._begin_anew()
            return False
        except NotFound as error:
            if not means_missing(error):
                raise
            self._begin_anew()
            return False
        return True

    def _make(self) -> None:
        try:
            self._declare(EventQueue.shared(self.name, self._type))
        except AccessRefused:
            # There can be no replacement: all that is left is that the old one comes back.
            self._floor = 1
            self._replaced.clear()
            raise
        self._bind()
        self._log.info("event_queue_made", queue=self.name, type=self._type, limits="by policy")

    def _bind_if_allowed(self) -> None:
        """Whoever made the queue for us and left us the right to read has bound it too."""
        try:
            self._bind()
        except AccessRefused as error:
            if error.method_sig not in _BINDING:  # there is no exchange, and we may not make it
                raise
            self._begin_anew()
            if not self._bind_refused:
                self._bind_refused = True
                self._log.info("event_queue_bound_by_others", queue=self.name)

    def _retire(self, name: str) -> None:
        """Nobody reads it any more: bound it would fill up."""
        cure = "delete it; what waits in it is read by nobody"
        self._log.warning("event_queue_replaced", queue=name, by=self.name, cure=cure)
        try:
            self._unbind_all(name)
        except (AccessRefused, NotFound) as error:
            self._begin_anew()
            self._log.warning("event_queue_still_bound", queue=name, error=error.reply_text)

    def _unbind_all(self, name: str) -> None:
        self._channel.queue_unbind(name, self._broker.event_exchange, "#")

    def _answer(self, error: AMQPError) -> None:
        if self._type == "quorum" and refuses_type(error):
            self._fall_back(str(error.reply_text))
        elif isinstance(error, InternalError):
            self._doubt()

    def _fall_back(self, reason: str) -> None:
        self._type = "classic"
        loss = "what waits in it when the broker restarts"
        self._log.warning("event_queue_classic", queue=self._stem, error=reason, loses=loss)

    def _doubt(self) -> None:
        self._refusals += 1
        if self._refusals < REPLACE_AFTER:
            return
        self._refusals = 0
        self._floor = self._generation + 1
        self._replaced.append(self.name)


CONSUMPTIONS: Mapping[str, Callable[[Broker, Log], Consumption]] = {
    "quorum": GroupQueue,
    "classic": GroupQueue,
    "transient": OwnQueue,
}
"""What `event_queue_type` can be."""


def escaped(group: str) -> str:
    """`group` as a part of a queue's name: `[A-Za-z0-9_-]` only, any other character is a `_`.

    What had to be changed ends in 8 hex digits of a hash, so that no two groups share a queue.
    """
    clean = _FOREIGN.sub("_", group)[:LONGEST_GROUP]
    if clean == group and group:
        return group
    digest = hashlib.blake2b(group.encode("utf-8", "replace"), digest_size=4).hexdigest()
    return f"{clean[: LONGEST_GROUP - 9]}-{digest}"


def knows_quorum(server: Mapping[str, Any]) -> bool:
    """Whether the broker with these properties is not too old: it would ignore the arguments."""
    version = _VERSION.match(str(server.get("version", "")))
    if server.get("product") != "RabbitMQ" or not version:
        return True  # its answer will tell
    return (int(version[1]), int(version[2])) >= _FIRST_WITH_QUORUM


def means_missing(error: NotFound) -> bool:
    """Whether there is no such queue; a classic one whose node is down is answered 404 too."""
    told = str(error.reply_text)
    return not any(word in told for word in _AWAY_WORDS)


def refuses_type(error: AMQPError) -> bool:
    """Whether a declaration was refused for the type of the queue."""
    told = str(error.reply_text)
    return isinstance(error, AMQPNotImplementedError) or any(word in told for word in _TYPE_WORDS)
