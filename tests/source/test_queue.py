"""The event queue, on a real RabbitMQ: whose it is, what it keeps, and what replaces it."""

import io
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from amqp.exceptions import (
    AccessRefused,
    AMQPError,
    AMQPNotImplementedError,
    InternalError,
    NotFound,
    PreconditionFailed,
)
from hypothesis import given
from hypothesis import strategies as st

from celery_statsd.log import Log
from celery_statsd.source.base import Broker
from celery_statsd.source.queue import (
    LONGEST_GROUP,
    REPLACE_AFTER,
    EventQueue,
    GroupQueue,
    escaped,
    knows_quorum,
    means_missing,
    refuses_type,
)
from tests.conftest import running
from tests.servers.process import REPOSITORY, Child, wait_until
from tests.servers.rabbitmq import RabbitMQ
from tests.source.rabbit import (
    channel,
    delete_queue,
    publish,
    queue_of,
    queues,
    ready,
    restart_queue,
    stop_queue,
    unread,
    vhost,
)
from tests.source.stream import back, listening, lost, names, read_until, send, uuids

NAME = "celeryev.statsd.default"
LISTENER = """
import sys
from celery_statsd.log import Log
from celery_statsd.source import source_for
from celery_statsd.source.base import Broker
source, seen = source_for(Broker((sys.argv[1],)), Log()), 0
while True:
    seen += len(source.read(0.1))
    print("seen", seen, flush=True)
"""


@pytest.fixture
def url(rabbitmq: RabbitMQ) -> str:
    """A vhost of one's own."""
    return rabbitmq.fresh_url()


def group_queue(url: str, **changes: Any) -> tuple[GroupQueue, io.StringIO]:
    """The queue of a group, and what it logs."""
    stream = io.StringIO()
    return GroupQueue(Broker((url,), **changes), Log("debug", stream=stream)), stream


def consumed(queue: GroupQueue, url: str) -> str:
    """The name of the queue that is consumed from, on a connection of its own."""
    with channel(url) as plain:
        queue.consume(plain.connection, lambda _: None)
    return queue.name


def refused(queue: GroupQueue, url: str, error: type[Exception], times: int = 1) -> None:
    """Try to consume, and be refused with `error`."""
    for _ in range(times):
        with pytest.raises(error):
            consumed(queue, url)


@pytest.mark.parametrize(
    ("queue_type", "group", "name"),
    [("quorum", "default", NAME), ("classic", "shop-2_x", "celeryev.statsd.shop-2_x")],
)
def test_the_queue_of_a_group_is_durable_and_has_no_limits(
    rabbitmq: RabbitMQ, url: str, queue_type: str, group: str, name: str
) -> None:
    """Its type, one active consumer, and not one argument more; it stays when the source leaves."""
    broker = Broker((url,), group=group, queue_type=queue_type)
    with listening(broker) as (_, log):
        pass
    columns = ("name", "durable", "auto_delete", "arguments")
    arguments = f'[{{"x-queue-type","{queue_type}"}},{{"x-single-active-consumer",true}}]'
    assert [[name, "true", "false", arguments]] == queues(rabbitmq, url, *columns)
    assert f"event_queue_made queue={name} type={queue_type}" in log.getvalue()


def test_a_transient_queue_is_gone_with_its_source(rabbitmq: RabbitMQ, url: str) -> None:
    """An exclusive, auto-deleted queue under the prefix, with no limit or TTL; events reach it."""
    columns = ("name", "exclusive", "auto_delete", "durable", "arguments")
    broker = Broker((url,), event_queue_prefix="shop", queue_type="transient")
    with listening(broker) as (source, _):
        send(url, ["a"])
        assert uuids(read_until(source, len)) == ["a"]
        (row,) = queues(rabbitmq, url, *columns)
    assert row[0].startswith("shop.statsd.")
    assert row[1:] == ["true", "true", "false", "[]"]
    assert queues(rabbitmq, url, "name") == []


@pytest.mark.parametrize("queue_type", ["quorum", "classic"])
def test_events_wait_while_nobody_listens(url: str, queue_type: str) -> None:
    """What is sent between two lives of an agent is read by the second, and by it alone."""
    broker = Broker((url,), queue_type=queue_type)
    with listening(broker) as (source, _):
        send(url, ["before"])
        assert uuids(read_until(source, len)) == ["before"]
    publish(url, names(100))
    with unread(broker) as (source, _):
        assert names(100) == uuids(read_until(source, lambda seen: len(seen) >= 100))
    with unread(broker) as (source, _):
        publish(url, ["last"])
        assert uuids(read_until(source, len)) == ["last"]


@pytest.mark.parametrize("queue_type", ["quorum", "classic"])
def test_one_of_a_group_is_served_and_the_next_takes_over(url: str, queue_type: str) -> None:
    """The second reads nothing while the first is there, then all that the first did not
    acknowledge, and what comes."""
    broker = Broker((url,), queue_type=queue_type)
    with listening(broker) as (first, _), listening(broker) as (second, _):
        publish(url, names(10))
        assert names(10) == uuids(read_until(first, lambda seen: len(seen) >= 10))
        publish(url, ["unacknowledged"])
        assert uuids(first.read(5)) == ["unacknowledged"]
        assert second.read(0.2) == ()
        first.close()
        assert uuids(read_until(second, len)) == ["unacknowledged"]
        publish(url, names(10))
        assert names(10) == uuids(read_until(second, lambda seen: len(seen) >= 10))


def test_a_killed_agent_is_replaced_by_the_next(url: str, tmp_path: Path) -> None:
    """What it had read and not acknowledged is read again."""
    env = {"PYTHONPATH": str(REPOSITORY)}
    first = Child("listener", [sys.executable, "-c", LISTENER, url], tmp_path, env)
    first.start(lambda: "seen 0" in first.output())
    try:
        with listening(Broker((url,))) as (second, _):
            publish(url, names(10))
            wait_until(lambda: "seen 10" in first.output(), 5, "the first has all")
            assert second.read(0) == ()
            first.kill()
            assert names(10) == uuids(read_until(second, lambda seen: len(seen) >= 10, 5))
    finally:
        first.kill()


def test_two_groups_each_get_every_event(url: str) -> None:
    """They do not know of each other."""
    blue, green = Broker((url,), group="blue"), Broker((url,), group="green")
    with listening(blue) as (first, _), listening(green) as (second, _):
        publish(url, names(20))
        for source in (first, second):
            assert names(20) == uuids(read_until(source, lambda seen: len(seen) >= 20))


def test_a_queue_that_exists_is_used_as_it_is(rabbitmq: RabbitMQ, url: str) -> None:
    """Whoever made it: another type and other limits are no error, and it is bound."""
    arguments = {"x-queue-type": "classic", "x-max-length": 1000}
    with channel(url) as plain:
        plain.queue_declare(NAME, durable=True, auto_delete=False, arguments=arguments)
    with listening(Broker((url,))) as (source, _):
        send(url, ["a"])
        assert uuids(read_until(source, len)) == ["a"]
    assert [[NAME, "classic"]] == queues(rabbitmq, url, "name", "type")


@pytest.mark.parametrize(
    ("queue_type", "after"), [("quorum", f"{NAME}.g2"), ("classic", NAME), ("transient", None)]
)
def test_a_deleted_queue_is_replaced(
    rabbitmq: RabbitMQ, url: str, queue_type: str, after: str | None
) -> None:
    """By a new generation when it was a quorum queue, the same for all of its group."""
    broker = Broker((url,), queue_type=queue_type)
    with listening(broker) as (first, log), listening(broker) as (second, _):
        delete_queue(rabbitmq, url, queue_of(first))
        for source in (first, second)[: 2 if after else 1]:
            lost(source, 5)
            back(source, 5)
        send(url, ["after"])
        assert uuids(read_until(first, len)) == ["after"]
        if after:
            assert (after, after) == (queue_of(first), queue_of(second))
    assert "the event queue was deleted" in log.getvalue()
    assert log.getvalue().count("broker_lost") == 1


def test_a_deleted_queue_is_replaced_though_older_ones_are_gone(url: str) -> None:
    """The generations are looked through past those that are missing."""
    queue, _ = group_queue(url)
    for expected in (NAME, f"{NAME}.g2", f"{NAME}.g3"):
        assert expected == consumed(queue, url)
        with channel(url) as plain:
            plain.queue_delete(queue.name)
    assert f"{NAME}.g4" == consumed(queue, url)


def test_a_start_finds_the_latest_generation(url: str) -> None:
    """Whether or not the first is still there."""
    with channel(url) as plain:
        for name in (NAME, f"{NAME}.g2", f"{NAME}.g3"):
            plain.queue_declare(name, durable=True, auto_delete=False)
        assert f"{NAME}.g3" == consumed(group_queue(url)[0], url)
        plain.queue_delete(NAME)
        plain.queue_delete(f"{NAME}.g3")
        assert f"{NAME}.g2" == consumed(group_queue(url)[0], url)


def test_a_bad_queue_is_replaced_after_three_refusals_in_a_row(
    rabbitmq: RabbitMQ, url: str
) -> None:
    """Said in the log; nobody reads it any more, so nothing is bound to it."""
    queue, log = group_queue(url)
    assert NAME == consumed(queue, url)
    stop_queue(rabbitmq, url, NAME)
    refused(queue, url, InternalError, REPLACE_AFTER - 1)
    queue.excuse()  # the broker was away
    refused(queue, url, InternalError, REPLACE_AFTER)
    assert NAME == queue.name
    assert f"{NAME}.g2" == consumed(queue, url)
    assert f"event_queue_replaced queue={NAME} by={NAME}.g2" in log.getvalue()
    bound = rabbitmq.management(f"exchanges/{vhost(url)}/celeryev/bindings/source")
    assert [f"{NAME}.g2"] == [binding["destination"] for binding in bound]


def test_a_bad_queue_is_waited_for_where_there_can_be_no_other(
    rabbitmq: RabbitMQ, url: str
) -> None:
    """A user who may only read has to wait until the old queue is back, or the next is there."""
    assert NAME == consumed(group_queue(url)[0], url)
    publish(url, ["kept"])
    rabbitmq.ctl("add_user", "reader", "pw")
    rabbitmq.ctl("set_permissions", "-p", vhost(url), "reader", "^$", "^$", r"^celeryev\.statsd")
    few = url.replace("guest:guest", "reader:pw")
    queue, log = group_queue(few)
    stop_queue(rabbitmq, url, NAME)
    for _ in range(2):
        refused(queue, few, InternalError, REPLACE_AFTER)
        refused(queue, few, AccessRefused)
    assert "event_queue_replaced" not in log.getvalue()
    restart_queue(rabbitmq, url, NAME)
    assert NAME == consumed(queue, few)
    assert log.getvalue().count("event_queue_bound_by_others") == 1
    with channel(url) as plain:
        wait_until(lambda: ready(plain, NAME) == 1, 10, "it is given back")


class Old(RabbitMQ):
    """A node on which nobody has enabled a feature flag, as after an update from 3.7."""

    def _lay_out(self, folder: Path) -> dict[str, str]:
        return super()._lay_out(folder) | {"RABBITMQ_FEATURE_FLAGS": ""}


def test_without_quorum_queues_the_queue_is_classic(tmp_path: Path) -> None:
    """The broker's refusal is told once, and what is lost by it; then all goes on."""
    with running(lambda: Old(tmp_path)) as broker, unread(Broker((broker.url,))) as (source, log):
        wait_until(lambda: source.read(0.1) == () and source.connected, 5, "connected")
        assert [[NAME, "classic", "true"]] == queues(broker, broker.url, "name", "type", "durable")
        publish(broker.url, ["a"])
        assert uuids(read_until(source, len)) == ["a"]
    assert log.getvalue().count("event_queue_classic") == 1
    assert "feature flag" in log.getvalue()


@pytest.mark.parametrize(
    ("group", "name"),
    [
        ("default", "default"),
        ("Shop-2_x", "Shop-2_x"),
        ("shop.eu", "shop_eu-5a1551da"),
        ("shop_eu", "shop_eu"),
        ("g" * LONGEST_GROUP, "g" * LONGEST_GROUP),
    ],
)
def test_a_group_is_part_of_a_queue_name(group: str, name: str) -> None:
    """As it is, when it can be; else changed, and told apart from what it could be taken for."""
    assert name == escaped(group)


@given(groups=st.lists(st.text(max_size=2 * LONGEST_GROUP), max_size=2, unique=True))
def test_no_two_groups_share_a_name(groups: list[str]) -> None:
    """And each name is plain and not too long, whatever the group holds."""
    found = {escaped(group) for group in groups}
    assert len(groups) == len(found)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,100}", name) for name in found)


@pytest.mark.parametrize(
    ("server", "known"),
    [
        ({"product": "RabbitMQ", "version": "3.7.28"}, False),
        ({"product": "RabbitMQ", "version": "3.8.0"}, True),
        ({"product": "RabbitMQ", "version": "3.10.8"}, True),
        ({"product": "RabbitMQ", "version": "4.3.1"}, True),
        ({"product": "RabbitMQ", "version": "unknown"}, True),
        ({"product": "LavinMQ", "version": "2.1.0"}, True),
        ({}, True),
    ],
)
def test_brokers_older_than_quorum_queues_are_known(server: dict[str, Any], known: bool) -> None:
    """They would take the arguments and ignore them; the others answer for themselves."""
    assert known == knows_quorum(server)


@pytest.mark.parametrize(
    ("error", "type_refused"),
    [
        (InternalError("Cannot declare: the corresponding feature flag is disabled"), True),
        (PreconditionFailed("the queue type is disabled"), True),
        (AMQPNotImplementedError("no"), True),
        (InternalError(None), False),
        (PreconditionFailed("inequivalent arg 'x-queue-type' for queue 'q' of type 't'"), False),
        (PreconditionFailed("queue limit in vhost '/' (1) is reached"), False),
    ],
)
def test_a_refused_type_is_told_from_other_refusals(error: AMQPError, type_refused: bool) -> None:
    """Only the first is cured by another type."""
    assert type_refused == refuses_type(error)


@pytest.mark.parametrize(
    ("told", "missing"),
    [
        ("NOT_FOUND - no queue 'q' in vhost '/'", True),
        ("home node 'rabbit@b' of durable queue 'q' in vhost '/' is down or inaccessible", False),
        ("queue 'q' in vhost '/' process is stopped by supervisor", False),
    ],
)
def test_a_queue_that_is_cut_off_is_not_missing(told: str, missing: bool) -> None:
    """It comes back with what it holds: another would leave that to nobody."""
    assert missing == means_missing(NotFound(told))


def test_arguments_are_those_no_policy_can_set() -> None:
    """Anything else would be for ever."""
    assert set(EventQueue.shared("q", "quorum").arguments) == {
        "x-queue-type",
        "x-single-active-consumer",
    }
