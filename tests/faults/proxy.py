"""A proxy that misbehaves: it stands between two ends of a TCP connection and fails as a network
does. Its words are toxiproxy's (https://github.com/Shopify/toxiproxy).

| mode | what happens |
| --- | --- |
| pass | all is forwarded |
| blackhole | both ends stay open, what they send is acknowledged, nothing is forwarded |
| reset | connections are reset (RST), new ones at once |
| refuse | connections are reset, nobody listens |
| slow | forwarded at `rate` bytes a second |
| slice | forwarded byte after byte, each in a packet of its own |
| cut | each new connection is closed after `limits` bytes to the client, one limit for each |
"""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterable, Iterator

from tests.servers.process import free_port

CHUNK = 65536
"""Bytes of one read."""

_RST = struct.pack("ii", 1, 0)  # struct linger: on, for 0 seconds
_ACCEPT_EVERY = 0.05  # seconds between two looks at the mode while nobody connects


class Pair:
    """A client's connection and ours to the server. One that was black-holed stays so."""

    def __init__(self, proxy: "Proxy", client: socket.socket, server: socket.socket | None) -> None:
        self._proxy = proxy
        self._ends = [end for end in (client, server) if end]
        self._limit = next(proxy.limits, None) if proxy.mode == "cut" else None
        self.deaf = server is None
        self._start(client, server, False)
        if server is not None:
            self._start(server, client, True)

    def reset(self) -> None:
        """End both connections as a crashed machine's firewall would."""
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)
        self.close()

    def close(self) -> None:
        """End both connections; their pumps end with them."""
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RD)  # wakes whoever reads, sends nothing
            with contextlib.suppress(OSError):
                end.close()

    def _start(self, source: socket.socket, sink: socket.socket | None, back: bool) -> None:
        threading.Thread(target=self._pump, args=(source, sink, back), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket | None, back: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(self._proxy.appetite):
                if sink is not None and not self.deaf:
                    self._forward(sink, data, back)
        if not self.deaf:
            self.close()

    def _forward(self, sink: socket.socket, data: bytes, back: bool) -> None:
        if back and self._limit is not None:
            data, self._limit = data[: self._limit], self._limit - len(data)
        for part in self._proxy.parts(data):
            sink.sendall(part)
        if self._limit is not None and self._limit <= 0:
            self.close()


class Proxy:
    """Listens on `port` for connections to `target`, a port of the loopback.

    `connections` counts those accepted, `passed` the bytes forwarded.
    """

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self.target = target
        self.mode = "pass"
        self.rate = 1024.0
        self.limits: Iterator[int] = iter(())
        self.connections = 0
        self.passed = 0
        self._over = threading.Event()
        self._pairs: list[Pair] = []
        self._lock = threading.Lock()
        self._server: socket.socket | None = None
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._listen()
        self._thread.start()

    def set(self, mode: str, rate: float = 1024.0, limits: Iterable[int] = ()) -> None:
        """From now on behave as `mode`; what is open is treated so too."""
        with self._lock:
            self.mode, self.rate, self.limits = mode, rate, iter(limits)
            pairs = list(self._pairs)
            for pair in pairs:
                pair.deaf = pair.deaf or mode == "blackhole"
            if mode in ("reset", "refuse", "cut"):
                self._pairs.clear()
            else:
                pairs = []
            self._attend(listening=mode != "refuse")
        for pair in pairs:
            pair.reset()

    @property
    def appetite(self) -> int:
        """How many bytes are read at once: of a slow line little waits in the proxy."""
        return 512 if self.mode == "slow" else CHUNK

    def parts(self, data: bytes) -> Iterator[bytes]:
        """`data` in the pieces in which it is to be sent, at their time."""
        for part in _slices(data) if self.mode == "slice" else (data,):
            if self.mode == "slow":
                self._over.wait(len(part) / self.rate)
            self.passed += len(part)
            yield part

    def close(self) -> None:
        """End everything."""
        self._over.set()
        self._thread.join()
        with self._lock:
            self._attend(listening=False)
        for pair in self._pairs:
            pair.close()

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _attend(self, listening: bool) -> None:
        if listening and self._server is None:
            self._listen()
        elif not listening and self._server is not None:
            with contextlib.suppress(OSError):
                self._server.shutdown(socket.SHUT_RDWR)  # at once, though somebody waits in accept
            self._server.close()
            self._server = None

    def _listen(self) -> None:
        server = socket.socket()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", self.port))
        server.listen()
        server.settimeout(_ACCEPT_EVERY)
        self._server = server

    def _accept(self) -> None:
        while not self._over.is_set():
            server = self._server
            if server is None:
                self._over.wait(_ACCEPT_EVERY)
                continue
            with contextlib.suppress(OSError):
                client, _ = server.accept()
                self._pair(client)

    def _pair(self, client: socket.socket) -> None:
        client.settimeout(None)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self.connections += 1
            pair = Pair(self, client, None if self.mode == "blackhole" else self._onward(client))
            self._pairs.append(pair)
        if self.mode == "reset":
            pair.reset()

    def _onward(self, client: socket.socket) -> socket.socket:
        """A connection to the target. Raises OSError, and then the client's is ended."""
        try:
            server = socket.create_connection(("127.0.0.1", self.target), 5)
        except OSError:
            client.close()
            raise
        server.settimeout(None)
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return server


def _slices(data: bytes) -> Iterator[bytes]:
    return (data[at : at + 1] for at in range(len(data)))
