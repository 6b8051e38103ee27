"""Redis: a queue is a few lists, one for each step of priority; what workers hold is one hash.

Facts from kombu.transport.redis: `Channel._q_for_pri` names the lists, `QoS.append` writes
`[message, exchange, routing key]` into the hash, `Channel._queue_bind` the bindings.
"""

import itertools
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec
from redis import Redis
from redis.exceptions import NoPermissionError

from celery_statsd.errors import BrokerLost
from celery_statsd.probes.base import Probe, QueueFacts, Sight
from celery_statsd.source.base import Broker
from celery_statsd.source.redis_link import GONE, RedisLink, choices_of, refuse_impossible, told

MOST_HELD = 20_000
"""Messages held by workers that are looked through for their queues; of more their number alone
is known, and no queue's share."""

PORTION = 1000
"""Of them those that are asked for at once."""

_SEPARATOR = "\x06\x16"  # of a binding's routing key, pattern and queue

Place = tuple[str, str]
"""An exchange and a routing key: what a held message tells of where it came from."""

Question = tuple[str, str]
"""A command and its argument."""

_HELD: Question = ("HSCAN", "")

_place = msgspec.json.Decoder(tuple[msgspec.Raw, str | None, str | None]).decode


class RedisProbe(Probe):
    """Looks by two or three pipelines. How many consume from a queue Redis does not know."""

    def __init__(self, broker: Broker) -> None:
        """Raises ConfigError for what Redis cannot be asked for."""
        refuse_impossible(broker)
        self._broker = broker
        self._urls = itertools.cycle(choices_of(broker))
        self._url = ""
        self._link: RedisLink | None = None
        self._client: Any = None
        self._denied: set[Question] = set()

    def look(self, queues: Collection[str]) -> Sight:
        try:
            if self._link is None:
                self._url = next(self._urls)
            with told(self._url):
                return self._look(self._linked(), list(queues))
        except BrokerLost:
            self.close()
            raise

    def close(self) -> None:
        link, self._link, self._client = self._link, None, None
        self._denied = set()
        with suppress(*GONE):
            if link is not None:
                link.close()

    def _linked(self) -> RedisLink:
        if self._link is None:
            self._link = RedisLink(self._broker, self._url)
            self._client = Redis(connection_pool=self._link.pool)
        return self._link

    def _look(self, link: RedisLink, queues: Sequence[str]) -> Sight:
        began = time.perf_counter()
        self._client.ping()
        ping = time.perf_counter() - began
        lists = {queue: link.lists_of(queue) for queue in queues}
        keys = [key for some in lists.values() for key in some]
        lengths, sizes = [("LLEN", key) for key in keys], [("MEMORY USAGE", key) for key in keys]
        asides = [("HLEN", link.unacked), ("INFO", "memory"), ("INFO", "clients")]
        answers = self._ask([*lengths, *sizes, *asides])
        shares = self._held(link, answers.get(asides[0]))
        found = [
            QueueFacts(
                queue,
                _sum([answers.get(("LLEN", key)) for key in some]),
                None if shares is None else shares[queue],
                memory_bytes=_sum([_size(answers, key) for key in some]),
            )
            for queue, some in lists.items()
        ]
        held, memory, clients = (answers.get(aside) for aside in asides)
        return Sight(
            tuple(found),
            ping,
            _fact(clients, "connected_clients"),
            _fact(memory, "used_memory"),
            _sum([held]),
            self._refused(lists),
        )

    def _refused(self, lists: Mapping[str, Sequence[str]]) -> frozenset[str]:
        refused = {key for command, key in self._denied if command == "LLEN"}
        return frozenset(queue for queue, keys in lists.items() if refused.intersection(keys))

    def _ask(self, questions: Sequence[Question]) -> dict[Question, Any]:
        """The answers, errors among them, in one round trip. What this user may not ask is not
        asked again on this connection: the server keeps a log of it."""
        asked = [question for question in questions if question not in self._denied]
        pipeline = self._client.pipeline(transaction=False)
        for question in asked:
            pipeline.execute_command(*question)
        answers = dict(zip(asked, pipeline.execute(raise_on_error=False), strict=True))
        self._denied |= {q for q, a in answers.items() if isinstance(a, NoPermissionError)}
        return answers

    def _held(self, link: RedisLink, number: Any) -> Counter[str] | None:
        """How many messages of each queue workers hold; None when that cannot be told."""
        if not isinstance(number, int) or number > MOST_HELD or _HELD in self._denied:
            return None
        places: Counter[Place] = Counter()
        try:
            for _, value in self._client.hscan_iter(link.unacked, count=PORTION) if number else ():
                with suppress(msgspec.MsgspecError):  # whatever else somebody keeps there
                    _, exchange, routing_key = _place(value)
                    places[exchange or "", routing_key or ""] += 1
        except NoPermissionError:
            self._denied.add(_HELD)
            return None
        return self._by_queue(link, places)

    def _by_queue(self, link: RedisLink, places: Mapping[Place, int]) -> Counter[str]:
        exchanges = sorted({exchange for exchange, _ in places if exchange})
        bound = self._ask([("SMEMBERS", link.bindings_of(exchange)) for exchange in exchanges])
        found: Counter[str] = Counter()
        for (exchange, routing_key), number in places.items():
            bindings = bound.get(("SMEMBERS", link.bindings_of(exchange)))
            found[_queue_of(bindings, routing_key)] += number
        return found


def _queue_of(bindings: Any, routing_key: str) -> str:
    """The queue a message came by: the one bound by its routing key, else (the default exchange,
    no such binding, or several) the one called so."""
    rows = bindings if isinstance(bindings, Iterable) else ()
    parts = [row.decode("utf-8", "replace").split(_SEPARATOR) for row in rows]
    queues = {part[-1] for part in parts if len(part) == 3 and part[0] == routing_key}
    return queues.pop() if len(queues) == 1 else routing_key


def _size(answers: Mapping[Question, Any], key: str) -> Any:
    """The bytes of a list; one that is empty is not there."""
    question = ("MEMORY USAGE", key)
    return 0 if question in answers and answers[question] is None else answers.get(question)


def _sum(numbers: Sequence[Any]) -> int | None:
    """The sum; None when one of them was refused."""
    known = [number for number in numbers if isinstance(number, int)]
    return sum(known) if len(known) == len(numbers) else None


def _fact(section: Any, name: str) -> int | None:
    """One number of an INFO, None where it may not be asked for."""
    value = section.get(name) if isinstance(section, Mapping) else None
    return value if isinstance(value, int) else None
