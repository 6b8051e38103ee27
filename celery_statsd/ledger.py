"""The ledger: every event taken in ends in exactly one bucket, and the buckets are sent.

    events = counted + doubled + bad + dropped          (bad and dropped by reason)

`unmatched` are those of the counted that belong to a task whose receipt was never seen. Bodies
no event can be made of stand in `bad` as one event each.
"""

import math
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

HORIZON = 50_000
"""Events: how far back a doubled one is recognised at least. A broker gives back at most what
was not acknowledged, so this must be larger than the events of a few prefetch windows."""

MOST_SENDERS = 10_000
"""Senders in a generation: of more the horizon is as many of them."""

Sender = tuple[str, int | None]
"""A process: node name and pid."""


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

    def write_off(self, reason: str) -> None:
        """The events that stand in no bucket are bad; at least one is, known to be an event or
        not."""
        missing = self.missing
        self.events += not missing
        self.bad[reason] += missing or 1

    def balanced(self) -> bool:
        """Whether the buckets add up to the events taken in."""
        return not self.missing

    @property
    def missing(self) -> int:
        """Events that are in no bucket: of the message that is being taken in, or none."""
        spoiled = self.bad.total() + self.dropped.total()
        return self.events - self.counted - self.doubled - spoiled


class Trail:
    """The events of one sender of late; `before` is its trail in the generation before.

    A process makes its events one after the other, and mostly they come so: what is younger than
    all before it is new, and two appends remember it. Whatever is not younger is looked for.
    """

    __slots__ = ("_clocks", "_latest", "_others", "_stamps", "before")

    def __init__(self, before: "Trail | None" = None) -> None:
        self.before = before
        self._latest: float = before._latest if before else -math.inf
        self._stamps = array("d")  # rising
        self._clocks = array("q")  # of the same events
        self._others: set[int] | None = None

    def saw(self, clock: int | None, stamp: float) -> bool:
        """Whether the event of that clock and time was seen before; from now on it was."""
        if stamp > self._latest:
            self._latest = stamp
            self._stamps.append(stamp)
            self._clocks.append(-1 if clock is None else clock)
            return False
        return self.saw_aside(clock, stamp)

    def saw_aside(self, clock: int | None, stamp: float) -> bool:
        """The same of an event that comes before others that were made before it: a heartbeat
        overtakes what its worker has batched."""
        clock = -1 if clock is None else clock
        # Hashes of numbers are the same in every process (those of texts are not).
        identity = hash((clock, stamp))
        if self._has(identity, clock, stamp):
            return True
        if self.before is not None and self.before._has(identity, clock, stamp):
            return True
        if self._others is None:
            self._others = set()
        self._others.add(identity)
        return False

    def _has(self, identity: int, clock: int, stamp: float) -> bool:
        if self._others is not None and identity in self._others:
            return True
        place = bisect_left(self._stamps, stamp)
        known = place < len(self._stamps) and self._stamps[place] == stamp
        return known and self._clocks[place] == clock

    def dump(self) -> list[Any]:
        """Itself as plain values, without the one before."""
        others = list(self._others or ())
        return [self._latest, self._stamps.tobytes(), self._clocks.tobytes(), others]

    @classmethod
    def load(cls, state: Sequence[Any], before: "Trail | None") -> Self:
        """What `dump` gave, as a trail again."""
        trail = cls(before)
        trail._latest, stamps, clocks, others = state
        trail._stamps.frombytes(stamps)
        trail._clocks.frombytes(clocks)
        trail._others = set(others) or None
        return trail


class Doubles:
    """Knows the events of late, by their senders.

    Two generations of trails, the older thrown away when the younger is full, so that memory is
    bounded by twice the horizon.
    """

    def __init__(self, horizon: int = HORIZON) -> None:
        self._horizon = horizon
        self._room = horizon
        self._young: dict[Sender, Trail] = {}
        self._old: dict[Sender, Trail] = {}

    def dump(self) -> list[Any]:
        """Itself as plain values."""
        rows = [
            [[*sender, *trail.dump()] for sender, trail in trails.items()]
            for trails in (self._old, self._young)
        ]
        return [self._room, *rows]

    def load(self, state: Sequence[Any]) -> None:
        """Know what `dump` gave."""
        self._room, old, young = state
        self._old = {(name, pid): Trail.load(rest, None) for name, pid, *rest in old}
        self._young = {
            (name, pid): Trail.load(rest, self._old.get((name, pid))) for name, pid, *rest in young
        }

    def prepare(self, events: int) -> None:
        """So many events have come, all of them new but those that are told `again`."""
        if self._room <= 0:
            self._begin_anew()
        self._room -= events

    def again(self) -> None:
        """One was seen before: it took no room."""
        self._room += 1

    def trail(self, sender: Sender) -> Trail:
        """Where the events of `sender` are looked for, and remembered. It is to be asked for anew
        when others have come."""
        trail = self._young.get(sender)
        if trail is None:
            if len(self._young) >= MOST_SENDERS:
                self._begin_anew()
            trail = self._young[sender] = Trail(self._old.get(sender))
        return trail

    def _begin_anew(self) -> None:
        self._old, self._young, self._room = self._young, {}, self._horizon
        for trail in self._old.values():
            trail.before = None
