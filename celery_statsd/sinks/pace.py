"""How fast datagrams may follow one another, so that the receiver's buffer holds them.

A StatsD that does not change it has a buffer of 212,992 bytes, in which a datagram takes more
room than its bytes: 92 of 1432 bytes fill it, or 12 of 8932. A large flush, sent at one go,
overruns it. So after each portion, a quarter of it, there is a pause: on this host, where the
kernel tells what waits there, until that is a portion at most (mostly at once); elsewhere of a
fixed length.
"""

import time

from celery_statsd.sinks.receiver import Receiver

PORTION = 212_992 // 4
"""Bytes of a buffer that are filled without a look; Linux's `net.core.rmem_default` is four."""

LEAST = 4096
"""Bytes: a portion is halved down to this while the receiver loses datagrams."""

PAUSE = 0.005
"""Seconds after a portion when nothing can be seen: 1000 series make about two portions."""

_LONGEST_NAP = 0.02


class Full(TimeoutError):
    """The receiver has no room, and did not make any in the time there was."""


class Pace:
    """Keeps a sender to what `receiver` has room for."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._portion = PORTION
        self._overrun = receiver.tally.overrun
        self._filled = 0
        self._until = 0.0

    def begin(self, patience: float) -> None:
        """A flush begins; its pauses may take `patience` seconds together."""
        self._until = time.monotonic() + patience
        self._filled = self._receiver.look() or 0
        lost = self._receiver.tally.overrun - self._overrun
        self._overrun += lost
        self._portion = max(LEAST, self._portion // 2) if lost else min(PORTION, 2 * self._portion)

    def make_room(self, size: int) -> None:
        """Return when a datagram of `size` bytes may be sent. Raises Full.

        A receiver that only is slow gets a portion in each flush, whatever waits there; one that
        takes nothing gets nothing.
        """
        room = room_of(size)
        if self._filled and self._filled + room > self._portion:
            self._pause()
            self._filled = 0
        self._filled += room

    def _pause(self) -> None:
        waiting = self._receiver.look()
        if waiting is None:
            time.sleep(min(PAUSE, self._left()))
            return
        moved, nap = False, 0.001
        while waiting > self._portion:
            if not self._left():
                if moved:
                    return
                raise Full("its buffer is full, and it does not read")
            time.sleep(min(nap, self._left()))
            nap = min(2 * nap, _LONGEST_NAP)
            before, waiting = waiting, self._receiver.look() or 0
            moved = moved or waiting < before

    def _left(self) -> float:
        return max(0.0, self._until - time.monotonic())


def room_of(size: int) -> int:
    """Bytes of a receive buffer that a datagram of `size` bytes takes at most.

    Linux rounds what it allocates up to a power of two, and adds its own books (measured on 6.18,
    20 to 65,000 bytes).
    """
    return 2 * size + 1024
