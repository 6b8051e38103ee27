"""What a broker tells of itself, and what of it matters to the events.

The facts are gathered by `rabbitmq` and `redis`; here they are judged. What could not be asked is
None.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class RabbitQueue:
    """A queue as the management API has it; `policy` is what holds of all policies for it. Of one
    that is some seconds old at most neither consumers nor policy are told: None."""

    name: str
    messages: int = 0
    consumers: int | None = 0
    type: str = "classic"
    durable: bool = False
    exclusive: bool = False
    arguments: Mapping[str, Any] = field(default_factory=dict)
    policy: Mapping[str, Any] | None = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rights:
    """The patterns of a user in one vhost, as RabbitMQ keeps them."""

    configure: str = ""
    write: str = ""
    read: str = ""


@dataclass(frozen=True, slots=True)
class RabbitFacts:
    """A RabbitMQ. `own` is the head of the names of the agent's queues; `queues` and what comes
    behind them are the management API's."""

    version: str = ""
    user: str = ""
    own: str = "celeryev.statsd.default"
    queues: tuple[RabbitQueue, ...] | None = None
    rights: Rights | None = None

    @property
    def pidboxes(self) -> tuple[str, ...] | None:
        """The workers that have a queue for commands."""
        if self.queues is None:
            return None
        return workers_of(queue.name for queue in self.queues)


@dataclass(frozen=True, slots=True)
class RedisFacts:
    """A Redis. `limit` is that of a subscriber's output buffer: hard and soft (bytes), and seconds
    of the latter; `policy` what it does when `maxmemory` (bytes, 0: no bound) is reached.
    `receivers` are the queues bound to the event exchange, `subscribers` the clients that subscribe
    to anything; `may` what its user may do (see `redis.NEEDS`)."""

    version: str = ""
    user: str = ""
    limit: tuple[int, int, int] | None = None
    maxmemory: int | None = None
    policy: str = ""
    receivers: int | None = None
    subscribers: int | None = None
    pidboxes: tuple[str, ...] | None = None
    may: Mapping[str, bool] | None = None


PIDBOX = ".celery.pidbox"
"""The tail of the name of a worker's queue for commands (kombu.pidbox)."""


def workers_of(queues: Iterable[str]) -> tuple[str, ...]:
    """The workers whose queues for commands are among these."""
    return tuple(sorted(name.removesuffix(PIDBOX) for name in queues if name.endswith(PIDBOX)))


_UUID = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")


def is_receiver(name: str) -> bool:
    """Whether a queue is that of one of Celery's own receivers, or of a worker that gossips."""
    return name.startswith("celeryev.") and bool(_UUID.fullmatch(name.removeprefix("celeryev.")))
