"""Redis: a list of answers that ends by itself, and no hand on what workers hold."""

import time

import pytest
from redis import Redis as Client

from celery_statsd.probes.redis_mailbox import KEPT, RedisMailbox
from celery_statsd.source.base import Broker
from tests.servers.redis import Redis

EXCHANGE = "celery.pidbox"


@pytest.mark.parametrize("prefix", ["", "shop:"])
def test_the_list_of_the_answers_ends_by_itself(redis_server: Redis, prefix: str) -> None:
    """Also of an agent that is killed meanwhile; else it is deleted, and its binding."""
    url = redis_server.fresh_url()
    broker = Broker((url,), transport_options={"global_keyprefix": prefix} if prefix else {})
    with Client.from_url(url) as client:
        with RedisMailbox.opened(broker, url, EXCHANGE) as mailbox:
            key = f"{prefix}{mailbox.reply_to['routing_key']}"
            assert 0 < client.ttl(key) <= KEPT
            assert 1 == client.scard(f"{prefix}_kombu.binding.reply.{EXCHANGE}")
            client.lpush(key, "rubbish", "{}")
            assert ["", ""] == [letter.ticket for letter in mailbox.letters(time.monotonic())]
            assert [] == list(mailbox.letters(time.monotonic()))
            assert 0 < client.ttl(key) <= KEPT
        assert [] == client.keys()


def test_what_workers_hold_is_left_to_them(redis_server: Redis) -> None:
    """A consumer of kombu's would give it back to its queue, by a visibility timeout that is not
    the workers'."""
    url = redis_server.fresh_url()
    with Client.from_url(url) as client:
        client.hset("unacked", "tag", '[{"body": ""}, "", "q"]')
        client.zadd("unacked_index", {"tag": 1.0})
        with RedisMailbox.opened(Broker((url,)), url, EXCHANGE) as mailbox:
            mailbox.send({"method": "ping"}, 1.0)
            assert [] == list(mailbox.letters(time.monotonic() + 1.2))
        assert {b"unacked", b"unacked_index"} == set(client.keys())
