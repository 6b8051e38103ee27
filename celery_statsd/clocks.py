"""How far the clocks of the hosts stand apart, measured from arrivals.

An event cannot arrive before it was made, so the smallest lag (arrival minus timestamp) of a
host's events is its clock's error plus the shortest way here. Between two hosts the way nearly
cancels out. Below the noise timestamps are left alone; while a backlog drains (every host lags)
a lag tells nothing of clocks, and they are left alone too.
"""

import math
from collections.abc import Sequence
from typing import Any

NOISE = 1.0
"""Seconds: a smaller difference of two hosts' lags may be batching or a busy host."""

BACKLOG = 5.0
"""Seconds: when even the quickest host lags so much, it is the stream that is late."""

GENERATION = 300.0
"""Seconds: a lag is remembered for one to two of these."""

GLANCE = 100
"""Hosts that are compared at a glance."""

MOST_HOSTS = 10_000
"""A generation ends when it knows so many; so many node names are remembered."""


class Clocks:
    """The smallest lags of late, by host, in seconds."""

    def __init__(self) -> None:
        self._young: dict[str, float] = {}
        self._old: dict[str, float] = {}
        self._least: dict[str, float] = {}
        self._together: bool | None = None  # None: to be found out
        self._turn_at = 0.0
        self._hosts: dict[str, str] = {}

    def hear(self, hostname: str, timestamp: float, arrival: float) -> str:
        """As `observe`, by a node name; returns its host, the same text each time."""
        host = self._hosts.get(hostname)
        if host is None:
            if len(self._hosts) >= MOST_HOSTS:
                self._hosts.clear()
            host = self._hosts[hostname] = host_of(hostname)
        if arrival >= self._turn_at or arrival - timestamp < self._young.get(host, math.inf):
            self.observe(host, timestamp, arrival)
        return host

    def observe(self, host: str, timestamp: float, arrival: float) -> None:
        """An event made on `host` at `timestamp` (its clock) has come at `arrival` (ours)."""
        lag = arrival - timestamp
        known = self._young.get(host)
        if known is None or lag < known:
            self._young[host] = lag
            if lag < self._least.get(host, math.inf):
                self._least[host] = lag
                self._together = None
        if arrival >= self._turn_at or len(self._young) > MOST_HOSTS:
            self._begin_anew()
            self._turn_at = arrival + GENERATION

    def dump(self) -> list[Any]:
        """Itself as plain values."""
        return [self._young, self._old, self._turn_at]

    def load(self, state: Sequence[Any]) -> None:
        """Go on from what `dump` told."""
        self._young, self._old, self._turn_at = dict(state[0]), dict(state[1]), state[2]
        lags = [*self._old.items(), *self._young.items()]
        self._least = {host: min(lag, self._old.get(host, math.inf)) for host, lag in lags}
        self._together = None

    def lag(self, host: str) -> float | None:
        """The smallest lag of `host` in seconds, None when it was not heard of late."""
        return self._least.get(host)

    def apart(self, host: str, other: str) -> float:
        """Seconds to add to (a time of `host` minus a time of `other`); 0 below the noise."""
        if self._together is None:
            self._together = self._are_together()
        if self._together or host == other:
            return 0.0
        mine, theirs = self.lag(host), self.lag(other)
        if mine is None or theirs is None or min(mine, theirs) > BACKLOG:
            return 0.0
        return mine - theirs if abs(mine - theirs) > NOISE else 0.0

    def _are_together(self) -> bool:
        """Whether no two hosts are apart, as far as that is told at a glance."""
        lags = self._least.values()
        return len(lags) <= GLANCE and max(lags, default=0.0) - min(lags, default=0.0) <= NOISE

    def _begin_anew(self) -> None:
        self._old, self._young = self._young, {}
        self._least = dict(self._old)
        self._together = None


def host_of(hostname: str) -> str:
    """The host in a node name: `celery@web1` -> `web1`."""
    return hostname.rpartition("@")[2]
