"""Redis: the fan-out of events, taken from redis-py's connection below kombu.

kombu works out how to connect (TLS, Sentinel, Unix sockets) and what the channel is called. Its
own receiver is not used: it never notices a broker that stopped answering. Nor is redis-py's
PubSub: even with retries off it connects again before it raises, so a gap could go unseen.
Redis keeps nothing for a subscriber who is away, and so nothing is left behind in it.
"""

import itertools
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec
from redis.exceptions import NoPermissionError

from celery_statsd.errors import BrokerLost
from celery_statsd.log import Log
from celery_statsd.names import escape
from celery_statsd.source.base import Broker, Message, Said, Source, Turn, place_of
from celery_statsd.source.envelope import BAD, Unwrapper
from celery_statsd.source.lease import Lease
from celery_statsd.source.redis_link import (
    GONE,
    RedisLink,
    choices_of,
    refuse_impossible,
    told,
)
from celery_statsd.source.resp import Subscriber

PING_EVERY = 2.0
"""Seconds between two PINGs on the subscribed connection."""

PONG_WITHIN = 5.0
"""Seconds after a PING in which something has to arrive, or the broker counts as lost."""

MOST = 5000
"""Messages of one read."""

_EVENT, _MARK = b"pmessage", b"message"
"""What Redis calls a message of a pattern, and one of a channel."""


class RedisSource(Source):
    """Events from Redis, plain, with TLS, on a Unix socket or behind Sentinel."""

    def __init__(self, broker: Broker, log: Log) -> None:
        """Raises ConfigError for what Redis cannot be asked for."""
        super().__init__(log)
        refuse_impossible(broker)
        self._broker = broker
        choices = choices_of(broker)
        self._url = choices[0]
        self._urls = itertools.cycle(choices)
        self._link: Any = None
        self._connection: Any = None
        self._heard_at = self._pinged_at = 0.0
        self._end: BrokerLost | None = None
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
    def leads(self) -> bool:
        lease = self._lease
        return lease is not None and lease.held

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
        with told(self._url):
            link = self._link = RedisLink(self._broker, self._url)
            pool = link.pool
            self._connection = pool.get_connection()
            self._subscriber = Subscriber(self._connection._sock)
            # The marks first: none may pass between two events unheard.
            lease = self._chorus_at(pool) if self._broker.chorus else None
            self._subscribe("PSUBSCRIBE", link.event_pattern)
            self._turn = lease.open() if lease else None
        self._heard_at = self._pinged_at = time.monotonic()

    def _subscribe(self, command: str, channel: str) -> None:
        self._connection.send_command(command, channel, check_health=False)
        confirmed = False
        while not confirmed:
            for reply in self._subscriber.replies():
                if isinstance(reply, Exception):
                    raise reply
                if reply[0] in (_EVENT, _MARK):
                    self._early.append(reply)
                else:
                    confirmed = True

    def _chorus_at(self, pool: Any) -> Lease | None:
        """The lease of our chorus, whose marks are subscribed to; None when that is refused."""
        connection, broker, prefix = pool.get_connection(), self._broker, self._link.prefix
        place = f"{prefix}celery-statsd/{connection.db}/{broker.event_exchange}"
        name = f"{place}/{escape(broker.group)}"
        self._lease = Lease(name, self.identity, connection, self._log, known=self._refused)
        try:
            self._subscribe("SUBSCRIBE", name)
        except NoPermissionError as error:
            self._lease.refuse(error)
            return None
        return self._lease

    def _read(self, timeout: float) -> Sequence[Message]:
        messages: list[Message] = []
        try:
            with told(self._url):
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
        if type(reply) is list and reply[0] == _EVENT:
            messages.append(self._unwrapper.message(reply[-1]))
            return
        if isinstance(reply, Exception):
            raise reply
        if not isinstance(reply, list) or reply[0] != _MARK:
            return  # a PONG
        if self._lease is None or reply[-2] != self._lease.wire_channel:
            return
        try:
            self._turn = self._lease.hear(reply[-1])
        except (msgspec.MsgspecError, RecursionError):
            messages.append(Message(reply[-1], BAD))

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
        link, self._link = self._link, None
        connection, self._connection = self._connection, None
        with suppress(*GONE):
            if connection is not None:
                connection.disconnect()  # shuts the socket down; nothing is sent
            if link is not None:
                link.close()

    def _leave(self) -> None:
        # Redis forgets a subscriber with its connection: there is nothing to say.
        self._drop()
