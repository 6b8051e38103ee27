"""Which part of the cluster one agent counts.

| scope            | it counts                                         | reporter   | what waits |
| ---------------- | ------------------------------------------------- | ---------- | ---------- |
| the cluster      | every event                                       | `all`      | known      |
| a host           | what the workers and clients of its host say      | the host   | unknown    |
| partition k of n | its part of the workers, 1/n of all publications  | `p<k>`     | unknown    |

Laws:
1. Each event is counted by one of the agents that share a cluster, whatever the scope: the sums
   over all reporters are those of one agent that hears everything.
2. Who sees only a part of the workers cannot know what waits in a queue: a task that was sent
   may be received elsewhere. Such an agent follows no publication until its receipt, and says
   nothing of `queued`, `expired` and `unseen`.
"""

import zlib
from dataclasses import dataclass

from celery_statsd.clocks import host_of


@dataclass(frozen=True, slots=True)
class Scope:
    """A part of a cluster. `hosts` are the names of the one host it is limited to, if any;
    `partition` counts from 1."""

    reporter: str = "all"
    hosts: frozenset[str] = frozenset()
    partition: int = 1
    partitions: int = 1

    @property
    def whole(self) -> bool:
        """Whether it is all of the cluster."""
        return not self.hosts and self.partitions == 1

    def hears(self, hostname: str) -> bool:
        """Whether what `hostname` (a node name, `celery@web1`) says is to be counted."""
        return not self.hosts or host_of(hostname) in self.hosts

    def owns(self, uuid: str) -> bool:
        """Whether the publications of a task are counted here: all partitions hear of them."""
        if self.partitions == 1:
            return True
        return zlib.crc32(uuid.encode()) % self.partitions == self.partition - 1


CLUSTER = Scope()
"""Everything."""
