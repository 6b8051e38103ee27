"""What real brokers tell of themselves, and what they do not tell everybody."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import redis

from celery_statsd.check import asking
from celery_statsd.check.brokers import RabbitFacts, RabbitQueue, Rights
from celery_statsd.check.redis import COMMAND, FORGE, HEAR, LEASE, LOOK, SEND
from celery_statsd.errors import BrokerLost
from celery_statsd.source.base import Broker
from tests.servers.process import Child, answers, free_port, program, wait_until
from tests.servers.rabbitmq import RabbitMQ
from tests.servers.redis import Redis
from tests.source.rabbit import channel

SHIPPED = Path(__file__).parents[2] / "config" / "redis" / "users.acl"
OWN = "celeryev.statsd.default"
BOUND = '{"max-length": 9, "message-ttl": 1000}'


def managed(rabbitmq: RabbitMQ, url: str, login: str = "guest:guest") -> Broker:
    """That broker, with its management API."""
    return Broker((url,), management=f"http://{login}@127.0.0.1:{rabbitmq.management_port}")


def settled(broker: Broker) -> RabbitFacts:
    """What is told once the API's statistics are new: they are seconds old."""
    told = [asking.rabbit(broker)]

    def has_policies() -> bool:
        told.append(asking.rabbit(broker))
        return any(queue.policy and queue.consumers for queue in told[-1].queues or ())

    wait_until(has_policies, 30, "the statistics are new", poll=0.3)
    return told[-1]


def test_a_rabbitmq_tells_its_queues_and_rights(rabbitmq: RabbitMQ) -> None:
    """Types, consumers, arguments, and the policy that holds."""
    url = rabbitmq.fresh_url()
    vhost = url.rpartition("/")[2]
    rabbitmq.ctl("set_policy", "-p", vhost, "bound", r"^celeryev\.statsd", BOUND)
    quorum = {"x-queue-type": "quorum"}
    with channel(url) as made:
        made.queue_declare(OWN, durable=True, auto_delete=False, arguments=quorum)
        made.queue_declare("w1@h.celery.pidbox", exclusive=True)
        made.basic_consume(OWN)
        told = settled(managed(rabbitmq, url))
    found = {queue.name: queue for queue in told.queues or ()}
    policy = {"max-length": 9, "message-ttl": 1000}

    assert told.version == rabbitmq.management("overview")["rabbitmq_version"]
    assert ("guest", OWN, Rights(".*", ".*", ".*")) == (told.user, told.own, told.rights)
    assert found[OWN].type == "quorum"
    assert (quorum, policy, True) == (found[OWN].arguments, found[OWN].policy, found[OWN].durable)
    assert RabbitQueue("w1@h.celery.pidbox", exclusive=True) == found["w1@h.celery.pidbox"]
    assert ("w1@h",) == told.pidboxes


def test_without_management_a_rabbitmq_tells_its_version(rabbitmq: RabbitMQ) -> None:
    """And no more."""
    told = asking.rabbit(Broker((rabbitmq.fresh_url(),), group="shop"))

    assert told.version
    assert (None, None) == (told.queues, told.rights)
    assert "celeryev.statsd.shop" == told.own


def test_a_user_who_may_not_ask_for_rights(rabbitmq: RabbitMQ) -> None:
    """Sees the queues, and the rights are unknown."""
    url = rabbitmq.fresh_url()
    vhost, user = url.rpartition("/")[2], f"looks-{uuid4()}"
    rabbitmq.ctl("add_user", user, "pw")
    rabbitmq.ctl("set_user_tags", user, "management")
    rabbitmq.ctl("set_permissions", "-p", vhost, user, "^$", "^$", ".*")
    told = asking.rabbit(managed(rabbitmq, url, f"{user}:pw"))

    assert ((), None) == (told.queues, told.rights)


def test_a_login_that_is_wrong(rabbitmq: RabbitMQ) -> None:
    """Is told, and is not taken for a lack of rights."""
    with pytest.raises(BrokerLost, match="answers 401"):
        asking.rabbit(managed(rabbitmq, rabbitmq.fresh_url(), "guest:wrong"))


def test_the_next_address_is_asked(rabbitmq: RabbitMQ, redis_server: Redis) -> None:
    """When the first one does not answer."""
    away = f"127.0.0.1:{free_port()}"

    assert asking.rabbit(Broker((f"amqp://{away}//", rabbitmq.fresh_url()))).version
    assert asking.redis(Broker((f"redis://{away}/1", redis_server.fresh_url())), ()).version


def test_nobody_is_there() -> None:
    """Is told by the error the agent knows."""
    away = f"127.0.0.1:{free_port()}"
    with pytest.raises(BrokerLost):
        asking.rabbit(Broker((f"amqp://{away}//",)))
    with pytest.raises(BrokerLost):
        asking.redis(Broker((f"redis://{away}/0",)), ())


def test_a_redis_tells_all(redis_server: Redis) -> None:
    """Its limits as it has them, who is bound, who listens, and what its user may do."""
    url = redis_server.fresh_url()
    with redis.Redis.from_url(url, decode_responses=True) as client, client.pubsub() as one:
        one.psubscribe("/9.celeryev/*")
        one.get_message(timeout=5)
        client.sadd("_kombu.binding.celeryev", "#\x06\x16\x06\x16a", "#\x06\x16\x06\x16b")
        client.sadd("_kombu.binding.celery.pidbox", "\x06\x16\x06\x16w1@h.celery.pidbox")
        told = asking.redis(Broker((url,)), ["mails"])
        listening = [row for row in client.client_list() if int(row["psub"]) or int(row["sub"])]
        version = client.info("server")["redis_version"]

    assert (version, "default", (33554432, 8388608, 60)) == (told.version, told.user, told.limit)
    assert (0, "noeviction", 2, ("w1@h",)) == (
        told.maxmemory, told.policy, told.receivers, told.pidboxes,
    )  # fmt: skip
    assert len(listening) == told.subscribers
    assert dict.fromkeys((HEAR, LEASE, LOOK, SEND, FORGE, COMMAND), True) == told.may


@pytest.fixture
def least(tmp_path: Path) -> Iterator[tuple[str, redis.Redis]]:
    """The URL of the shipped user, and a client who may do everything."""
    file = tmp_path / "users.acl"
    file.write_text(SHIPPED.read_text())
    port = free_port()
    options = ("--port", str(port), "--aclfile", str(file), "--save", "", "--dir", str(tmp_path))
    child = Child("redis", [program("redis-server"), *options, "--bind", "127.0.0.1"], tmp_path)
    child.start(lambda: answers(port))
    with redis.Redis(port=port) as root:
        root.execute_command("ACL", "SETUSER", "celery-statsd", ">pw")
        yield f"redis://celery-statsd:pw@127.0.0.1:{port}/0", root
    child.kill()


def test_the_shipped_user_of_redis_may_ask_nothing(least: tuple[str, redis.Redis]) -> None:
    """And so nothing is known."""
    told = asking.redis(Broker((least[0],)), ())

    assert (None,) * 6 == (
        told.limit, told.maxmemory, told.receivers, told.subscribers, told.pidboxes, told.may,
    )  # fmt: skip


def test_what_the_shipped_user_may_do(least: tuple[str, redis.Redis]) -> None:
    """With the right to ask for it: what it needs, and nothing else."""
    url, root = least
    root.execute_command("ACL", "SETUSER", "celery-statsd", "+acl")
    told = asking.redis(Broker((url,)), ())

    assert "celery-statsd" == told.user
    assert {HEAR: True, LEASE: True, LOOK: False, SEND: False, FORGE: False, COMMAND: False} == (
        told.may
    )
