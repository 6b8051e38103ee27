"""What is wrong between queues and workers: each finding a sentence, and what helps.

Pure: whoever calls has looked, and knows the time. A finding needs facts: where they are missing
there is none.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from celery_statsd.crew import Crew
from celery_statsd.probes.base import QueueFacts

STALLED = 30.0
"""Seconds without any movement after which a queue is stuck."""

CARE, BAD = 1, 2
"""How grave a finding is: it needs care; somebody has to act."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: its `kind` is a metric of the family of its entity."""

    kind: str
    family: str
    entity: str
    severity: int
    text: str
    cure: str


class Busy(NamedTuple):
    """What the tasks of one name do in a queue: so many wait, so many run."""

    waiting: int
    running: int


@dataclass(frozen=True)
class Scene:
    """All there is to judge by. `queues` have their consumers; `stalled` are seconds since a queue
    moved, `busy` its tasks by name; `visibility` is Redis's timeout in seconds, None elsewhere;
    `now` is in epoch seconds."""

    queues: Mapping[str, QueueFacts]
    crew: Crew
    now: float
    stalled: Mapping[str, float]
    busy: Mapping[str, Mapping[str, Busy]]
    visibility: float | None = None

    def waiting(self) -> Iterator[QueueFacts]:
        """The queues in which something waits."""
        return (facts for facts in self.queues.values() if facts.length)

    def is_full(self, queue: str) -> bool:
        """Whether those who take from it have no free slot."""
        slots = self.crew.slots(queue)
        return bool(slots) and self.crew.active(queue) >= (slots or 0)


def findings(scene: Scene) -> list[Finding]:
    """All there are, the gravest first."""
    found = [finding for look in LOOKS for finding in look(scene)]
    return sorted(found, key=lambda finding: -finding.severity)


def safe_to_scale_down(facts: QueueFacts, crew: Crew) -> bool:
    """Whether nothing waits in a queue, and nothing is in the hands of those who take from it. What
    is not known is not safe."""
    return facts.length == 0 and not facts.unacked and crew.held(facts.name) == 0


def _unconsumed(scene: Scene) -> Iterator[Finding]:
    for facts in scene.waiting():
        if facts.consumers == 0:
            yield Finding(
                *("unconsumed", "queue", facts.name, BAD),
                f"{_messages(facts)} in {facts.name}, and no worker takes from it",
                f"start a worker with -Q {facts.name}, or find out who sends there",
            )


def _stuck(scene: Scene) -> Iterator[Finding]:
    for facts in scene.waiting():
        stalled = scene.stalled.get(facts.name, 0.0)
        idle = facts.consumers and not scene.crew.active(facts.name)
        if idle and scene.crew.takers(facts.name) and stalled >= STALLED:
            yield Finding(
                *("stuck", "queue", facts.name, BAD),
                f"{_messages(facts)} in {facts.name} for {stalled:.0f} s, and its workers are idle",
                "restart the workers; look for tasks they have reserved and do not run, rate "
                "limits, and a connection that was lost without a word",
            )


def _head_of_line(scene: Scene) -> Iterator[Finding]:
    for facts in scene.waiting():
        busy = scene.busy.get(facts.name, {})
        slots = scene.crew.slots(facts.name)
        for name, task in busy.items():
            others = sum(other.waiting for other in busy.values()) - task.waiting
            if slots and task.running >= slots and others:
                yield Finding(
                    *("head_of_line", "queue", facts.name, CARE),
                    f"{name} has all {slots} slots of {facts.name}; {others} other tasks wait",
                    f"route {name} to a queue with workers of its own",
                )


def _idle_elsewhere(scene: Scene) -> Iterator[Finding]:
    full = [facts for facts in scene.waiting() if scene.is_full(facts.name)]
    if not full:
        return
    free = {
        name: slots
        for name, slots in scene.crew.free()
        if not any(_length(scene, queue) for queue in scene.crew.queues_of(name))
    }
    for facts in full if free else ():
        yield Finding(
            *("idle_elsewhere", "queue", facts.name, CARE),
            f"{_messages(facts)} in {facts.name}, whose slots are all taken, while "
            f"{sum(free.values())} slots are free at {_some(free)}, whose queues are empty",
            f"let some of them take from {facts.name} too, or move slots",
        )


def _flapping(scene: Scene) -> Iterator[Finding]:
    for name, hand in scene.crew.hands.items():
        if hand.flapping:
            yield Finding(
                *("flapping", "worker", name, CARE),
                f"{name} starts again and again",
                "look into its log and its limits of memory",
            )


def _redelivered(scene: Scene) -> Iterator[Finding]:
    if scene.visibility is None:
        return
    for name in scene.crew.alive:
        eta = scene.crew.eta_of(name)
        if eta is not None and eta - scene.now > scene.visibility:
            yield Finding(
                *("redelivered", "worker", name, BAD),
                f"{name} holds a task for {eta - scene.now:.0f} s, and Redis gives what is held "
                f"for {scene.visibility:.0f} s to others as well: it will run more than once",
                "raise visibility_timeout in broker_transport_options above the longest ETA, for "
                "workers and clients alike, or keep such tasks in a database until they are due",
            )


LOOKS: tuple[Callable[[Scene], Iterator[Finding]], ...] = (
    _unconsumed, _stuck, _head_of_line, _idle_elsewhere, _flapping, _redelivered,
)  # fmt: skip
"""One for each kind."""

KINDS = {
    "queue": ("stuck", "head_of_line", "idle_elsewhere"),
    "worker": ("redelivered",),
}
"""Those that are told as gauges of their entity, 1 or 0; the others are metrics already."""


def _length(scene: Scene, queue: str) -> int:
    """What waits in a queue; one that is not looked at may hold something."""
    facts = scene.queues.get(queue)
    return 1 if facts is None or facts.length is None else facts.length


def _messages(facts: QueueFacts) -> str:
    wait = "message waits" if facts.length == 1 else "messages wait"
    return f"{facts.length} {wait}"


def _some(names: Mapping[str, int]) -> str:
    first, *others = sorted(names)
    return f"{first} and {len(others)} more" if others else first
