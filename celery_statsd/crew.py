"""Who takes from which queue: what events tell of the workers, and what they answered when asked.

Laws:
1. Alive is who is alive by events; an answer decides nothing about that. Who answers and was never
   heard (started without heartbeats) may be alive.
2. A worker of which no queues are known may take from any: then nobody can say that a queue has no
   consumers, or that nothing is held.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from celery_statsd.life import State

ALIVE = (State.UP, State.UNKNOWN)
"""The states of those who may hold something."""


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """What one worker answered; None is what it did not.

    `prefetch` is its prefetch count, 0 for no limit; `reserved` and `scheduled` are the tasks it
    holds that have not started, the latter for an ETA; `revoked` is how many revoked tasks it
    remembers; `registered` and `queues` are names; `eta_at` is the ETA (epoch seconds) of the
    scheduled task that is farthest off.
    """

    pool_size: int | None = None
    prefetch: int | None = None
    reserved: int | None = None
    scheduled: int | None = None
    revoked: int | None = None
    registered: tuple[str, ...] | None = None
    queues: tuple[str, ...] | None = None
    eta_at: float | None = None


NOTHING = WorkerFacts()
"""Of one who did not answer."""


@dataclass(frozen=True, slots=True)
class Hand:
    """One worker, by its events: `active` and `processed` as its last heartbeat has them, and the
    attempts it has received and not started (`reserved`), or started and not ended (`running`);
    `flapping`: it began anew several times within minutes."""

    state: State
    active: int | None = None
    processed: int | None = None
    reserved: int = 0
    running: int = 0
    flapping: bool = False
    pid: int | None = None

    @property
    def holds(self) -> int:
        """Tasks in its hands, as far as it tells."""
        return max(self.active or 0, self.running) + self.reserved


UNHEARD = Hand(State.UNKNOWN)
"""One of whom no event ever came."""


@dataclass(frozen=True)
class Crew:
    """`hands` are the workers that were heard of, `facts` what workers answered, by hostname."""

    hands: Mapping[str, Hand] = field(default_factory=dict)
    facts: Mapping[str, WorkerFacts] = field(default_factory=dict)

    @cached_property
    def alive(self) -> dict[str, Hand]:
        """Those who are alive, and those who may be."""
        found = {name: hand for name, hand in self.hands.items() if hand.state in ALIVE}
        unheard = (name for name in self.facts if name not in self.hands)
        return found | dict.fromkeys(unheard, UNHEARD)

    @cached_property
    def strangers(self) -> list[str]:
        """Those of whom no queues are known."""
        return [name for name in self.alive if self._of(name).queues is None]

    def takers(self, queue: str) -> list[str]:
        """Those who are known to take from it, and may be alive."""
        return self._takers.get(queue, [])

    def consumers(self, queue: str) -> int | None:
        """How many are known to live and take from it; None when it may be nobody or somebody."""
        takers = self.takers(queue)
        sure = sum(self.alive[name].state is State.UP for name in takers)
        return None if not sure and (takers or self.strangers) else sure

    def held(self, queue: str) -> int | None:
        """Tasks in the hands of all who take from it, whatever queue they came by; None when that
        is not known."""
        if self.strangers or any(self.alive[name] is UNHEARD for name in self.takers(queue)):
            return None
        return sum(self._held_by(name) for name in self.takers(queue))

    def slots(self, queue: str) -> int | None:
        """The tasks that its living takers can run at the same time; None when that is not
        known."""
        sizes = [self._of(name).pool_size for name in self._living(queue)]
        known = [size for size in sizes if size is not None]
        return sum(known) if len(known) == len(sizes) else None

    def active(self, queue: str) -> int:
        """The tasks that its living takers run, by their heartbeats."""
        return sum(self.alive[name].active or 0 for name in self._living(queue))

    def processed(self, queue: str) -> int:
        """The tasks that its living takers have begun."""
        return sum(self.alive[name].processed or 0 for name in self._living(queue))

    def free(self) -> Iterator[tuple[str, int]]:
        """Who has free slots, and how many."""
        for name, hand in self.alive.items():
            size = self._of(name).pool_size
            taken = hand.reserved + (hand.active or 0)
            if hand.state is State.UP and size and size > taken:
                yield name, size - taken

    def queues_of(self, name: str) -> tuple[str, ...]:
        """The queues that one of them is known to take from."""
        return self._of(name).queues or ()

    def eta_of(self, name: str) -> float | None:
        """When the task is due that one of them has to keep longest (epoch seconds)."""
        return self._of(name).eta_at

    def _of(self, name: str) -> WorkerFacts:
        return self.facts.get(name, NOTHING)

    def _held_by(self, name: str) -> int:
        facts = self._of(name)
        return max(self.alive[name].holds, (facts.reserved or 0) + (facts.scheduled or 0))

    def _living(self, queue: str) -> list[str]:
        return [name for name in self.takers(queue) if self.alive[name].state is State.UP]

    @cached_property
    def _takers(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name in self.alive:
            for queue in self.queues_of(name):
                found.setdefault(queue, []).append(name)
        return found
