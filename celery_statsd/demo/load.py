"""How much of a processor some threads of this process use, as the kernel counts it."""

import threading
import time
from collections.abc import Iterable


class Load:
    """The load of `threads`; each reading is over the time since the one before it."""

    def __init__(self, threads: Iterable[threading.Thread]) -> None:
        self._ids = [thread.native_id for thread in threads]
        self._at = time.monotonic()
        self._used = self._seconds()

    def percent(self) -> float | None:
        """Of one processor; None where the kernel does not tell (outside Linux, or all ended)."""
        used, now = self._seconds(), time.monotonic()
        before, self._used = self._used, used
        passed, self._at = now - self._at, now
        if used is None or before is None or passed <= 0:
            return None
        return 100 * (used - before) / passed

    def _seconds(self) -> float | None:
        try:
            return sum(map(_seconds_of, self._ids))
        except (OSError, ValueError):
            return None


def _seconds_of(thread: int | None) -> float:
    """Time spent on a processor: the first number, in ns (Documentation/scheduler/sched-stats)."""
    with open(f"/proc/self/task/{thread}/schedstat", encoding="ascii") as numbers:
        return int(numbers.read().split()[0]) / 1e9
