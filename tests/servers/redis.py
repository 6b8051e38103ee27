"""A Redis that keeps nothing on disk."""

import contextlib
import itertools
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from tests.servers.process import Child, free_port, program

DATABASES = 1024


class Redis:
    """One redis-server. Database 0 is anybody's; `fresh_url` hands out the others, one each."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._free_database = itertools.count(1)
        self._child = Child(
            "redis",
            [
                program("redis-server"),
                *("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder)),
                *("--save", "", "--appendonly", "no", "--databases", str(DATABASES)),
            ],
            folder,
        )

    @property
    def pid(self) -> int:
        """The process, which leads a group of its own."""
        return self._child.pid

    @property
    def url(self) -> str:
        """Database 0."""
        return f"redis://127.0.0.1:{self.port}/0"

    def fresh_url(self) -> str:
        """A database nobody was given before. Pub/sub channels carry its number (kombu's way)."""
        return f"redis://127.0.0.1:{self.port}/{next(self._free_database)}"

    def start(self) -> Self:
        """Start, or start again after `kill`, empty, on the same port."""
        self._child.start(self._answers)
        return self

    def stop(self) -> None:
        """End it properly."""
        self._child.stop()

    def kill(self) -> None:
        """End it as a crash would."""
        self._child.kill()

    @contextlib.contextmanager
    def suspended(self) -> Iterator[None]:
        """It stands still: its sockets take what their buffers hold, and nobody answers."""
        os.kill(self._child.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self._child.pid, signal.SIGCONT)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _answers(self) -> bool:
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self.port), 1) as peer,
        ):
            peer.sendall(b"PING\r\n")
            return peer.recv(16).startswith(b"+PONG")
        return False
