"""Streams of events whose number is known, because whoever publishes them keeps the truth.

An attempt is one message of three events (received, started, succeeded), as a prefork worker sends
them. `sent` counts the attempts that really were: on RabbitMQ those the broker has confirmed, on
Redis, which confirms nothing, those the worker has run.
"""

import base64
import contextlib
import itertools
import json
import os
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import amqp
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

TASK = "faults.task"

HOST = "w1@host"
"""The worker who sends everything."""

CONFIRMED_WITHIN = 8.0
"""Seconds until a message that was not confirmed is published again, the same to the byte."""

MARKS = 40
"""Task names there are."""

BEAT = 0.5
"""Seconds between two heartbeats of the worker on Redis."""

AWAY = (amqp.AMQPError, OSError)
"""What a RabbitMQ that is away raises; of one that answers too late it is a TimeoutError."""


class Maker:
    """The events of one worker process, each with a clock of its own.

    `ahead` is how far the worker's clock is ahead, in seconds.
    """

    def __init__(self, ahead: float = 0.0, hostname: str = HOST) -> None:
        self.task = TASK
        self._hostname = hostname
        self.started = 0
        self._ahead = ahead
        self._clock = itertools.count(1)
        self._marks = itertools.cycle(range(1, MARKS))

    def attempt(self) -> list[dict[str, Any]]:
        """What is sent of one attempt."""
        task = str(uuid.uuid4())
        self.started += 1
        return [
            self.event("task-received", uuid=task, name=self.task, retries=0),
            self.event("task-started", uuid=task),
            self.event("task-succeeded", uuid=task, runtime=0.001),
        ]

    def beat(self) -> dict[str, Any]:
        """A heartbeat, with the true number of attempts started so far."""
        fields = {"freq": BEAT, "active": 0, "processed": self.started}
        return self.event("worker-heartbeat", **fields, loadavg=[0.1, 0.1, 0.1])

    def event(self, kind: str, **fields: object) -> dict[str, Any]:
        """An event of that type."""
        return {
            "type": kind,
            "hostname": self._hostname,
            "pid": os.getpid(),
            "clock": next(self._clock),
            "timestamp": time.time() + self._ahead,
            "utcoffset": 0,
            **fields,
        }

    def mark(self) -> str:
        """Another task name, not used for long: an agent would remember each for ever."""
        self.task = f"{TASK}{next(self._marks)}"
        return self.task


class Worker(threading.Thread):
    """Runs attempts at `rate` a second (None: as fast as it can) until `stop`; each `BEAT` seconds
    a heartbeat tells the true `processed`, until `leave`."""

    def __init__(self, rate: float | None, ahead: float = 0.0) -> None:
        super().__init__(name="worker", daemon=True)
        self.beats = 0
        self._maker = Maker(ahead)
        self._pause = 1.0 / rate if rate else 0.0
        self._stopping = threading.Event()
        self._quiet = threading.Event()
        self._left = threading.Event()
        self._held = False
        self._beat_at = 0.0

    @property
    def sent(self) -> int:
        """Attempts that really were."""
        return self._maker.started

    @property
    def events(self) -> int:
        """Events that really were, heartbeats included."""
        return 3 * self.sent + self.beats

    def stop(self) -> int:
        """Run no more attempts, but go on with the heartbeats; how many there were."""
        self._stopping.set()
        while not self._quiet.wait(0.1):
            assert self.is_alive(), "the worker has died"
        return self.sent

    def leave(self) -> None:
        """End the heartbeats too."""
        self._stopping.set()
        self._left.set()
        self.join()

    def mark(self) -> str:
        """The task name of all attempts from now on."""
        return self._maker.mark()

    def hold(self) -> None:
        """Say nothing more, heartbeats included, until `release`."""
        self._held = True

    def release(self) -> None:
        """Go on."""
        self._held = False

    def _next(self) -> tuple[str, Any]:
        """The routing key and the body of what is to be published now; no body for nothing."""
        now = time.monotonic()
        if self._held:
            return "", None
        if now >= self._beat_at:
            self._beat_at = now + BEAT
            self.beats += 1
            return "worker.heartbeat", self._maker.beat()
        if not self._stopping.is_set():
            return "task.multi", self._maker.attempt()
        self._quiet.set()
        return "", None

    def _rest(self) -> None:
        """The time between two attempts."""
        if self._held or self._stopping.is_set():
            self._left.wait(BEAT / 5)
        else:
            self._stopping.wait(self._pause)


class Publisher(Worker):
    """A worker on RabbitMQ. Whatever becomes of the broker: what was not confirmed is published
    again, so that all that was is what the broker took. `repeated` counts these messages."""

    def __init__(self, port: int, vhost: str, rate: float | None, ahead: float = 0.0) -> None:
        super().__init__(rate, ahead)
        self.repeated = 0
        self._address = f"127.0.0.1:{port}"
        self._vhost = vhost
        self._pending: tuple[str, amqp.Message] | None = None

    def run(self) -> None:
        """Publish, one after the other, each confirmed."""
        while not self._left.is_set():
            with contextlib.suppress(*AWAY), self._connected() as channel:
                while not self._left.is_set():
                    self._publish(channel)
                    self._rest()
            self._left.wait(0.1)

    def _publish(self, channel: Any) -> None:
        self.repeated += self._pending is not None
        if self._pending is None:
            routing_key, body = self._next()
            if body is None:
                return
            self._pending = routing_key, message(body)
        routing_key, waiting = self._pending
        channel.basic_publish(waiting, "celeryev", routing_key, confirm_timeout=CONFIRMED_WITHIN)
        self._pending = None

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Any]:
        link = amqp.Connection(
            self._address,
            virtual_host=self._vhost,
            confirm_publish=True,
            connect_timeout=2,
            read_timeout=CONFIRMED_WITHIN,
        )
        try:
            link.connect()
            channel = link.channel()
            channel.exchange_declare("celeryev", "topic", durable=True, auto_delete=False)
            yield channel
        finally:
            with contextlib.suppress(*AWAY):
                link.collect()


class RedisPublisher(Worker):
    """A worker on Redis: it publishes each attempt once, whoever may listen."""

    def __init__(self, url: str, rate: float | None) -> None:
        super().__init__(rate)
        self._database = url.rpartition("/")[2]
        self._client: Any = None
        self.move(url)

    def move(self, url: str) -> None:
        """From now on publish there."""
        self._client = redis.Redis.from_url(
            url, socket_timeout=2, socket_connect_timeout=2, retry=Retry(NoBackoff(), 0)
        )

    def run(self) -> None:
        """Publish, one after the other."""
        while not self._left.is_set():
            routing_key, body = self._next()
            if body is not None:
                self._publish(routing_key, body)
            self._rest()

    def _publish(self, routing_key: str, body: Any) -> None:
        channel = f"/{self._database}.celeryev/{routing_key}"
        with contextlib.suppress(redis.RedisError, OSError):
            self._client.publish(channel, json.dumps(envelope(body, routing_key)))


def message(body: Any, **properties: Any) -> amqp.Message:
    """`body` as Celery publishes it: JSON, transient."""
    return amqp.Message(
        body if isinstance(body, bytes) else json.dumps(body),
        **{
            "content_type": "application/json",
            "content_encoding": "utf-8",
            "delivery_mode": 1,
            "application_headers": {"hostname": HOST},
            **properties,
        },
    )


def envelope(body: Any, routing_key: str, hostname: str = HOST) -> dict[str, Any]:
    """`body` in what kombu wraps around it on Redis."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return {
        "body": base64.b64encode(raw).decode(),
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {"hostname": hostname},
        "properties": {
            "body_encoding": "base64",
            "delivery_info": {"exchange": "celeryev", "routing_key": routing_key},
            "delivery_mode": 1,
            "delivery_tag": str(uuid.uuid4()),
        },
    }


def vhost(url: str) -> str:
    """The vhost in `url`."""
    return urlsplit(url).path[1:]
