"""The brokers, and in each a venue for one drain: a place nobody has used, with its own messages.

What waits for a consumer waits in a queue on RabbitMQ; on Redis, which has none for fan-out, in the
output buffer of the subscriber's connection, whose limit is lifted (Redis would cut it off).
"""

import socket
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import amqp

from benchmarks.load import Load, Message
from benchmarks.meter import Meter, Quiet
from benchmarks.wire import command, delivered_size, published, pushed_size
from tests.servers.rabbitmq import RabbitMQ
from tests.servers.redis import Redis

TAG = "bare"
"""The consumer tag by which the plain consumers are known to RabbitMQ."""

DATABASE = 0
"""Of Redis: its number is in the channels' names."""

_CHUNK = 1 << 20  # bytes that are sent at once


class Venue(ABC):
    """One place on a broker: its `url`, and what can be asked of it."""

    url: str

    @abstractmethod
    def send(self, wire: bytes) -> None:
        """Publish what was encoded; return when the kernel has it."""

    @abstractmethod
    def sync(self) -> None:
        """Return when the broker has taken in all that was sent."""

    @abstractmethod
    def listening(self, queue: str) -> bool:
        """Whether somebody consumes `queue`, or has subscribed."""

    @abstractmethod
    def waiting(self, queue: str) -> int:
        """What the broker still has to hand out: messages, or on Redis bytes."""

    @abstractmethod
    def close(self) -> None:
        """Leave nothing behind."""

    def publish(self, wire: bytes) -> None:
        """Send `wire` as fast as the broker takes it, and see it taken in."""
        for start in range(0, len(wire), _CHUNK):
            self.send(wire[start : start + _CHUNK])
        self.sync()


@dataclass(frozen=True, slots=True)
class Encoded:
    """A load as it is published, and in how many bytes a plain consumer gets it."""

    wire: bytes
    size: int


class Broker(ABC):
    """A broker of the benchmark's own. Entered, it runs."""

    name: str

    def __init__(self) -> None:
        self._encodings: dict[str, Encoded] = {}

    def encoding(self, load: Load) -> Encoded:
        """Those of `load`, the one load of its shape; made once."""
        if load.shape not in self._encodings:
            wire = b"".join(map(self.encoded, load.messages))
            self._encodings[load.shape] = Encoded(wire, self._size(load.messages))
        return self._encodings[load.shape]

    @abstractmethod
    def encoded(self, message: Message) -> bytes:
        """What publishes `message`."""

    @abstractmethod
    def _size(self, messages: Sequence[Message]) -> int: ...

    @abstractmethod
    def venue(self) -> Venue:
        """A new place in it."""

    @property
    @abstractmethod
    def group(self) -> int:
        """Its process group."""

    @abstractmethod
    def __enter__(self) -> "Broker": ...

    @abstractmethod
    def __exit__(self, *_: object) -> None: ...

    def meter(self) -> Meter:
        """What it uses."""
        return Meter([self.group])

    def calm(self) -> None:
        """Return when it has nothing more to do."""
        Quiet(self.meter(), busy=0.15).wait(60)


class RabbitBroker(Broker):
    """RabbitMQ; a venue is a vhost."""

    name = "rabbitmq"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._server = RabbitMQ(folder)

    def encoded(self, message: Message) -> bytes:
        return published(message)

    def _size(self, messages: Sequence[Message]) -> int:
        return delivered_size(messages, TAG)

    @property
    def group(self) -> int:
        return self._server.pid

    def venue(self) -> Venue:
        return _Vhost(self._server)

    def __enter__(self) -> Broker:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.kill()


class _Vhost(Venue):
    def __init__(self, server: RabbitMQ) -> None:
        self.url = server.fresh_url()
        self._server = server
        parts = urlsplit(self.url)
        self._name = parts.path[1:]
        self._link = amqp.Connection(f"127.0.0.1:{parts.port}", virtual_host=self._name)
        self._link.connect()
        # py-amqp gives up after a second in which the broker reads nothing: its flow control.
        self._link.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 0)
        self._channel = self._link.channel(1)
        self._channel.exchange_declare("celeryev", "topic", durable=True, auto_delete=False)
        self._channel.queue_declare("sync", auto_delete=False)
        self._probe: Any = None

    def send(self, wire: bytes) -> None:
        self._link.sock.sendall(wire)

    def sync(self) -> None:
        self._channel.queue_declare("sync", passive=True)

    def listening(self, queue: str) -> bool:
        found = self._look(queue)
        return found is not None and found.consumer_count > 0

    def waiting(self, queue: str) -> int:
        found = self._look(queue)
        return int(found.message_count) if found else 0

    def _look(self, queue: str) -> Any:
        """What the broker tells of `queue`; None when there is none."""
        self._probe = self._probe or self._link.channel(2)
        try:
            return self._probe.queue_declare(queue, passive=True)
        except amqp.NotFound:
            self._probe = None  # the broker has closed it
            return None

    def close(self) -> None:
        self._link.close()
        self._server.management(f"vhosts/{self._name}", method="DELETE")


class RedisBroker(Broker):
    """Redis; a venue is its database 0, for nothing stays in it."""

    name = "redis"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._server = Redis(folder)

    def encoded(self, message: Message) -> bytes:
        return command(message, DATABASE)

    def _size(self, messages: Sequence[Message]) -> int:
        return pushed_size(messages, DATABASE)

    @property
    def group(self) -> int:
        return self._server.pid

    def venue(self) -> Venue:
        return _Database(self._server)

    def __enter__(self) -> Broker:
        self._server.start()
        with _Resp(self._server.port) as client:
            client.ask("CONFIG SET client-output-buffer-limit 'pubsub 0 0 0'")
        return self

    def __exit__(self, *_: object) -> None:
        self._server.kill()


class _Database(Venue):
    def __init__(self, server: Redis) -> None:
        self.url = server.url
        self._client = _Resp(server.port)
        self._publisher = _Resp(server.port)
        self._publisher.tell("CLIENT REPLY OFF")

    def send(self, wire: bytes) -> None:
        self._publisher.socket.sendall(wire)

    def sync(self) -> None:
        self._publisher.tell("CLIENT REPLY ON")
        self._publisher.answer()
        self._publisher.tell("CLIENT REPLY OFF")

    def listening(self, queue: str) -> bool:  # noqa: ARG002
        return self._client.ask("PUBSUB NUMPAT") != b":0"

    def waiting(self, queue: str) -> int:  # noqa: ARG002
        told = self._client.ask("CLIENT LIST TYPE pubsub").split()
        return sum(int(part[5:]) for part in told if part.startswith(b"omem="))

    def close(self) -> None:
        self._client.close()
        self._publisher.close()


class _Resp:
    """The little of a Redis client that is needed here."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self._lines = self.socket.makefile("rb")

    def tell(self, words: str) -> None:
        """Send a command."""
        self.socket.sendall(f"{words}\r\n".encode())

    def answer(self) -> bytes:
        """The next answer: a line, or a bulk string."""
        line = self._lines.readline().rstrip()
        if line[:1] == b"$":
            return self._lines.read(int(line[1:]) + 2)
        return line

    def ask(self, words: str) -> bytes:
        """Send a command and read its answer. Raises ValueError when Redis refuses it."""
        self.tell(words)
        answer = self.answer()
        if answer[:1] == b"-":
            raise ValueError(answer.decode())
        return answer

    def close(self) -> None:
        """Let go of the connection."""
        self._lines.close()
        self.socket.close()

    def __enter__(self) -> "_Resp":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
