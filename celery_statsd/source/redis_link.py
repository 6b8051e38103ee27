"""How a Redis is reached: kombu works out TLS, Sentinel, Unix sockets and how it names its keys."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kombu.connection import Connection
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError
from redis.retry import Retry

from celery_statsd.errors import BrokerLost, ConfigError
from celery_statsd.source.base import Broker, Tls, scrubbed

ANSWER_WITHIN = 5.0
"""Seconds to connect, and for each answer."""

GONE = (RedisError, OSError, ValueError)
"""What redis-py and kombu raise when the server is gone, or no Redis."""

_WORDS: tuple[tuple[type[Exception], str], ...] = (
    (AuthenticationError, "login refused"),
    (NoPermissionError, "access refused"),
    (Exception, "the connection failed or broke"),
)


class RedisLink:
    """The way to one Redis: `pool` gives connections, `prefix` stands before each key.

    Raises what `told` makes BrokerLost of.
    """

    def __init__(self, broker: Broker, url: str) -> None:
        self._kombu = Connection(  # type: ignore[no-untyped-call]
            url,
            ssl=_tls(broker.tls),
            connect_timeout=ANSWER_WITHIN,
            transport_options=_options(broker),
        )
        # Not connection.channel(): that sleeps and tries a second time.
        transport = self._kombu.transport
        channel = self._channel = transport.create_channel(transport.establish_connection())
        self.pool: Any = channel.pool  # it also writes the database's number into the prefix
        self.prefix: str = channel.global_keyprefix
        self.event_pattern = _pattern(channel, broker.event_exchange)

    def lists_of(self, queue: str) -> list[str]:
        """The keys of the lists that hold a queue's messages, one for each step of priority
        (kombu.transport.redis.Channel._q_for_pri)."""
        channel = self._channel
        return [
            f"{self.prefix}{channel._q_for_pri(queue, step)}" for step in channel.priority_steps
        ]

    @property
    def channel(self) -> Any:
        """kombu's own way to it. Nothing may be consumed by it: kombu's consumers put back what
        workers have held for longer than this channel's visibility timeout."""
        return self._channel

    @property
    def unacked(self) -> str:
        """The key of the hash of what workers hold, of all queues of this database."""
        return f"{self.prefix}{self._channel.unacked_key}"

    def bindings_of(self, exchange: str) -> str:
        """The key of the set of an exchange's bindings."""
        return f"{self.prefix}{self._channel.keyprefix_queue % exchange}"

    def close(self) -> None:
        """Leave. kombu's release alone closes nothing of a channel that was made past it: of its
        two pools one connection each time stayed open."""
        self._channel._disconnect_pools()
        self._kombu.release()  # type: ignore[no-untyped-call]


@contextmanager
def told(url: str) -> Iterator[None]:
    """Make BrokerLost of whatever redis-py raises."""
    try:
        yield
    except GONE as error:
        raise BrokerLost(_sentence(error, url)) from error


def choices_of(broker: Broker) -> tuple[str, ...]:
    """The URLs to try. Sentinels are no alternatives: kombu asks them all for the one master."""
    return (";".join(broker.urls),) if _is_sentinel(broker) else broker.urls


def _pattern(channel: Any, exchange: str) -> str:
    """What to subscribe to: the names kombu publishes under (Channel._get_publish_topic)."""
    name = f"{channel.global_keyprefix}{channel.keyprefix_fanout}{exchange}"
    return f"{name}/*" if channel.fanout_patterns else name


def _is_sentinel(broker: Broker) -> bool:
    return broker.urls[0].startswith("sentinel://")


def refuse_impossible(broker: Broker) -> None:
    """Raise ConfigError for what Redis cannot be asked for."""
    if _is_sentinel(broker) and not broker.transport_options.get("master_name"):
        raise ConfigError(
            "transport_options", "Sentinel needs a master_name", "add master_name: mymaster"
        )
    if broker.tls.on and broker.tls.server_name:
        raise ConfigError(
            "tls_server_name",
            "Redis is always verified under the host name of its URL",
            "write the certificate's name into the broker URL and remove tls_server_name",
        )


def _options(broker: Broker) -> dict[str, Any]:
    """The user's options under ours: no call waits for ever, and nothing reconnects by itself."""
    once = {"retry": Retry(NoBackoff(), 0), "socket_timeout": ANSWER_WITHIN}
    sentinels = once | dict(broker.transport_options.get("sentinel_kwargs") or {})
    return dict(broker.transport_options) | {
        "socket_timeout": ANSWER_WITHIN,
        "socket_connect_timeout": ANSWER_WITHIN,
        "socket_keepalive": True,
        "retry_on_timeout": False,
        "health_check_interval": 0,  # we PING ourselves
        "sentinel_kwargs": sentinels,
    }


def _tls(tls: Tls) -> dict[str, Any] | bool:
    """kombu's `ssl`. Left out, kombu's rediss:// would accept any certificate."""
    if not tls.on:
        return False
    return {
        "ssl_cert_reqs": ssl.CERT_REQUIRED if tls.verify else ssl.CERT_NONE,
        "ssl_check_hostname": tls.verify,
        "ssl_ca_certs": tls.ca_file,
        "ssl_certfile": tls.cert_file,
        "ssl_keyfile": tls.key_file,
    }


def _sentence(error: Exception, url: str) -> str:
    words = next(words for kind, words in _WORDS if isinstance(error, kind))
    return scrubbed(f"{words} ({error})", url)
