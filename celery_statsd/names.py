"""Metric -> safe dotted path: the one place where such a name is made.

The laws, for what StatsD, Bucky, gostatsd, telegraf and Graphite would else cut, merge or split:

1. A node holds `[A-Za-z0-9_-]` only. `.` becomes `-`, `-` becomes `--` (so the dots of a Python
   path can be told again), `@` becomes `_at_`, any other character `_`.
2. An empty node is `unknown`; one over 100 characters is cut and ends in 8 hex digits of a hash.
3. No node equals its neighbour: Bucky makes one of two. So an entity or a reporter called like a
   family or a metric, or like a word a StatsD adds at either end, gets a `_`.
4. Two entities of one family never share a node: the second gets the hash of its name.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence

from celery_statsd.metric import Kind, Series

LONGEST_NODE = 100
"""Characters."""

_HEADS = {"stats", "stats_counts", "counters", "gauges", "timers", "sets"}
_TAILS = {"count", "rate", "count_ps", "sum", "sum_squares", "mean", "median", "lower", "upper"}
WIRE_WORDS = frozenset(_HEADS | _TAILS | {"std"})
"""What StatsD puts before and behind a name."""

_FOREIGN = re.compile(r"[^A-Za-z0-9_]")
_REPLACED = {".": "-", "-": "--", "@": "_at_"}


def escape(name: str) -> str:
    """`name` as one safe node (laws 1 and 2)."""
    node = _FOREIGN.sub(lambda match: _REPLACED.get(match[0], "_"), name)
    if len(node) > LONGEST_NODE:
        return node[: LONGEST_NODE - 8] + digest(name)
    return node or "unknown"


def digest(name: str) -> str:
    """8 hex digits that tell `name` from others."""
    return hashlib.blake2b(name.encode("utf-8", "replace"), digest_size=4).hexdigest()


class Names:
    """Makes the paths of one agent, which is called `host`:
    `<prefix>.<app>.<family>.<entity>.<metric>.<reporter>`.

    `words` are the families and metrics of the catalogue. `collisions` counts the entities that
    needed law 4.
    """

    def __init__(
        self, prefix: str, app: str, reporter: str, words: Iterable[str], host: str = "self"
    ) -> None:
        self._reserved = WIRE_WORDS | set(words)
        nodes = [*filter(None, prefix.split(".")), app]
        self._head = ".".join(_unlike_neighbours([self._node(node) for node in nodes]))
        # What an agent knows of itself has one reporter; how it sees the broker is its own view.
        self._reporters = {"agent": "self", "broker": self._node(host)}
        self._reporter = self._node(reporter)
        self._taken: dict[tuple[str, str], str] = {}
        self._given: dict[tuple[str, str], str] = {}
        self.collisions = 0

    def series(self, family: str, entity: str, metric: str, kind: Kind) -> Series:
        """The series of one metric of an entity."""
        reporter = self._reporters.get(family, self._reporter)
        path = f"{self._head}.{family}.{self.entity(family, entity)}.{metric}.{reporter}"
        return Series(family, entity, metric, kind, path)

    def entity(self, family: str, entity: str) -> str:
        """The node of `entity`, the same at every call until it is released."""
        given = self._given.get((family, entity))
        return given if given is not None else self._give(family, entity)

    def dump(self) -> list[tuple[str, str, str]]:
        """Which entity has which node: (family, entity, node)."""
        return [(family, entity, node) for (family, entity), node in self._given.items()]

    def load(self, state: Iterable[Sequence[str]]) -> None:
        """Give the nodes that `dump` told of."""
        for family, entity, node in state:
            self._given[family, entity] = node
            self._taken[family, node] = entity

    def release(self, family: str, entity: str) -> None:
        """Forget `entity`: its node may be given to another one."""
        node = self._given.pop((family, entity), None)
        if node is not None:
            del self._taken[family, node]

    def _give(self, family: str, entity: str) -> str:
        node = self._node(entity)
        if (family, node) in self._taken:
            self.collisions += 1
            node = f"{node[: LONGEST_NODE - 9]}_{digest(entity)}"
        while (family, node) in self._taken:  # a hash that is itself somebody's name
            node = f"{node[: LONGEST_NODE - 9]}_{digest(node)}"
        self._taken[family, node] = entity
        self._given[family, entity] = node
        return node

    def _node(self, name: str) -> str:
        node = escape(name)
        return node + "_" if node in self._reserved else node


def _unlike_neighbours(nodes: list[str]) -> list[str]:
    unlike: list[str] = []
    for node in nodes:
        unlike.append(node + "_" if unlike and unlike[-1] == node else node)
    return unlike
