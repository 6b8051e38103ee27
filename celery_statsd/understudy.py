"""The understudy: flushes that another agent of the group says, kept until it has said them.

Where all agents of a group hear the same stream, each cuts it into flushes at the same marks, and
one of them speaks. What the others have cut they keep, and whoever takes over says what the last
speaker has not.
"""

from collections import deque

from celery_statsd.chronicle import Flush

MOST = 60
"""Flushes kept; past it the oldest goes, for its speaker keeps it too."""


class Understudy:
    """What one agent keeps. `gone` counts the flushes it had no room for since something was last
    said: had it to speak, they would be missing."""

    def __init__(self) -> None:
        self.gone = 0
        self._kept: deque[Flush] = deque()

    def __len__(self) -> int:
        """How many flushes are kept."""
        return len(self._kept)

    def keep(self, flush: Flush) -> int:
        """Keep `flush`; the number of the flush that had to go for it, 0 for none."""
        self._kept.append(flush)
        if len(self._kept) <= MOST:
            return 0
        self.gone += 1
        return self._kept.popleft().number

    def number_of(self, cut: str) -> int:
        """The number of the flush that ended at that mark; 0 when it is not kept."""
        return next((flush.number for flush in self._kept if flush.cut == cut), 0)

    def drop(self, number: int) -> None:
        """All up to that number was said."""
        while self._kept and self._kept[0].number <= number:
            self._kept.popleft()
            self.gone = 0

    def take(self) -> list[Flush]:
        """All of it, oldest first: it is to be said by somebody else, or by nobody."""
        kept = list(self._kept)
        self._kept.clear()
        self.gone = 0
        return kept
