"""Both ends of an event stream: events are sent, and a source is read until enough came."""

import io
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from celery import Celery

from celery_statsd.log import Log
from celery_statsd.source import source_for
from celery_statsd.source.base import Broker, Message, Source
from tests.servers.process import Child, wait_until

TASKS = """
import os
from celery import Celery
app = Celery("tasks", broker=os.environ["TASKS_BROKER"])
app.conf.update(task_send_sent_event=True, task_ignore_result=True, broker_pool_limit=1,
                broker_connection_retry_on_startup=True,
                broker_transport_options={"confirm_publish": True})
@app.task(name="add")
def add(a, b):
    return a + b
"""


@contextmanager
def listening(broker: Broker, connected: bool = True) -> Iterator[tuple[Source, io.StringIO]]:
    """A source at `broker`, read once, so that it listens; and what it logs."""
    stream = io.StringIO()
    source = source_for(broker, Log("debug", stream=stream))
    try:
        source.read(0)
        assert source.connected == connected, stream.getvalue()
        yield source, stream
    finally:
        source.close()


def read_until(
    source: Source, enough: Callable[[list[Message]], Any], seconds: float = 10
) -> list[Message]:
    """What `source` gives until `enough` of it came. Raises AssertionError after `seconds`."""
    messages: list[Message] = []
    deadline = time.monotonic() + seconds
    while not enough(messages):
        assert time.monotonic() < deadline, f"only {len(messages)} messages in {seconds} s"
        messages += source.read(0.1)
        source.ack()
    return messages


def send(url: str, uuids: Sequence[str], options: Any = None, exchange: str = "celeryev") -> None:
    """Send one task-started for each of `uuids`, as a worker on `url` does. A RabbitMQ confirms
    each: what nobody waits for, a quorum queue may lose when its sender hangs up at once."""
    app = Celery(broker=url, set_as_current=False)
    confirmed = {"confirm_publish": True, **(options or {})}
    app.conf.update(broker_transport_options=confirmed, event_exchange=exchange)
    with (
        app.connection_for_write() as connection,
        app.events.Dispatcher(connection, hostname="worker@host") as events,
    ):
        for uuid in uuids:
            events.send("task-started", uuid=uuid)


def uuids(messages: Sequence[Message]) -> list[str]:
    """The uuid of each event that `send` sent."""
    return [event["uuid"] for event in decoded(messages) if event["type"] == "task-started"]


def decoded(messages: Sequence[Message]) -> Iterator[dict[str, Any]]:
    """All events in `messages`."""
    for message in messages:
        assert isinstance(message.body, bytes)
        body = json.loads(message.body)
        yield from body if isinstance(body, list) else [body]


def counts(messages: Sequence[Message]) -> Counter[str]:
    """How many task events of each type there are."""
    types = Counter(event["type"] for event in decoded(messages))
    return Counter({name: n for name, n in types.items() if name.startswith("task-")})


def names(count: int, start: int = 0) -> list[str]:
    """The uuids 0, 1, 2, ... as text."""
    return [str(number) for number in range(start, start + count)]


def work(url: str, count: int, folder: Path, source: Source) -> list[Message]:
    """Let a real worker run `count` tasks, sent by a real client; what `source` gives of it."""
    (folder / "tasks.py").write_text(TASKS)
    python, env = sys.executable, {"TASKS_BROKER": url}
    client = f"import tasks\nfor i in range({count}): tasks.add.delay(i, i)\nprint('sent')"
    worker = ["-m", "celery", "-A", "tasks", "worker", "-E", "-c", "2", "--loglevel", "INFO"]
    worker_child = Child("worker", [python, *worker], folder, env)
    client_child = Child("client", [python, "-c", client], folder, env)
    worker_child.start(lambda: "ready." in worker_child.output())
    try:
        client_child.start(lambda: "sent" in client_child.output())
        return read_until(source, lambda seen: counts(seen)["task-succeeded"] >= count, 20)
    finally:
        client_child.kill()
        worker_child.kill()


def lost(source: Source, seconds: float) -> float:
    """Read until `source` notices that its broker is gone; the seconds it took."""
    start = time.monotonic()
    wait_until(lambda: source.read(0.1) is None or not source.connected, seconds, "noticed")
    return time.monotonic() - start


def back(source: Source, seconds: float) -> None:
    """Read until `source` is connected again."""
    wait_until(lambda: source.read(0.1) is None or source.connected, seconds, "connected again")
