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
    """What one agent keeps."""

    def __init__(self) -> None:
        self._kept: deque[Flush] = deque()

    def __len__(self) -> int:
        """How many flushes are kept."""
        return len(self._kept)

    def keep(self, flush: Flush) -> int:
        """Keep `flush`; the number of the flush that had to go for it, 0 for none."""
        self._kept.append(flush)
        return self._kept.popleft().number if len(self._kept) > MOST else 0

    def heard(self, cut: str) -> int:
        """All up to that mark was said; the number of the last one so dropped, 0 for none."""
        if all(flush.cut != cut for flush in self._kept):
            return 0
        while (flush := self._kept.popleft()).cut != cut:
            pass
        return flush.number

    def take(self) -> list[Flush]:
        """All of it, oldest first: it is to be said by somebody else, or by nobody."""
        kept = list(self._kept)
        self._kept.clear()
        return kept
