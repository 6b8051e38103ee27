"""How a Redis is reached, and what kombu calls its keys there."""

from typing import Any

import pytest
import redis

from celery_statsd.errors import BrokerLost, ConfigError
from celery_statsd.source.base import Broker
from celery_statsd.source.redis_link import RedisLink, choices_of, refuse_impossible, told
from tests.servers.process import free_port, wait_until
from tests.servers.redis import Redis

SEP = "\x06\x16"


@pytest.mark.parametrize(
    ("options", "lists", "unacked", "bindings"),
    [
        ({}, ["q", f"q{SEP}3", f"q{SEP}6", f"q{SEP}9"], "unacked", "_kombu.binding.e"),
        (
            {"global_keyprefix": "shop:", "priority_steps": [0, 1], "sep": ":", "unacked_key": "u"},
            ["shop:q", "shop:q:1"],
            "shop:u",
            "shop:_kombu.binding.e",
        ),
    ],
)
def test_keys_are_named_as_kombu_names_them(
    redis_server: Redis, options: dict[str, Any], lists: list[str], unacked: str, bindings: str
) -> None:
    """With any steps, separator and prefix."""
    url = redis_server.fresh_url()
    link = RedisLink(Broker((url,), transport_options=options), url)
    try:
        assert (lists, unacked, bindings) == (
            link.lists_of("q"), link.unacked, link.bindings_of("e"),
        )  # fmt: skip
        assert options.get("global_keyprefix", "") == link.prefix
    finally:
        link.close()


def test_whoever_leaves_leaves_no_connection(redis_server: Redis) -> None:
    """A source that is refused connects again and again: each time one would stay."""
    url = redis_server.fresh_url()
    kept = RedisLink(Broker((url,)), url)
    with redis.Redis.from_url(redis_server.url) as root:

        def there() -> int:
            return sum(row["db"] == url.rpartition("/")[2] for row in root.client_list())

        kept.pool.get_connection()
        assert 2 == there()
        kept.close()
        wait_until(lambda: not there(), 5, "all are gone")


def test_what_redis_raises_is_a_lost_broker() -> None:
    """Told without the password."""
    url = f"redis://:secret@127.0.0.1:{free_port()}/0"
    with pytest.raises(BrokerLost, match="the connection failed or broke") as lost, told(url):
        RedisLink(Broker((url,)), url)
    assert "secret" not in str(lost.value)


def test_sentinels_are_one_choice() -> None:
    """And need to be told which master is meant."""
    two = ("sentinel://a", "sentinel://b")
    assert ("sentinel://a;sentinel://b",) == choices_of(Broker(two))
    assert ("redis://a", "redis://b") == choices_of(Broker(("redis://a", "redis://b")))
    with pytest.raises(ConfigError, match="master_name"):
        refuse_impossible(Broker(two))
