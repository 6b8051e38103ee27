"""RabbitMQ, asked for queues by name.

A passive declaration (AMQP 0-9-1, 1.7.2.1) answers with the messages that are ready and the
consumers; it changes nothing. All are sent at once, and the answers come in their order. One for a
queue that does not exist, or may not be looked at, ends the channel: the rest is asked for when it
is open again.
"""

import itertools
import time
from collections import deque
from collections.abc import Collection, Iterable
from contextlib import suppress
from itertools import islice
from typing import Any

from amqp import spec
from amqp.exceptions import ChannelError, NotFound

from celery_statsd.errors import BrokerLost
from celery_statsd.probes.base import Probe, QueueFacts, Sight
from celery_statsd.source.amqp_link import ANSWER_WITHIN, GONE, linked, passive_declaration, told
from celery_statsd.source.base import Broker

MOST_MISSING = 20
"""Queues that were missing the last time of which a look asks again: each costs a channel."""

Answer = tuple[int | None, int | None]
"""Messages that are ready, and consumers."""

_NOWHERE: Answer = (0, 0)
_HIDDEN: Answer = (None, None)


class AmqpProbe(Probe):
    """Looks by one round trip, and one more for each queue that is not there."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._urls = itertools.cycle(broker.urls)
        self._url = ""
        self._link: Any = None
        self._missing: dict[str, None] = {}

    def look(self, queues: Collection[str]) -> Sight:
        try:
            if self._link is None:
                self._url = next(self._urls)
            with told(self._url):
                return self._look(list(queues))
        except BrokerLost:
            self.close()
            raise

    def close(self) -> None:
        link, self._link = self._link, None
        with suppress(*GONE):
            if link is not None:
                link.sock.settimeout(0)  # not politely: a broker that is gone does not answer
                link.collect()

    def _look(self, queues: list[str]) -> Sight:
        if self._link is None:
            # Without heartbeats: nobody would send any between two looks.
            self._link = linked(self._broker, self._url, heartbeat=0)
        began = time.perf_counter()
        channel = self._link.channel()
        ping = time.perf_counter() - began
        answers = self._ask(channel, self._worth_asking(queues))
        self._missing |= dict.fromkeys(name for name in answers if answers[name] is _NOWHERE)
        rows = ((name, *answers.get(name, _NOWHERE)) for name in queues)
        found = (QueueFacts(name, ready, consumers=takers) for name, ready, takers in rows)
        return Sight(tuple(found), ping)

    def _worth_asking(self, queues: Iterable[str]) -> list[str]:
        """All that were there the last time, and then a few of the others, in turn."""
        again = list(islice(self._missing, MOST_MISSING))
        there = [name for name in queues if name not in self._missing]
        self._missing = {name: None for name in self._missing if name in queues}
        for name in again:
            self._missing.pop(name, None)
        return there + [name for name in again if name in queues]

    def _ask(self, channel: Any, queues: Iterable[str]) -> dict[str, Answer]:
        answers: dict[str, Answer] = {}
        left = deque(queues)
        while left:
            came, refusal = self._answers(channel, left)
            for answer in came:
                answers[left.popleft()] = answer
            if refusal is not None:  # py-amqp has opened the channel again
                answers[left.popleft()] = refusal
        channel.close()
        return answers

    def _answers(self, channel: Any, queues: Collection[str]) -> tuple[list[Answer], Answer | None]:
        """What is answered for the first ones, and what the refusal of the next one means, which
        is the last that is answered."""
        came: list[Answer] = []

        def note(_name: str, ready: int, consumers: int) -> None:
            came.append((ready, consumers))

        channel._callbacks[spec.Queue.DeclareOk] = note
        for name in queues:
            channel.send_method(*passive_declaration(name))
        try:
            while len(came) < len(queues):
                self._link.drain_events(timeout=ANSWER_WITHIN)
        except NotFound:
            return came, _NOWHERE
        except ChannelError:
            return came, _HIDDEN
        return came, None
