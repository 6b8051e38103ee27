"""Real receivers on loopback, and short ways to write a batch."""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from celery_statsd.metric import Batch, Kind, Series, Timing
from celery_statsd.sinks import sink_from
from celery_statsd.sinks.base import Sink

PATIENCE = 5.0
"""Seconds until a wait gives up; only a broken test ever waits that long."""


def _wait(condition: Callable[[], bool]) -> bool:
    """Whether `condition` came true in time."""
    deadline = time.monotonic() + PATIENCE
    pause = threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            return False
        pause.wait(0.002)
    return True


WIRE = (
    "cluster.all.sent:3|c\n"
    "task.add.sent:0|c\n"
    "queue.q1.length:7|g\n"
    "worker.w1.clock_skew_ms:0|g\n"
    "worker.w1.clock_skew_ms:-2.5|g\n"
    "task.add.runtime:1.5|ms|@0.25\n"
    "task.add.runtime:20|ms|@0.25\n"
    "task.add.wait:0.062|ms"
)
"""How a StatsD sink writes the batch `small`."""


def counted(text: str) -> dict[str, int]:
    """The sum of each counter in a StatsD's lines."""
    sums: dict[str, int] = {}
    for line in text.split("\n"):
        name, _, value = line.partition(":")
        if value.endswith("|c"):
            sums[name] = sums.get(name, 0) + int(value[:-2])
    return sums


class Datagrams:
    """A UDP or Unix datagram socket; the kernel keeps for it what was sent, as far as its buffer
    goes: of `room` bytes, or the system's default."""

    def __init__(self, where: Any = 0, room: int = 0, family: int = socket.AF_INET) -> None:
        unix = isinstance(where, str)  # else a port, or an address and a port
        self._sock = socket.socket(socket.AF_UNIX if unix else family, socket.SOCK_DGRAM)
        if room:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        place = ("127.0.0.1", where) if isinstance(where, int) else where
        if not unix and place[1]:  # a port that is asked for may be shared
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._sock.bind(place)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.port = 0 if unix else self._sock.getsockname()[1]

    def take(self, count: int) -> list[str]:
        """The next `count` datagrams, and a proof that no other is waiting."""
        taken = [self.take_one() for _ in range(count)]
        self._sock.settimeout(0)
        with pytest.raises(BlockingIOError):
            self._sock.recv(65536)
        return taken

    def take_one(self) -> str:
        """The next datagram."""
        self._sock.settimeout(PATIENCE)
        return self._sock.recv(65536).decode("ascii")

    def take_all(self) -> list[str]:
        """All that wait now."""
        self._sock.settimeout(0)
        taken = []
        with suppress(BlockingIOError):
            while True:
                taken.append(self._sock.recv(65536).decode("ascii"))
        return taken

    @contextmanager
    def read_along(self) -> Iterator[list[str]]:
        """A thread reads all that comes, as a StatsD does; what it has read so far."""
        taken: list[str] = []
        over = threading.Event()
        thread = threading.Thread(target=self._read_until, args=(over, taken))
        thread.start()
        try:
            yield taken
        finally:
            over.set()
            thread.join(PATIENCE)
            taken += self.take_all()

    def _read_until(self, over: threading.Event, taken: list[str]) -> None:
        self._sock.settimeout(0.05)
        while not over.is_set():
            with suppress(TimeoutError):
                taken.append(self._sock.recv(65536).decode("ascii"))

    def stop(self) -> None:
        self._sock.close()


class Listener:
    """A TCP or Unix stream server that reads all it is sent, in a thread for each connection.

    A deaf one reads nothing: what it is sent fills its kernel's buffer.
    """

    def __init__(self, where: int | str = 0, deaf: bool = False) -> None:
        unix = isinstance(where, str)
        self._server = socket.socket(socket.AF_UNIX if unix else socket.AF_INET)
        self._server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if deaf:
            self._server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        self._server.bind(where if unix else ("127.0.0.1", where))
        self._server.listen()
        self.port = 0 if unix else self._server.getsockname()[1]
        self._deaf = deaf
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._heard: list[bytearray] = []
        self._readers: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._accept)
        self._acceptor.start()

    @property
    def connections(self) -> int:
        """How many there have been."""
        return len(self._open)

    @property
    def heard(self) -> bytes:
        """All bytes of the first connection, then those of the second, and so on."""
        return b"".join(bytes(heard) for heard in self._heard)

    @property
    def lines(self) -> list[str]:
        """The lines of all connections; what has no newline is none, as for any real server."""
        texts = (bytes(heard).decode("ascii").split("\n")[:-1] for heard in self._heard)
        return [line for text in texts for line in text]

    def wait(self, wire: bytes) -> bytes:
        """What was heard, once it is as long as `wire` should be."""
        _wait(lambda: len(self.heard) >= len(wire))
        return self.heard

    def wait_until(self, condition: Callable[[bytes], object]) -> bytes:
        """What was heard, once `condition` is true for it."""
        assert _wait(lambda: bool(condition(self.heard))), self.heard[-1000:]
        return self.heard

    def wait_for_lines(self, count: int) -> list[str]:
        """All lines, once there are `count`."""
        assert _wait(lambda: len(self.lines) >= count), len(self.lines)
        return self.lines

    def listen_again(self) -> None:
        """A deaf one begins to read."""
        with self._lock:
            self._deaf = False
            for index in range(len(self._open)):
                self._read_in_thread(index)

    def stop(self) -> None:
        """Close everything, as the end of a process would."""
        self._shut(self._server, self._acceptor)
        for sock, thread in zip(self._open, self._readers, strict=False):
            self._shut(sock, thread)
        for sock in (self._server, *self._open):
            sock.close()

    @staticmethod
    def _shut(sock: socket.socket, thread: threading.Thread) -> None:
        """Wake the thread that waits on `sock`, and wait for its end."""
        with suppress(OSError):  # the other side may have been first
            sock.shutdown(socket.SHUT_RDWR)
        thread.join(PATIENCE)
        assert not thread.is_alive()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._server.accept()
            except OSError:
                return
            with self._lock:
                self._heard.append(bytearray())
                self._open.append(sock)
                if not self._deaf:
                    self._read_in_thread(len(self._open) - 1)

    def _read_in_thread(self, index: int) -> None:
        thread = threading.Thread(target=self._read, args=(self._open[index], self._heard[index]))
        self._readers.append(thread)
        thread.start()

    @staticmethod
    def _read(sock: socket.socket, heard: bytearray) -> None:
        with suppress(OSError):  # reset by the other side
            while data := sock.recv(65536):
                heard += data


class Make:
    """Batches from plain dictionaries; a path is `family.entity.metric`."""

    @staticmethod
    def series(path: str, kind: Kind) -> Series:
        family, _, rest = path.partition(".")
        entity, _, metric = rest.rpartition(".")
        return Series(family, entity, metric, kind, path)

    @staticmethod
    def timing(values: Sequence[float], count: int | None = None) -> Timing:
        """All values exact, or the sample of a larger `count`."""
        return Timing(count or len(values), sum(values), min(values), max(values), tuple(values))

    @classmethod
    def batch(
        cls,
        counters: Mapping[str, int] | None = None,
        gauges: Mapping[str, float] | None = None,
        timers: Mapping[str, Timing | Sequence[float]] | None = None,
        time: float = 1_700_000_000.0,
        interval: float = 10.0,
    ) -> Batch:
        timings = {
            path: value if isinstance(value, Timing) else cls.timing(value)
            for path, value in (timers or {}).items()
        }
        return Batch(
            time,
            interval,
            tuple((cls.series(p, Kind.COUNTER), v) for p, v in (counters or {}).items()),
            tuple((cls.series(p, Kind.GAUGE), v) for p, v in (gauges or {}).items()),
            tuple((cls.series(p, Kind.TIMER), v) for p, v in timings.items()),
        )


@pytest.fixture(scope="session")
def make() -> Make:
    """Short ways to write a batch."""
    return Make()


@pytest.fixture
def small(make: Make) -> Batch:
    """A batch with a line of every kind; `WIRE` is how it is written."""
    return make.batch(
        {"cluster.all.sent": 3, "task.add.sent": 0},
        {"queue.q1.length": 7, "worker.w1.clock_skew_ms": -2.5},
        {"task.add.runtime": make.timing([1.5, 20.0], count=8), "task.add.wait": [0.0625]},
    )


@pytest.fixture
def sink_at() -> Iterator[Callable[[str], Sink]]:
    """Makes sinks, and closes them at the end."""
    made: list[Sink] = []

    def make_sink(address: str) -> Sink:
        made.append(sink_from(address))
        return made[-1]

    yield make_sink
    for sink in made:
        sink.close()


@pytest.fixture
def datagrams() -> Iterator[Callable[..., Datagrams]]:
    """Opens receivers of datagrams, and closes them at the end."""
    opened: list[Datagrams] = []

    def start(*how: Any, **options: Any) -> Datagrams:
        opened.append(Datagrams(*how, **options))
        return opened[-1]

    yield start
    for receiver in opened:
        receiver.stop()


@pytest.fixture
def listen() -> Iterator[Callable[..., Listener]]:
    """Starts stream servers, and stops them at the end."""
    started: list[Listener] = []

    def start(where: int | str = 0, deaf: bool = False) -> Listener:
        started.append(Listener(where, deaf))
        return started[-1]

    yield start
    for listener in started:
        listener.stop()
