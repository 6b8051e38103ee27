"""The sendings that wait in their queues, as far as anybody can tell, and when they wait no more.

Memory is bounded by the sendings the tracker holds: a queue is known as long as one waits in it.
"""

import heapq
from collections.abc import Iterator, Mapping
from itertools import takewhile

from celery_statsd.task import Sending

EXPIRY_GRACE = 5.0
"""Seconds after `expires` in which a receipt may still be on its way."""

OVERTAKEN = 60.0
"""Seconds: a sending so much older than one that its queue has already delivered is not waiting."""

SPARE = 1000
"""Expiries of sendings that no longer wait, not worth clearing away."""


class Queues:
    """What waits, by queue, in the order it came."""

    def __init__(self) -> None:
        self._waiting: dict[str, dict[Sending, None]] = {}
        self._delivered: dict[str, float] = {}
        self._expiring: list[tuple[float, int, Sending]] = []
        self._serial = 0
        self._most_expiring = SPARE

    def dump(self) -> dict[str, float]:
        """When the last that each queue has delivered was sent; the tracker dumps the sendings."""
        return self._delivered

    def load(self, state: Mapping[str, float]) -> None:
        """Know what `dump` told."""
        self._delivered = dict(state)

    def put(self, sending: Sending) -> None:
        """`sending` waits from now on."""
        self._waiting.setdefault(sending.queue, {})[sending] = None
        if sending.expires is not None:
            self._serial += 1
            heapq.heappush(self._expiring, (sending.expires, self._serial, sending))

    def take(self, sending: Sending) -> None:
        """`sending` waits no more."""
        waiting = self._waiting[sending.queue]
        del waiting[sending]
        if not waiting:
            del self._waiting[sending.queue]

    def deliver(self, sending: Sending) -> None:
        """A worker has received `sending`: what waits behind it may have been overtaken."""
        queue = sending.queue
        if queue in self._waiting:
            self._delivered[queue] = max(self._delivered.get(queue, 0.0), sending.sent)

    def note(self, queue: str, sent: float) -> bool:
        """Of `queue` something was delivered that was sent at `sent`; whether any waits there."""
        if queue not in self._waiting:
            return False
        self._delivered[queue] = max(self._delivered.get(queue, 0.0), sent)
        return True

    def overtaken(self) -> list[Sending]:
        """Those their queue has left behind."""
        found = []
        for queue, delivered in list(self._delivered.items()):
            if queue in self._waiting:
                found += self._sent_before(queue, delivered - OVERTAKEN)
            else:
                del self._delivered[queue]
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

    def _sent_before(self, queue: str, stamp: float) -> list[Sending]:
        """The first that wait in `queue` (in the order they came) and were sent before `stamp`."""
        return list(takewhile(lambda sending: sending.sent < stamp, self._waiting[queue]))
