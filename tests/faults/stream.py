"""A stream of events whose number is known: confirmed by RabbitMQ one by one, and the metrics'
other end, a socket that adds up what it is sent."""

import itertools
import json
import os
import socket
import threading
import time
import uuid
from collections import Counter

import amqp

TASK = "faults.task"


class Publisher(threading.Thread):
    """Publishes attempts (received, started, succeeded in one list, as a prefork worker sends
    them) at `rate` a second until it is stopped; `confirmed` counts those the broker took."""

    def __init__(self, port: int, vhost: str, rate: float) -> None:
        super().__init__(name="publisher", daemon=True)
        self.confirmed = 0
        self._address = f"127.0.0.1:{port}"
        self._vhost = vhost
        self._pause = 1.0 / rate
        self._stopping = threading.Event()
        self._clock = itertools.count(1)

    def run(self) -> None:
        """Publish, one after the other, each confirmed."""
        with amqp.Connection(self._address, virtual_host=self._vhost, confirm_publish=True) as link:
            channel = link.channel()
            channel.exchange_declare("celeryev", "topic", durable=True, auto_delete=False)
            while not self._stopping.wait(self._pause):
                channel.basic_publish(self._message(), "celeryev", "task.multi")
                self.confirmed += 1

    def stop(self) -> int:
        """End; how many were confirmed in all."""
        self._stopping.set()
        self.join()
        return self.confirmed

    def _message(self) -> amqp.Message:
        task = str(uuid.uuid4())
        events = [
            self._event("task-received", uuid=task, name=TASK, retries=0),
            self._event("task-started", uuid=task),
            self._event("task-succeeded", uuid=task, runtime=0.001),
        ]
        return amqp.Message(
            json.dumps(events),
            content_type="application/json",
            content_encoding="utf-8",
            delivery_mode=1,
            application_headers={"hostname": "w1@host"},
        )

    def _event(self, kind: str, **fields: object) -> dict[str, object]:
        return {
            "type": kind,
            "hostname": "w1@host",
            "pid": os.getpid(),
            "clock": next(self._clock),
            "timestamp": time.time(),
            "utcoffset": 0,
            **fields,
        }


class Statsd(threading.Thread):
    """Adds up the counters of the datagrams it gets on `port`; `packets` of them so far."""

    def __init__(self) -> None:
        super().__init__(name="statsd", daemon=True)
        self.counters: Counter[str] = Counter()
        self.packets = 0
        self._socket = socket.socket(type=socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]

    def run(self) -> None:
        """Read until closed."""
        while data := self._socket.recv(65536):
            self.packets += 1
            for line in data.decode().splitlines():
                name, _, rest = line.partition(":")
                value, kind = rest.split("|")[:2]
                if kind == "c":
                    self.counters[name] += int(value)

    def count(self, stage: str) -> int:
        """What has come of one stage of the whole cluster."""
        return self.counters[f"celery.faults.cluster.all.{stage}.all"]

    def close(self) -> None:
        """End the thread: an empty datagram is its sign."""
        with socket.socket(type=socket.SOCK_DGRAM) as sender:
            sender.sendto(b"", ("127.0.0.1", self.port))
        self.join()
        self._socket.close()
