"""RabbitMQ: deliveries and acknowledgements, taken from py-amqp below kombu.

kombu only opens the connection. Its consumers are not used: they send heartbeats only when the
stream is silent, decode and decompress whatever comes, and close a dead connection politely,
which waits for ever.
"""

import itertools
import select
import ssl
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from amqp import spec

from celery_statsd.errors import BrokerLost
from celery_statsd.log import Log
from celery_statsd.source.amqp_link import (
    GONE,
    linked,
    passive_declaration,
    told,
)
from celery_statsd.source.base import Broker, Message, Source, place_of
from celery_statsd.source.deliveries import Walker, facts_of
from celery_statsd.source.partition import PartitionQueue
from celery_statsd.source.queue import CONSUMER, CONSUMPTIONS, PREFETCH

HEARTBEAT = 10
"""Seconds between two heartbeats; RabbitMQ's guide calls 5 to 20 the best. Two missed: lost."""

LOOK_EVERY = 5.0
"""Seconds between two looks at our own queue: how much waits in it, and whether it knows us."""

AT_ONCE = PREFETCH // 2
"""Messages of one read, hardly more: the broker sends on while they are taken in."""

PORTION = 256 * 1024
"""Bytes of one read of the socket."""

HEAVY = 8 * 1024 * 1024
"""Bytes of one read, and of all that waits to be acknowledged, past which no more is taken in."""

_TICK = 1.0  # seconds: the longest wait between two looks at the heartbeats


class AmqpSource(Source):
    """Events from RabbitMQ, each held by the broker until it is acknowledged.

    The caller has to `ack` at least every half `PREFETCH` messages, or the stream stands still;
    `needs_ack` says when. Of several sources in one group the broker serves one; the others stand
    by, and read nothing.
    """

    def __init__(self, broker: Broker, log: Log) -> None:
        super().__init__(log)
        self._broker = broker
        self._url = broker.urls[0]
        self._urls = itertools.cycle(broker.urls)
        self._link: Any = None
        self._channel: Any = None
        self._socket: Any = None
        self._poll = select.poll()
        self._walker = Walker(0, _ignored)
        self._read_tag = self._acked_tag = self._read_bytes = 0
        self._end: BrokerLost | None = None
        parted = broker.partitions > 1
        self._queue = (PartitionQueue if parted else CONSUMPTIONS[broker.queue_type])(broker, log)
        self._look_at = self._awake_at = 0.0
        self._waiting: int | None = None
        self._unknown = 0

    @property
    def place(self) -> str:
        return place_of(self._url)

    @property
    def needs_ack(self) -> bool:
        many = 2 * (self._read_tag - self._acked_tag) >= PREFETCH
        return many or self._read_bytes >= HEAVY

    @property
    def backlog(self) -> int | None:
        return self._waiting

    @property
    def stood_by(self) -> bool:
        return self._queue.stood_by

    def ack(self) -> None:
        """One acknowledgement for everything read so far on this connection.

        A broker that is gone is answered here as `read` does; it delivers those messages again,
        if the queue outlived the connection.
        """
        if not self.connected or self._read_tag == self._acked_tag:
            return
        try:
            if self._end:
                raise self._end
            with told(self._url):
                self._channel.basic_ack(self._read_tag, multiple=True)
            self._acked_tag, self._read_bytes = self._read_tag, 0
        except BrokerLost as error:
            self._lost(error)

    def _open(self) -> None:
        self._url = next(self._urls)
        self._walker, self._end = Walker(0, _ignored), None
        self._read_tag = self._acked_tag = self._read_bytes = 0
        self._look_at, self._unknown = 0.0, 0
        with told(self._url):
            self._connect()
            self._channel = self._queue.consume(self._link, self._take)
            self._walker.turn_to(self._channel.channel_id, self._link.on_inbound_frame)
            self._channel._callbacks[spec.Queue.DeclareOk] = self._note_queue
        self._awake_at = time.monotonic()

    def _connect(self) -> None:
        try:
            self._link = linked(self._broker, self._url, HEARTBEAT)
        except GONE:
            self._queue.excuse()
            raise
        self._socket = self._link.sock
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)

    def _take(self, delivery: Any) -> None:
        """A delivery that py-amqp has read."""
        self._walker.add(_message(delivery), delivery.delivery_info["delivery_tag"])

    def _read(self, timeout: float) -> Sequence[Message]:
        try:
            with told(self._url):
                self._listen(timeout)
        except BrokerLost as error:
            if not self._walker.messages:
                raise
            self._end = error  # raised by the next read: what arrived before the end comes first
        self._read_tag = self._walker.tag
        self._read_bytes += self._walker.size
        return self._walker.taken() or ()

    def _listen(self, timeout: float) -> None:
        if self._end:
            raise self._end
        deadline = time.monotonic() + timeout
        while True:
            self._drain(min(_TICK, max(0.0, deadline - time.monotonic())))
            # After the draining: what was waiting in the socket is a sign of life too.
            self._link.heartbeat_tick()
            self._look()
            if self._walker.messages or time.monotonic() >= deadline:
                return

    def _drain(self, wait: float) -> None:
        """Take in all frames at hand, waiting up to `wait` seconds for the first."""
        readable = self._readable(wait)
        self._note_awake()
        if not readable:
            return
        with suppress(TimeoutError):  # half a frame: py-amqp keeps it, the heartbeats judge
            while len(self._walker.messages) < AT_ONCE and self._walker.size < HEAVY:
                self._read_frames()
                self._note_awake()
                if not self._readable(0):
                    return

    def _read_frames(self) -> None:
        """Take what is in the socket, up to PORTION."""
        if not self._broker.large_reads:
            self._link.blocking_read()
            return
        transport = self._link.transport
        came = self._socket.recv(PORTION)
        if not came:
            raise OSError("the broker has hung up")
        self._link.bytes_recv += 1  # a sign of life for py-amqp's heartbeats
        data = transport._read_buffer + came
        done = 0
        try:
            done = self._walker.walk(data)
        finally:
            transport._read_buffer = data[done:]

    def _note_awake(self) -> None:
        """Raise BrokerLost after a sleep (SIGSTOP, no processor time) that cost us the queue.

        What waits in our socket then has been given to the next of the group, too.
        """
        now = time.monotonic()
        asleep, self._awake_at = now - self._awake_at, now
        if asleep > HEARTBEAT and self._broker.queue_type != "transient":
            self._walker.taken()
            raise BrokerLost(f"we slept for {asleep:.0f} s, longer than a heartbeat")

    def _look(self) -> None:
        """Ask what waits in our queue: the answer comes in the stream, behind what is under way.

        To wait for it would be to take in, at once, all that lies before it.
        """
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_EVERY
        self._channel.send_method(*passive_declaration(self._queue.name))

    def _note_queue(self, _name: str, waiting: int, consumers: int) -> None:
        """Take the answer to a look."""
        self._waiting = waiting
        # A quorum queue that went down forgets its consumers without telling them. While it
        # chooses a leader it may look so for a moment.
        self._unknown = 0 if consumers else self._unknown + 1
        if self._unknown > 1:
            raise BrokerLost("the event queue does not know us any more")

    def _readable(self, wait: float) -> bool:
        # TLS may hold decrypted bytes of which the kernel knows nothing any more.
        if isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
            return True
        return bool(self._poll.poll(wait * 1000))

    def _drop(self) -> None:
        link, self._link, self._channel = self._link, None, None
        self._waiting = None
        if link is None:
            return
        with suppress(*GONE):
            self._socket.settimeout(0)  # TLS would wait for the other side's goodbye
            link.collect()

    def _leave(self) -> None:
        """Cancel, and let the broker confirm; what comes in between stays unacknowledged."""
        with told(self._url):
            self._channel.basic_cancel(CONSUMER)
            self._channel.close()
            self._link.close()
        self._link = self._channel = self._waiting = None


def _message(delivery: Any) -> Message:
    body = delivery.body or b""  # py-amqp leaves an empty body as str
    return Message(body, facts_of(delivery.properties), delivery.delivery_info["routing_key"])


def _ignored(_frame: Any) -> None:
    """There is no connection yet."""
