"""The plain kombu source: memory:// in one process, filesystem:// for the rest."""

import threading
import time
import uuid
from pathlib import Path

import pytest
from celery import Celery
from celery.contrib.testing.worker import start_worker
from kombu.transport.memory import Channel

from celery_statsd.source.base import Broker
from tests.source.stream import counts, listening, names, read_until, send, uuids

MEMORY = "memory://"


@pytest.fixture
def exchange() -> str:
    """An exchange of one's own: all memory:// brokers of a process are one."""
    return f"events.{uuid.uuid4()}"


def test_every_event_of_a_worker_in_this_process_arrives(exchange: str) -> None:
    """10 tasks of a worker thread make 10 of each of the four events."""
    app = Celery(broker=MEMORY, set_as_current=False)
    app.conf.update(
        event_exchange=exchange,
        task_send_sent_event=True,
        worker_send_task_events=True,
        task_default_queue=f"tasks.{exchange}",  # the usual one is every test's of this process
        task_ignore_result=True,
        broker_transport_options={"polling_interval": 0.01},
    )

    @app.task(name="add")
    def add(a: int, b: int) -> int:
        return a + b

    with (
        listening(Broker((MEMORY,), event_exchange=exchange)) as (source, _),
        start_worker(app, pool="threads", perform_ping_check=False),
    ):
        for number in range(10):
            add.delay(number, number)
        messages = read_until(source, lambda seen: counts(seen)["task-succeeded"] >= 10)
    kinds = ("task-sent", "task-received", "task-started", "task-succeeded")
    assert dict.fromkeys(kinds, 10) == counts(messages)


def test_a_message_is_as_it_was_published(exchange: str) -> None:
    """Body, type, encoding, sender and routing key are those of the event."""
    with listening(Broker((MEMORY,), event_exchange=exchange)) as (source, _):
        send(MEMORY, ["a"], exchange=exchange)
        (message,) = read_until(source, len)
    assert uuids([message]) == ["a"]
    assert message.facts == ("application/json", "utf-8", "worker@host")
    assert "task.started" == message.routing_key


def test_all_at_hand_is_read_at_once(exchange: str) -> None:
    """A waiting crowd comes in one read, in order."""
    with listening(Broker((MEMORY,), event_exchange=exchange)) as (source, _):
        send(MEMORY, names(100), exchange=exchange)
        assert names(100) == uuids(source.read(1))


def test_silence_takes_the_time_that_was_given(exchange: str) -> None:
    """Nothing at hand: an empty answer after the timeout, and not much later."""
    with listening(Broker((MEMORY,), event_exchange=exchange)) as (source, _):
        start = time.monotonic()
        assert source.read(0.2) == []
        assert 0.2 <= time.monotonic() - start < 0.5


def test_an_event_is_heard_soon(exchange: str) -> None:
    """A read that waits returns shortly after an event was sent: memory is looked at often."""
    with listening(Broker((MEMORY,), event_exchange=exchange)) as (source, _):
        sent: list[float] = []

        def later() -> None:
            sent.append(time.monotonic())
            send(MEMORY, ["a"], exchange=exchange)

        timer = threading.Timer(0.1, later)
        timer.start()
        assert uuids(source.read(5)) == ["a"]
        heard = time.monotonic()
        timer.join()
    assert heard - sent[0] < 0.5


def test_nothing_is_left_behind(exchange: str) -> None:
    """The queue is taken along, or memory would fill with what nobody reads."""
    broker = Broker((MEMORY,), event_exchange=exchange, event_queue_prefix=exchange)
    with listening(broker):
        assert len([name for name in Channel.queues if name.startswith(exchange)]) == 1
    assert [name for name in Channel.queues if name.startswith(exchange)] == []


def test_memory_is_no_cause_for_a_warning(exchange: str) -> None:
    """Only transports that are a best effort are told."""
    with listening(Broker((MEMORY,), event_exchange=exchange)) as (source, log):
        assert source.place == MEMORY
    assert "warning" not in log.getvalue()


def test_another_transport_works_with_a_warning(tmp_path: Path) -> None:
    """Events through files are heard; the start says that it is a best effort, once."""
    folders = {"data_folder_in": "data", "data_folder_out": "data", "control_folder": "control"}
    options = {name: str(tmp_path / folder) for name, folder in folders.items()}
    (tmp_path / "data").mkdir()
    with listening(Broker(("filesystem://",), transport_options=options)) as (source, log):
        send("filesystem://", names(3), options)
        messages = read_until(source, lambda seen: len(seen) >= 3)
        assert names(3) == sorted(uuids(messages))  # files of one ms have no order
    assert log.getvalue().count("broker_best_effort") == 1


def test_a_broker_that_fails_is_lost_and_found(tmp_path: Path) -> None:
    """A folder that is away is a lost broker; when it is there again, one reconnect."""
    options = {
        "data_folder_in": str(tmp_path / "data"),
        "data_folder_out": str(tmp_path / "data"),
        "control_folder": str(tmp_path / "control"),
    }
    (tmp_path / "data").mkdir()
    with listening(Broker(("filesystem://",), transport_options=options)) as (source, log):
        (tmp_path / "data").rmdir()
        assert source.read(0.1) == ()
        assert not source.connected
        (tmp_path / "data").mkdir()
        read_until(source, lambda _: source.connected)
        send("filesystem://", ["after"], options)
        assert uuids(read_until(source, len)) == ["after"]
        assert source.reconnects == 1
    assert "broker_lost" in log.getvalue()
