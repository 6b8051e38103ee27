"""How the length of a queue moves, from one look to the next."""

from collections import deque

WINDOW = 60.0
"""Seconds over which a pace is measured."""


class Trend:
    """One queue; times are monotonic seconds."""

    def __init__(self, at: float) -> None:
        self._looks: deque[tuple[float, int]] = deque()
        self._moved_at = at
        self._processed: int | None = None

    def note(self, at: float, length: int, processed: int) -> None:
        """So many messages wait, and so many tasks have those begun who take from it."""
        before = self._looks[-1][1] if self._looks else None
        if not length or before is None or length < before or processed != self._processed:
            self._moved_at = at
        self._processed = processed
        self._looks.append((at, length))
        while self._looks[-1][0] - self._looks[0][0] > WINDOW:
            self._looks.popleft()

    @property
    def stalled(self) -> float:
        """Seconds, up to the last look, in which it held something and nothing moved."""
        return self._looks[-1][0] - self._moved_at if self._looks else 0.0

    @property
    def drain_s(self) -> float | None:
        """Seconds until it is empty, at its pace; None when it does not shrink."""
        if not self._looks:
            return None
        (first_at, first), (last_at, last) = self._looks[0], self._looks[-1]
        if not last:
            return 0.0
        return last * (last_at - first_at) / (first - last) if last < first else None
