"""The service manager that started us, and what it is told of our life (systemd's sd_notify(3)).

Who set NOTIFY_SOCKET gets a datagram of `NAME=value` lines: READY when we listen or have found that
the broker has to be waited for, WATCHDOG at each beat, STATUS for people, STOPPING at the end.
Whoever set none is told nothing, at no cost.
"""

import math
import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

BEAT = 5.0
"""Seconds between two datagrams. More often where the watchdog is less patient: twice a time of
WATCHDOG_USEC (microseconds) at least."""


class Supervisor:
    """Whoever `environ` says watches over this process.

    A datagram that cannot be sent is none: it is not worth a moment of the listening loop, and a
    manager that misses its watchdog's beats acts by itself.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "").replace("@", "\0", 1)
        self._address = address if address[:1] in ("/", "\0") else ""
        self._every = min(BEAT, _patience(environ) / 2)
        self._told_at = 0.0
        self._socket: socket.socket | None = None

    def listening(self, status: Callable[[], str]) -> None:
        """The listening loop has come round once more: to be called each time, told at each beat.

        The first call says that the service is ready. `status` makes the line for people.
        """
        now = time.monotonic()
        if self._address and not 0 <= now - self._told_at < self._every:
            self._tell("WATCHDOG=1" if self._told_at else "READY=1", f"STATUS={status()}")
            self._told_at = now

    def stopping(self) -> None:
        """What is left is sent now; then the process ends. The last that is told."""
        if self._address:
            self._tell("STOPPING=1", "STATUS=says farewell")
            self._address = ""
        if self._socket:
            self._socket.close()

    def _tell(self, *lines: str) -> None:
        # Kept open: a process that has no descriptor left is not stuck.
        with suppress(OSError):
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                self._socket.setblocking(False)
            self._socket.sendto("\n".join(lines).encode(), self._address)


def _patience(environ: Mapping[str, str]) -> float:
    """Seconds that the watchdog of this very process waits for a beat; without one, for ever."""
    with suppress(ValueError, KeyError):
        if int(environ.get("WATCHDOG_PID") or os.getpid()) == os.getpid():
            return int(environ["WATCHDOG_USEC"]) / 1e6
    return math.inf
