"""What the brokers are asked, each on a connection of its own that lasts as long as the question.

Nothing is declared, published or changed. What this user may not ask is None in the facts.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from kombu.utils.url import parse_url
from redis import Redis
from redis.exceptions import ResponseError

from celery_statsd.check.brokers import (
    RabbitFacts,
    RabbitQueue,
    RedisFacts,
    Rights,
    workers_of,
)
from celery_statsd.check.redis import COMMAND, FORGE, HEAR, LEASE, LOOK, SEND
from celery_statsd.errors import BrokerLost
from celery_statsd.probes.management import ManagementProbe
from celery_statsd.source import probed
from celery_statsd.source.amqp_link import linked
from celery_statsd.source.amqp_link import told as told_by_amqp
from celery_statsd.source.base import Broker
from celery_statsd.source.queue import escaped
from celery_statsd.source.redis_link import RedisLink, choices_of
from celery_statsd.source.redis_link import told as told_by_redis

Answer = TypeVar("Answer")

_COLUMNS = (
    *("name", "type", "messages", "consumers", "durable", "exclusive", "arguments"),
    "effective_policy_definition",
)
_SEPARATOR = "\x06\x16"  # of a binding's routing key, pattern and queue


def transport_of(broker: Broker) -> str:
    """What kind of broker it is: amqp, redis, ... Raises ConfigError."""
    return probed(broker)[0]


def rabbit(broker: Broker) -> RabbitFacts:
    """What a RabbitMQ tells. Raises BrokerLost."""
    _, broker = probed(broker)
    version = _first(broker.urls, partial(_version, broker))
    user = parse_url(broker.urls[0])["userid"] or "guest"
    own = f"{broker.event_queue_prefix}.statsd.{escaped(broker.group)}"
    if not broker.management:
        return RabbitFacts(version, user, own)
    management = ManagementProbe(broker)
    columns = urlencode({"columns": ",".join(_COLUMNS)})
    rows = management.get(f"queues/{management.vhost}?{columns}")
    rights = management.get(f"permissions/{management.vhost}/{quote(user, safe='')}", True)
    return RabbitFacts(
        version, user, own,
        tuple(map(_queue, rows)),
        _rights(rights),
    )  # fmt: skip


def _version(broker: Broker, url: str) -> str:
    with told_by_amqp(url):
        link = linked(broker, url, heartbeat=0)
        version = str(link.server_properties.get("version", ""))
        link.close()
    return version


def _first(urls: Sequence[str], ask: Callable[[str], Answer]) -> Answer:
    """The answer of the first that gives one. Raises the BrokerLost of the last."""
    for url in urls[:-1]:
        with suppress(BrokerLost):
            return ask(url)
    return ask(urls[-1])


def _queue(row: Mapping[str, Any]) -> RabbitQueue:
    policy = row.get("effective_policy_definition")
    return RabbitQueue(
        row["name"],
        row.get("messages") or 0,
        row.get("consumers"),
        row.get("type") or "classic",
        bool(row.get("durable")),
        bool(row.get("exclusive")),
        dict(row.get("arguments") or {}),
        None if policy is None else dict(policy or {}),  # an empty one is a list
    )


def _rights(row: Mapping[str, Any] | None) -> Rights | None:
    if row is None:
        return None
    return Rights(*(str(row.get(right, "")) for right in ("configure", "write", "read")))


def redis(broker: Broker, queues: Iterable[str]) -> RedisFacts:
    """What a Redis tells; the rights are asked for with one of `queues`. Raises BrokerLost."""
    _, broker = probed(broker)
    queue = next(iter(queues), "celery")
    return _first(choices_of(broker), partial(_redis, broker, queue))


def _redis(broker: Broker, queue: str, url: str) -> RedisFacts:
    with told_by_redis(url):
        link = RedisLink(broker, url)
        try:
            return _RedisTold(link, broker, queue).facts()
        finally:
            link.close()


class _RedisTold:
    """One Redis, asked."""

    def __init__(self, link: RedisLink, broker: Broker, queue: str) -> None:
        self._link = link
        self._broker = broker
        self._queue = queue
        self._client: Any = Redis(connection_pool=link.pool)

    def facts(self) -> RedisFacts:
        """All of it."""
        client, link = self._client, self._link
        server = _asked(lambda: client.info("server")) or {}
        memory = _asked(lambda: client.info("memory")) or {}
        limits = self._setting("client-output-buffer-limit")
        clients = _asked(client.client_list)
        receivers = _asked(lambda: client.smembers(link.bindings_of(self._broker.event_exchange)))
        boxes = _asked(lambda: client.smembers(link.bindings_of("celery.pidbox")))
        own = link.pool.connection_kwargs.get("username") or "default"
        user = _text(_asked(lambda: client.execute_command("ACL", "WHOAMI")) or own)
        return RedisFacts(
            version=_text(server.get("redis_version", "")),
            user=user,
            limit=_limit(limits),
            maxmemory=memory.get("maxmemory"),
            policy=_text(memory.get("maxmemory_policy", "")),
            receivers=None if receivers is None else len(receivers),
            subscribers=None if clients is None else _subscribers(clients),
            pidboxes=None if boxes is None else workers_of(map(_bound, boxes)),
            may=self._may(user),
        )

    def _setting(self, name: str) -> str:
        found = _asked(lambda: self._client.config_get(name)) or {}
        return next((_text(value) for value in found.values()), "")

    def _may(self, user: str) -> dict[str, bool] | None:
        """What the user may do, by what it would be for; None when that may not be asked."""
        client = self._client
        answers = {
            what: _asked(partial(client.execute_command, "ACL", "DRYRUN", user, *command))
            for what, command in self._commands().items()
        }
        if None in answers.values():
            return None
        return {what: _text(answer) == "OK" for what, answer in answers.items()}

    def _commands(self) -> dict[str, tuple[str, ...]]:
        link, exchange = self._link, self._broker.event_exchange
        channel = link.event_pattern.removesuffix("/*")
        head = channel.removesuffix(exchange)
        database = link.pool.connection_kwargs.get("db", 0)
        lease = f"{link.prefix}celery-statsd/{database}/{exchange}/x/lease"
        queue = link.lists_of(self._queue)[0]
        return {
            HEAR: ("PSUBSCRIBE", link.event_pattern),
            LEASE: ("EVAL", "return 1", "1", lease),
            LOOK: ("LLEN", queue),
            SEND: ("LPUSH", queue, "x"),
            FORGE: ("PUBLISH", f"{channel}/task.multi", "x"),
            COMMAND: ("PUBLISH", f"{head}celery.pidbox", "x"),
        }


def _asked(question: Callable[[], Any]) -> Any:
    """The answer; None when it is refused, or not known there."""
    with suppress(ResponseError):
        return question()
    return None


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _limit(text: str) -> tuple[int, int, int] | None:
    """The three numbers of `pubsub` among the limits of all kinds of clients."""
    words = text.split()
    if "pubsub" not in words:
        return None
    at = words.index("pubsub")
    hard, soft, seconds = (int(word) for word in words[at + 1 : at + 4])
    return hard, soft, seconds


def _subscribers(clients: Iterable[Mapping[str, Any]]) -> int:
    return sum(int(row.get("psub", 0)) + int(row.get("sub", 0)) > 0 for row in clients)


def _bound(row: Any) -> str:
    """The queue of a binding."""
    return _text(row).rpartition(_SEPARATOR)[2]
