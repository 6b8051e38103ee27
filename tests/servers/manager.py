"""A service manager's ear: the socket that NOTIFY_SOCKET names."""

import socket
from pathlib import Path
from typing import Self


class Manager:
    """Entered, it hears at `address`, a path or `@` and the name of an abstract socket."""

    def __init__(self, address: str | Path) -> None:
        self.address = str(address)
        self._ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def told(self) -> list[str]:
        """The datagrams that came since it was last asked."""
        found: list[str] = []
        while True:
            try:
                found.append(self._ear.recv(4096).decode())
            except BlockingIOError:
                return found

    def __enter__(self) -> Self:
        self._ear.bind(self.address.replace("@", "\0", 1))
        self._ear.setblocking(False)
        return self

    def __exit__(self, *_: object) -> None:
        self._ear.close()
