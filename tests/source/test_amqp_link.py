"""How a RabbitMQ is reached."""

import pytest
from amqp import spec

from celery_statsd.errors import BrokerLost
from celery_statsd.source.amqp_link import ANSWER_WITHIN, linked, passive_declaration, told
from celery_statsd.source.base import Broker
from tests.servers.process import free_port
from tests.servers.rabbitmq import RabbitMQ
from tests.source.rabbit import channel


def test_each_answer_has_its_time(rabbitmq: RabbitMQ) -> None:
    """py-amqp would wait without a limit. The heartbeat is the caller's."""
    link = linked(Broker((rabbitmq.url,)), rabbitmq.url, heartbeat=7)
    assert (ANSWER_WITHIN, 7) == (link.sock.gettimeout(), link.heartbeat)
    link.close()


def test_a_passive_declaration_is_answered_and_changes_nothing(rabbitmq: RabbitMQ) -> None:
    """Whenever the answer comes."""
    url = rabbitmq.fresh_url()
    with channel(url) as plain:
        plain.queue_declare("q", durable=True, auto_delete=False)
        came: list[tuple[object, ...]] = []
        plain._callbacks[spec.Queue.DeclareOk] = lambda *answer: came.append(answer)
        plain.send_method(*passive_declaration("q"))
        plain.connection.drain_events(timeout=5)
    assert [("q", 0, 0)] == came


def test_what_py_amqp_raises_is_a_lost_broker() -> None:
    """Told without the password."""
    url = f"amqp://u:secret@127.0.0.1:{free_port()}//"
    with pytest.raises(BrokerLost, match="nobody listens there") as lost, told(url):
        linked(Broker((url,)), url, heartbeat=0)
    assert "secret" not in str(lost.value)
