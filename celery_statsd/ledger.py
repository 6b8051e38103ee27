"""The ledger: every event taken in ends in exactly one bucket, and the buckets are sent.

    events = counted + doubled + bad + dropped          (bad and dropped by reason)

`unmatched` are those of the counted that belong to a task whose receipt was never seen. Bodies
no event can be made of stand in `bad` as one event each.
"""

import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

HORIZON = 50_000
"""Events: how far back a doubled one is recognised at least. A broker gives back at most what
was not acknowledged, so this must be larger than the events of a few prefetch windows."""


MOST_SENDERS = 10_000
"""Senders whose number is remembered."""


@dataclass(slots=True)
class Ledger:
    """Where the events went since the start."""

    events: int = 0
    counted: int = 0
    doubled: int = 0
    unmatched: int = 0
    bad: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)

    def dump(self) -> dict[str, Any]:
        """Itself as plain values."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def load(cls, state: Mapping[str, Any]) -> Self:
        """What `dump` gave, as a ledger again."""
        counters = {name: Counter(state[name]) for name in ("bad", "dropped")}
        return cls(**{**state, **counters})

    def balanced(self) -> bool:
        """Whether the buckets add up to the events taken in."""
        spoiled = self.bad.total() + self.dropped.total()
        return self.events == self.counted + self.doubled + spoiled


class Doubles:
    """Knows the events of late: tells whether one was seen among the last `HORIZON` or more.

    Two generations of identities, the older thrown away when the younger is full, so that
    remembering costs no search and memory is bounded by twice the horizon.
    """

    def __init__(self, horizon: int = HORIZON) -> None:
        self._horizon = horizon
        self._senders: dict[tuple[str, int | None], int] = {}
        self._young: set[int] = set()
        self._old: set[int] = set()

    def dump(self) -> list[list[int]]:
        """Itself as plain values."""
        return [list(self._young), list(self._old)]

    def load(self, state: Sequence[Sequence[int]]) -> None:
        """Know what `dump` gave."""
        self._young, self._old = map(set, state)

    def seen(self, sender: int, clock: int | None, timestamp: float) -> bool:
        """Whether the event of that sender, clock and time was seen before; from now on it was.

        It is known by 64 bits. Hashes of numbers are the same in every process (those of texts
        and of None are not).
        """
        identity = hash((sender, -1 if clock is None else clock, timestamp))
        young = self._young
        if identity in young or identity in self._old:
            return True
        young.add(identity)
        if len(young) >= self._horizon:
            self._old, self._young = young, set()
        return False

    def sender(self, hostname: str, pid: int | None) -> int:
        """The number of a process."""
        number = self._senders.get((hostname, pid))
        if number is None:
            if len(self._senders) >= MOST_SENDERS:
                self._senders.clear()
            number = hash((zlib.crc32(hostname.encode()), -1 if pid is None else pid))
            self._senders[hostname, pid] = number
        return number
