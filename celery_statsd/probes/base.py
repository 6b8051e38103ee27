"""What a probe is: it asks the broker how long the queues are, and who takes from them.

Laws:
1. What the broker does not tell is None, never a made-up 0. A queue that does not exist holds
   nothing: that is a fact, and 0.
2. A look costs one round trip or a few, however many queues there are.
3. A probe has a connection of its own, and reads: nothing is declared, published or consumed.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class QueueFacts:
    """One queue, as the broker has it.

    `length` are the messages that wait, `unacked` those that workers hold; `memory_bytes` is what
    the broker needs for it; `oldest_at` is when the message at its head was sent (epoch seconds),
    where messages tell.
    """

    name: str
    length: int | None = None
    unacked: int | None = None
    consumers: int | None = None
    memory_bytes: int | None = None
    oldest_at: float | None = None


@dataclass(frozen=True, slots=True)
class Sight:
    """What one look has found: the queues in the order they were asked for, and of the broker how
    many clients it has, the bytes it uses, the messages that workers hold (of whatever queue), and
    the seconds it took to answer. `refused` are the queues whose length we may not ask for."""

    queues: tuple[QueueFacts, ...]
    ping: float
    connections: int | None = None
    memory_bytes: int | None = None
    unacked: int | None = None
    refused: frozenset[str] = frozenset()


class Probe(ABC):
    """Looks at the queues of one broker. Used by one thread; connects when it has to."""

    @abstractmethod
    def look(self, queues: Collection[str]) -> Sight:
        """The facts of these queues, and of others the broker tells by itself. Raises BrokerLost;
        the next look connects anew."""

    @abstractmethod
    def close(self) -> None:
        """Leave the broker. Never raises."""
