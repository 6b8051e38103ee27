"""Delivery over a connected stream socket, up to the peer's acknowledgement.

A `send` that succeeds says only that our own kernel took the bytes; the first one after the peer
has gone succeeds into the void. On TCP, Linux tells how many bytes the peer's kernel has
acknowledged, so what is still to be sent again is known to the byte. A Unix socket has no such
thing and needs none: what is sent lies in the peer's queue at once.
"""

import errno
import os
import socket
import struct
import time

TIMEOUT = 3.0
"""Seconds: what connecting and delivering may take together, unless an address says otherwise."""

# struct tcp_info in linux/tcp.h (since 4.1): 8 bytes of flags, 24 words, two rates of 8 bytes,
# then tcpi_bytes_acked. The connection's SYN counts as one byte.
_BYTES_ACKED = 120
_AT_ONCE = struct.pack("ii", 1, 0)  # struct linger: on, for 0 seconds
_LONGEST_NAP = 0.02

UNANSWERED = 20.0
"""Seconds: a TCP peer that has not acknowledged data for so long is given up by the kernel."""


class Cut(OSError):
    """A delivery ended early: the peer has taken the first `taken` bytes, and no more.

    `slow` is true when the peer was still there, but did not take all of it in time.
    """

    def __init__(self, cause: OSError, taken: int) -> None:
        super().__init__(cause.errno, cause.strerror or str(cause))
        self.taken = taken
        self.slow = isinstance(cause, TimeoutError)


def gone(sock: socket.socket) -> bool:
    """Whether the peer has closed or reset the connection. Reads away what it may have said."""
    sock.settimeout(0)
    try:
        while sock.recv(65536):
            pass
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


class Slow(TimeoutError):
    """The peer lives, and has not taken everything in time; the connection stands."""


class Delivery:
    """One wire on its way to the peer; `taken` tells how many of its bytes the peer has."""

    def __init__(self, sock: socket.socket, wire: bytes) -> None:
        self._sock = sock
        self._wire = wire
        self._sent = 0
        self._confirm = _acked if sock.family != socket.AF_UNIX else None
        self._base = self._confirm(sock) if self._confirm else 0

    @property
    def taken(self) -> int:
        """Bytes the peer has; on a Unix socket those that lie in its queue."""
        return self._confirm(self._sock) - self._base if self._confirm else self._sent

    def advance(self, deadline: float) -> None:
        """Send what is left and wait until the peer has it; `deadline` is monotonic seconds.

        Raises Slow when that takes longer, and may then be called again; Cut when the connection
        has ended.
        """
        try:
            while self._sent < len(self._wire):
                self._sock.settimeout(left(deadline))
                self._sent += self._sock.send(memoryview(self._wire)[self._sent :])
            if self._confirm:
                _await_ack(self._sock, self._base + self._sent, deadline)
        except TimeoutError as error:
            if error.errno is None:
                raise Slow("timed out") from error
            raise Cut(error, self.taken) from error  # ETIMEDOUT: the kernel has given up
        except OSError as error:
            raise Cut(error, self.taken) from error


def deliver(sock: socket.socket, wire: bytes, deadline: float) -> None:
    """Send `wire`, and wait until the peer has it; `deadline` is on the monotonic clock.

    Raises Cut, and has then reset the connection: it may hold half a line, and our kernel must
    not go on delivering what is going to be sent again. Only what a slow peer takes in the
    microseconds between the last look and the reset may reach it twice. For peers that bear a
    reset (carbon does, StatsD 0.9 dies of it).
    """
    delivery = Delivery(sock, wire)
    try:
        delivery.advance(deadline)
    except OSError as error:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        taken = delivery.taken
        sock.close()
        raise Cut(error, taken) from error


def give_up_after(sock: socket.socket, seconds: float) -> None:
    """Let the kernel end a TCP connection on which sent data stays unacknowledged for so long."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))


NOBODY = frozenset({errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENOTCONN})
"""What is answered when nobody was there to take a datagram."""


def raise_pending(sock: socket.socket) -> None:
    """Raise the OSError the kernel holds for this socket, if there is one; it is told once."""
    code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))


def _acked(sock: socket.socket) -> int:
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKED + 8)
    count: int = struct.unpack_from("Q", info, _BYTES_ACKED)[0]
    return count


def _await_ack(sock: socket.socket, target: int, deadline: float) -> None:
    """Wait for the acknowledgement: microseconds on loopback, one round trip elsewhere."""
    nap = 0.0005
    while _acked(sock) < target:
        raise_pending(sock)
        time.sleep(min(nap, left(deadline)))
        nap = min(2 * nap, _LONGEST_NAP)


def left(deadline: float) -> float:
    """Seconds until `deadline`. Raises TimeoutError when there are none."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left
