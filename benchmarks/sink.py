"""The metrics' other end: a UDP socket that keeps what it gets, and adds it up when asked."""

import socket
import threading
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress

_FORCED = 33  # SO_RCVBUFFORCE of asm-generic/socket.h: past the limit, for root
_BUFFER = 64 << 20


class Sink(threading.Thread):
    """A StatsD that only remembers. `datagrams` came so far; nothing is parsed while they come."""

    def __init__(self) -> None:
        super().__init__(name="sink", daemon=True)
        self._socket = socket.socket(type=socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        with suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, _FORCED, _BUFFER)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._kept: list[bytes] = []
        self._added = 0
        self._counters: Counter[str] = Counter()

    @property
    def datagrams(self) -> int:
        """How many came."""
        return len(self._kept)

    def run(self) -> None:
        """Read until closed."""
        keep = self._kept.append
        while data := self._socket.recv(65536):
            keep(data)

    def counters(self) -> Mapping[str, int]:
        """The sums of all counters so far, by path."""
        kept = self._kept[self._added :]
        self._added += len(kept)
        for datagram in kept:
            for line in datagram.decode().splitlines():
                path, _, rest = line.partition(":")
                value, kind = rest.split("|")[:2]
                if kind == "c":
                    self._counters[path] += int(value)
        return self._counters

    def close(self) -> None:
        """End the thread: an empty datagram is its sign."""
        with socket.socket(type=socket.SOCK_DGRAM) as sender:
            sender.sendto(b"", ("127.0.0.1", self.port))
        self.join()
        self._socket.close()

    def __enter__(self) -> "Sink":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
