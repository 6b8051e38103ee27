"""How far the clocks of the hosts stand apart, measured from arrivals.

An event cannot arrive before it was made, so the smallest lag (arrival minus timestamp) of a
host's events is its clock's error plus the shortest way here. Between two hosts the way nearly
cancels out. Below the noise timestamps are left alone; while a backlog drains (every host lags)
a lag tells nothing of clocks, and they are left alone too.
"""

from collections.abc import Sequence
from typing import Any

NOISE = 1.0
"""Seconds: a smaller difference of two hosts' lags may be batching or a busy host."""

BACKLOG = 5.0
"""Seconds: when even the quickest host lags so much, it is the stream that is late."""

GENERATION = 300.0
"""Seconds: a lag is remembered for one to two of these."""

MOST_HOSTS = 10_000
"""A generation ends when it knows so many."""


class Clocks:
    """The smallest lags of late, by host, in seconds."""

    def __init__(self) -> None:
        self._young: dict[str, float] = {}
        self._old: dict[str, float] = {}
        self._turn_at = 0.0

    def observe(self, host: str, timestamp: float, arrival: float) -> None:
        """An event made on `host` at `timestamp` (its clock) has come at `arrival` (ours)."""
        lag = arrival - timestamp
        known = self._young.get(host)
        if known is None or lag < known:
            self._young[host] = lag
        if arrival >= self._turn_at or len(self._young) > MOST_HOSTS:
            self._old, self._young = self._young, {}
            self._turn_at = arrival + GENERATION

    def dump(self) -> list[Any]:
        """Itself as plain values."""
        return [self._young, self._old, self._turn_at]

    def load(self, state: Sequence[Any]) -> None:
        """Go on from what `dump` told."""
        self._young, self._old, self._turn_at = dict(state[0]), dict(state[1]), state[2]

    def lag(self, host: str) -> float | None:
        """The smallest lag of `host` in seconds, None when it was not heard of late."""
        lags = [lags[host] for lags in (self._young, self._old) if host in lags]
        return min(lags, default=None)

    def apart(self, host: str, other: str) -> float:
        """Seconds to add to (a time of `host` minus a time of `other`); 0 below the noise."""
        if host == other:
            return 0.0
        mine, theirs = self.lag(host), self.lag(other)
        if mine is None or theirs is None or min(mine, theirs) > BACKLOG:
            return 0.0
        return mine - theirs if abs(mine - theirs) > NOISE else 0.0


def host_of(hostname: str) -> str:
    """The host in a node name: `celery@web1` -> `web1`."""
    return hostname.rpartition("@")[2]
