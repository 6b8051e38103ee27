"""RabbitMQ: a queue for answers that is nobody else's, and questions that do not pile up."""

import time

from celery_statsd.probes.amqp_mailbox import AmqpMailbox
from celery_statsd.source.base import Broker
from tests.servers.process import wait_until
from tests.servers.rabbitmq import RabbitMQ
from tests.source.rabbit import channel, queues, ready

EXCHANGE = "celery.pidbox"


def test_the_queue_of_the_answers_ends_with_the_connection(rabbitmq: RabbitMQ) -> None:
    """However that ends: it is exclusive, and so named that everybody sees what it is."""
    url = rabbitmq.fresh_url()
    with AmqpMailbox.opened(Broker((url,)), url, EXCHANGE) as mailbox:
        ((name, exclusive),) = queues(rabbitmq, url, "name", "exclusive")
        assert ("", name, "true") == (*mailbox.reply_to.values(), exclusive)
        assert name.endswith(f".reply.{EXCHANGE}")
        mailbox._link.sock.close()  # as by SIGKILL
    wait_until(lambda: not queues(rabbitmq, url, "name"), 10, "it is gone")


def test_a_question_that_nobody_takes_in_time_expires(rabbitmq: RabbitMQ) -> None:
    """A worker that stands still finds no heap of them afterwards."""
    url = rabbitmq.fresh_url()
    with channel(url) as plain:
        plain.exchange_declare(EXCHANGE, "fanout", durable=False, auto_delete=False)
        plain.queue_declare("w1", exclusive=True)
        plain.queue_bind("w1", EXCHANGE)
        with AmqpMailbox.opened(Broker((url,)), url, EXCHANGE) as mailbox:
            mailbox.send({"method": "ping"}, 1.0)
            wait_until(lambda: ready(plain, "w1") == 1, 1, "it waits")
            wait_until(lambda: ready(plain, "w1") == 0, 5, "it has expired")


def test_where_there_was_never_a_worker_nobody_answers(rabbitmq: RabbitMQ) -> None:
    """No exchange is made; it takes no longer than the broker's word."""
    url = rabbitmq.fresh_url()
    with AmqpMailbox.opened(Broker((url,)), url, EXCHANGE) as mailbox:
        mailbox.send({"method": "ping"}, 1.0)
        assert [] == list(mailbox.letters(time.monotonic() + 30))
    assert EXCHANGE not in rabbitmq.ctl("list_exchanges", "-p", url.rpartition("/")[2])
