"""The sendings that wait in their queues, as far as anybody can tell, and when they wait no more.

Memory is bounded by the sendings the tracker holds and the lanes of the usual tasks: a queue has a
line as long as one waits in it, or a lane is of it. Its name is remembered beyond that.
"""

import heapq
import math
from collections.abc import Iterator, Mapping
from typing import Any

from celery_statsd.task import Sending

EXPIRY_GRACE = 5.0
"""Seconds after `expires` in which a receipt may still be on its way."""

OVERTAKEN = 60.0
"""Seconds: a sending so much older than one that its queue has already delivered is not waiting."""

MOST_KNOWN = 1000
"""Names of queues that are remembered; of more those that were first in use are forgotten."""

NO_NAMES = ("bcast", "unknown")
"""What stands for queues whose names are not known, or mean nothing."""

SPARE = 1000
"""Expiries of sendings that no longer wait, not worth clearing away."""


class Line:
    """One queue: the `sendings` that wait in it and, beside them, how many `usual` ones.

    `delivered` is when the last was sent that a worker received while others waited (0: none);
    `oldest` is no later than any of `sendings` was sent. So many `lanes` are of this queue.
    """

    __slots__ = ("delivered", "lanes", "oldest", "sendings", "usual")

    def __init__(self) -> None:
        self.sendings: dict[Sending, None] = {}
        self.usual = 0
        self.delivered = 0.0
        self.oldest = math.inf
        self.lanes = 0

    @property
    def overtaken(self) -> float:
        """What was sent before this has been left behind."""
        return self.delivered - OVERTAKEN

    def deliver(self, sent: float) -> None:
        """A worker has received what was sent at `sent`: others may have been overtaken."""
        if (self.usual or self.sendings) and sent > self.delivered:
            self.delivered = sent


class Queues:
    """What waits, by queue. `known` are the names of those that tasks were sent to; `forgotten`
    counts the names that were too many."""

    def __init__(self) -> None:
        self.known: dict[str, None] = {}
        self.forgotten = 0
        self._lines: dict[str, Line] = {}
        self._expiring: list[tuple[float, int, Sending]] = []
        self._serial = 0
        self._most_expiring = SPARE

    def dump(self) -> dict[str, Any]:
        """The names, and when the last that each queue has delivered was sent; what waits is the
        tracker's to dump."""
        lines = self._lines.items()
        delivered = {queue: line.delivered for queue, line in lines if line.delivered}
        return {"known": list(self.known), "forgotten": self.forgotten, "delivered": delivered}

    def load(self, state: Mapping[str, Any]) -> None:
        """Know what `dump` told."""
        for queue, delivered in state["delivered"].items():
            self.line(queue).delivered = delivered
        self.known, self.forgotten = dict.fromkeys(state["known"]), state["forgotten"]

    def line(self, queue: str) -> Line:
        """What is known of a queue."""
        line = self._lines.get(queue)
        if line is None:
            line = self._lines[queue] = Line()
            self._know(queue)
        return line

    def oldest(self) -> dict[str, float]:
        """When the oldest of `sendings` was sent, of each queue in which any waits."""
        waiting = ((queue, line.sendings) for queue, line in self._lines.items() if line.sendings)
        return {queue: min(sending.sent for sending in some) for queue, some in waiting}

    def put(self, sending: Sending) -> None:
        """`sending` waits from now on."""
        line = self.line(sending.queue)
        line.sendings[sending] = None
        line.oldest = min(line.oldest, sending.sent)
        if sending.expires is not None:
            self._serial += 1
            heapq.heappush(self._expiring, (sending.expires, self._serial, sending))

    def take(self, sending: Sending) -> None:
        """`sending` waits no more."""
        del self._lines[sending.queue].sendings[sending]

    def deliver(self, sending: Sending) -> None:
        """A worker has received `sending`: what waits behind it may have been overtaken."""
        self.line(sending.queue).deliver(sending.sent)

    def overtaken(self) -> list[Sending]:
        """Those their queue has left behind."""
        found: list[Sending] = []
        for queue, line in list(self._lines.items()):
            if not line.sendings and not line.usual:
                self._clear(queue, line)
            elif line.oldest < line.overtaken:
                found += _left_behind(line)
        return found

    def expired(self, now: float) -> Iterator[Sending]:
        """Those that wait though nobody will receive them any more."""
        while self._expiring and self._expiring[0][0] + EXPIRY_GRACE < now:
            sending = heapq.heappop(self._expiring)[2]
            if not sending.taken:
                yield sending
        if len(self._expiring) > self._most_expiring:
            self._expiring = [entry for entry in self._expiring if not entry[2].taken]
            heapq.heapify(self._expiring)
            self._most_expiring = SPARE + 2 * len(self._expiring)

    def _know(self, queue: str) -> None:
        if queue in NO_NAMES:
            return
        self.known.pop(queue, None)
        self.known[queue] = None
        if len(self.known) > MOST_KNOWN:
            del self.known[next(iter(self.known))]
            self.forgotten += 1

    def _clear(self, queue: str, line: Line) -> None:
        """Nothing waits in that queue."""
        line.delivered, line.oldest = 0.0, math.inf
        if not line.lanes:
            del self._lines[queue]


def _left_behind(line: Line) -> list[Sending]:
    """Those that were sent too long before what was delivered; the oldest of the rest is known."""
    until = line.overtaken
    line.oldest = min((s.sent for s in line.sendings if s.sent >= until), default=math.inf)
    return [sending for sending in line.sendings if sending.sent < until]
