"""The metrics' other end: servers that add up what they are sent, exactly, and can be ill.

Each has `counters`, by the name the agent gave the series, and goes on with them when it is back.
`down` is a process that is gone: its port is closed. `deafen` makes it stand still: the kernel
takes what there is room for. `vanish` is a machine that is gone: nothing is even acknowledged.
"""

import contextlib
import ctypes
import os
import pickle
import re
import socket
import struct
import threading
from collections import Counter
from typing import Any, ClassVar

from celery_statsd.names import escape
from tests.servers.process import free_port

BUFFER = 4 * 1024 * 1024
"""Bytes the kernel keeps for a receiver that is busy."""

HOST = "tester"
"""The agent's own name in the trials."""

NARROW = 8192
"""Bytes the kernel keeps of a stream nobody reads: little, so that it is soon full."""

BUCKETS = ("events_counted", "events_doubled", "events_bad", "events_dropped")

STAGES = ("received", "started", "succeeded")

_TIMEOUT = 0.05  # seconds between two looks whether it is over

# Of linux/filter.h: a classic BPF program for a socket, whose one instruction, BPF_RET 0, drops
# every packet before TCP sees it.
_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27
_DROP = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0))


class Receiver:
    """What all have in common. `scheme` is that of a sink that reaches it."""

    scheme: ClassVar[str]

    def __init__(self) -> None:
        self.port = free_port()
        self.packets = 0
        self._listening = threading.Event()
        self._over = threading.Event()
        self._hearing = threading.Event()
        self._hearing.set()
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []

    @property
    def address(self) -> str:
        """For an agent's `--sink`."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def counters(self) -> Counter[str]:
        """The sum of each counter so far."""
        raise NotImplementedError

    def start(self) -> None:
        """Listen, for the first time or again."""
        raise NotImplementedError

    def count(self, stage: str) -> int:
        """What has come of one stage of the whole cluster, whoever has told it: an agent that is
        not served any more tells what it has left under its own name."""
        return self.total(f"celery.faults.cluster.all.{stage}")

    def task(self, name: str) -> int:
        """How many attempts of one task have succeeded."""
        return self.total(f"celery.faults.task.{escape(name)}.succeeded")

    def lost(self) -> int:
        """The starts of any worker that are told to have gone unheard."""
        found = list(self.counters.items())
        workers = re.compile(r"celery\.faults\.worker\.[^.]+\.events_lost\.[^.]+")
        return sum(number for path, number in found if workers.fullmatch(path))

    def total(self, path: str) -> int:
        """The sum of a counter over all reporters."""
        found = list(self.counters.items())
        return sum(number for one, number in found if one.rpartition(".")[0] == path)

    def own(self, metric: str) -> int:
        """A counter of the agent itself."""
        return self.counters[f"celery.faults.agent.{HOST}.{metric}.self"]

    def deafen(self) -> None:
        """Stand still: nothing is read any more, nothing closed."""
        self._hearing.clear()

    def listen_again(self) -> None:
        """Go on."""
        self._hearing.set()

    def vanish(self) -> None:
        """From now on drop every packet unseen, as a cut cable would."""
        program = struct.pack("HL", 1, ctypes.addressof(_DROP))
        for sock in self._open:
            sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)

    def reappear(self) -> None:
        """Mend the cable."""
        for sock in self._open:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)

    def down(self) -> None:
        """Be gone: connections and the port are closed."""
        self._over.set()
        self._hearing.set()
        for sock in self._open:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for sock in self._open:
            self._read_last(sock)
            sock.close()
        self._threads, self._open = [], []
        self._over.clear()

    def close(self) -> None:
        """Be gone for good."""
        self.reappear()
        self.down()

    def _read_last(self, sock: socket.socket) -> None:
        """Read what came in the moment before the end."""

    def _run(self, target: Any, *arguments: Any) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()


class Sums(Receiver):
    """What a StatsD does with counters: it adds."""

    def __init__(self) -> None:
        super().__init__()
        self.gauges: dict[str, float] = {}
        self._counters: Counter[str] = Counter()
        self._lock = threading.Lock()

    @property
    def counters(self) -> Counter[str]:
        return self._counters

    def _take(self, text: str) -> None:
        with self._lock:
            for line in text.splitlines():
                name, _, rest = line.partition(":")
                value, kind = rest.split("|")[:2]
                if kind == "c":
                    self._counters[name] += int(value)
                elif kind == "g":
                    self.gauges[name] = float(value)


class Statsd(Sums):
    """Adds up the counters of the datagrams it gets on `port`; `packets` of them so far."""

    scheme = "statsd"

    def start(self) -> None:
        sock = socket.socket(type=socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        sock.bind(("127.0.0.1", self.port))
        sock.settimeout(_TIMEOUT)
        self._open.append(sock)
        self._run(self._read, sock)

    def _read(self, sock: socket.socket) -> None:
        while not self._over.is_set():
            self._hearing.wait()
            with contextlib.suppress(TimeoutError):
                self._receive(sock)

    def _receive(self, sock: socket.socket) -> None:
        data = sock.recv(65536)
        self.packets += 1
        self._take(data.decode())

    def _read_last(self, sock: socket.socket) -> None:
        sock.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                self._receive(sock)


class _Server(Receiver):
    """A TCP server; a subclass reads each connection in `_read`."""

    def start(self) -> None:
        server = self._bound()
        server.listen()
        server.settimeout(_TIMEOUT)
        self._open.append(server)
        self._run(self._accept, server)

    def _bound(self) -> socket.socket:
        server = socket.socket()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, NARROW)
        server.bind(("127.0.0.1", self.port))
        return server

    def _accept(self, server: socket.socket) -> None:
        while not self._over.is_set():
            self._hearing.wait()
            with contextlib.suppress(OSError):  # nobody came, or it is over
                sock, _ = server.accept()
                sock.settimeout(_TIMEOUT)
                self._open.append(sock)
                self._run(self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        """Read on until the peer leaves; what is not whole then is thrown away, as they all do."""
        rest = b""
        while not self._over.is_set():
            self._hearing.wait()
            try:
                data = sock.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                return
            if not data:
                return
            self.packets += 1
            rest = self._digest(rest + data)

    def _digest(self, data: bytes) -> bytes:
        """Take what is whole in `data`; the rest."""
        raise NotImplementedError


class StatsdTcp(_Server, Sums):
    """A StatsD's TCP server."""

    scheme = "statsd+tcp"

    def _digest(self, data: bytes) -> bytes:
        text, newline, rest = data.rpartition(b"\n")
        self._take((text + newline).decode())
        return rest


class StatsdUnix(StatsdTcp):
    """A StatsD on a Unix stream socket, at `path`, which goes and comes with it."""

    scheme = "statsd+unix"

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    @property
    def address(self) -> str:
        return f"{self.scheme}://{self.path}"

    def down(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        super().down()

    def _bound(self) -> socket.socket:
        server = socket.socket(socket.AF_UNIX)
        server.bind(self.path)
        return server


class Carbon(_Server):
    """A carbon's line server: of two values for one path and second the last one stays.

    `clashes` counts the points that took the place of another value.
    """

    scheme = "graphite"

    def __init__(self) -> None:
        super().__init__()
        self.points: dict[tuple[str, int], float] = {}
        self.clashes = 0
        self._lock = threading.Lock()

    @property
    def counters(self) -> Counter[str]:
        found: Counter[str] = Counter()
        with self._lock:
            for (path, _), value in self.points.items():
                name = re.fullmatch(r"stats\.counters\.(.*)\.count", path)
                if name:
                    found[name[1]] += int(value)
        return found

    def keep(self, path: str, when: int, value: float) -> None:
        """One point."""
        with self._lock:
            self.clashes += self.points.get((path, when), value) != value
            self.points[path, when] = value

    def _digest(self, data: bytes) -> bytes:
        text, _, rest = data.rpartition(b"\n")
        for line in text.decode().splitlines():
            path, value, when = line.split(" ")
            self.keep(path, int(when), float(value))
        return rest


class CarbonPickle(Carbon):
    """A carbon's pickle server."""

    scheme = "graphite+pickle"

    def _digest(self, data: bytes) -> bytes:
        while len(data) >= 4:
            (length,) = struct.unpack("!L", data[:4])
            if len(data) < 4 + length:
                break
            for path, (when, value) in pickle.loads(data[4 : 4 + length]):
                self.keep(path, int(when), float(value))
            data = data[4 + length :]
        return data


def differences(receiver: Receiver) -> int:
    """By how much the agent's ledger, as it has come, does not add up."""
    return receiver.own("events") - sum(map(receiver.own, BUCKETS))
