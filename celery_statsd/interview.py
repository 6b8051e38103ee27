"""The workers are asked what they do: seldom, in a thread that nobody waits for.

Laws:
1. What was answered is told as long as it is fresh. Queues and size of the pool, which hardly ever
   change, are known for as long as the same process lives: a busy worker does not answer.
2. One agent of a cluster asks: the one that speaks.
3. A worker that is new is asked soon, and a few times more if it does not answer yet.
4. No answer decides who is alive.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from celery_statsd.crew import ALIVE, NOTHING, Crew, Hand, WorkerFacts
from celery_statsd.errors import AskRefused
from celery_statsd.life import State
from celery_statsd.log import Log
from celery_statsd.pipeline import Pipeline
from celery_statsd.probes.answers import QUESTIONS, brief, merged
from celery_statsd.probes.workers import Inspector
from celery_statsd.trouble import Trouble

FRESH = 3
"""Intervals for which an answer may be told."""

PATIENCE = 5.0
"""Seconds the workers have to answer."""

NEW_AFTER = (2.0, 10.0, 30.0)
"""Seconds after which a worker that has just been heard of is asked, and asked again."""

MOST_NAMED, ROLL_OUT = 20, 10.0
"""More new ones than that are not asked by name, for each worker gets the names of all: everybody
is asked, but not again within so many seconds."""

MOST_SAME = 1000
"""Lists of names that are remembered so that they are kept once."""

MOST_QUEUES = 1000
"""Queues that are looked at because workers say to take from them. That there are more is told."""

AGAIN_AFTER = 3600.0
"""Seconds after a refusal in which it would be told again, and nothing else: brokers log each."""

BEAT = 1.0
"""Seconds between two thoughts of whether it is time to ask."""

PASSING = ("bcast.", "amq.")
"""What names of queues begin with that belong to one worker alone."""

Hands = Callable[[], Mapping[str, Hand]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What one worker has answered last, at `at` (monotonic seconds), as the process `pid`."""

    facts: WorkerFacts
    at: float
    pid: int | None


class Interview:
    """Asks through `inspector`, each `interval` seconds, as long as this agent `leads`. `hands`
    tells who was heard of; `alias` is the broker's name in the metrics."""

    def __init__(  # noqa: PLR0913
        self,
        inspector: Inspector,
        hands: Hands,
        leads: Callable[[], bool],
        log: Log,
        *,
        interval: float = 60.0,
        alias: str = "broker",
    ) -> None:
        self.interval = interval
        self.rounds = 0
        self._inspector = inspector
        self._hands = hands
        self._leads = leads
        self._log = log
        self._alias = alias
        self._answers: Mapping[str, Answer] = {}
        self._due = 0.0
        self._new: dict[str, tuple[int | None, float, int]] = {}
        self._asked = self._failed = 0
        self._refused_until = 0.0
        self._same: dict[tuple[str, ...] | None, tuple[str, ...] | None] = {}
        self._new_due = 0.0
        self._left_out = self._told_unreadable = False
        self._trouble = Trouble(log, "workers_not_asked", "workers_asked")

    def run(self, stopping: threading.Event) -> None:
        """Ask until it is `stopping`."""
        while not stopping.wait(BEAT):
            self.think()

    def close(self) -> None:
        """Wait for no more answers."""
        self._inspector.hang_up()

    def think(self) -> None:
        """Ask, if it is time to. Never raises: a failure is counted, and told."""
        if not self._leads():
            self._due = 0.0  # who begins to lead knows nothing
            return
        now, hands = time.monotonic(), self._hands()
        if now < self._refused_until:
            return
        if now >= self._due:
            self._due = now + self.interval
            if self._ask((), hands):
                self.rounds += 1
        elif now >= self._new_due and (new := self._newcomers(hands, now)):
            many = len(new) > MOST_NAMED
            self._new_due = now + (ROLL_OUT if many else 0.0)
            self._ask(() if many else new, hands)

    def crew(self, hands: Mapping[str, Hand]) -> Crew:
        """`hands`, and what is known of them."""
        now, facts = time.monotonic(), {}
        for name, answer in self._answers.items():
            hand = hands.get(name)
            if hand and hand.pid != answer.pid:
                continue
            if now - answer.at <= FRESH * self.interval:
                facts[name] = answer.facts
            elif hand and hand.state in ALIVE:
                known = answer.facts
                facts[name] = WorkerFacts(pool_size=known.pool_size, queues=known.queues)
        return Crew(hands, facts)

    @property
    def queues(self) -> tuple[str, ...]:
        """The queues that somebody says to take from, MOST_QUEUES of them at most."""
        names = (name for one in self._answers.values() for name in one.facts.queues or ())
        found = tuple(dict.fromkeys(name for name in names if not name.startswith(PASSING)))
        if len(found) > MOST_QUEUES and not self._left_out:
            self._left_out = True
            left, cure = len(found) - MOST_QUEUES, "name those that matter in queues"
            self._log.warning("queues_not_looked_at", queues=left, cure=cure)
        return found[:MOST_QUEUES]

    def note(self, pipeline: Pipeline, now: float) -> None:
        """Give the pipeline what is to be said in a flush at `now` (epoch seconds)."""
        pipeline.grow("broker", self._alias, "asks", self._asked)
        pipeline.grow("broker", self._alias, "asks_failed", self._failed)
        crew = self.crew(pipeline.hands(now))
        told = {name: dict(gauges_of(facts, now)) for name, facts in crew.facts.items()}
        # Who is dead has no slots any more: whoever repeats the last value repeats that.
        pipeline.answers = {
            name: gauges if name in crew.alive else dict.fromkeys(gauges, 0.0)
            for name, gauges in told.items()
        }

    def _newcomers(self, hands: Mapping[str, Hand], now: float) -> list[str]:
        """Whose process was not asked yet, or has not answered, and is to be asked now."""
        known = {name: answer.pid for name, answer in self._answers.items()}
        alive = {name: hand.pid for name, hand in hands.items() if hand.state in ALIVE}
        found: list[str] = []
        new: dict[str, tuple[int | None, float, int]] = {}
        for name, pid in alive.items():
            if name in known and known[name] == pid:
                continue
            seen_pid, since, tries = self._new.get(name, (pid, now, 0))
            if seen_pid != pid:
                since, tries = now, 0
            if tries < len(NEW_AFTER) and now - since >= NEW_AFTER[tries]:
                found.append(name)
                tries += 1
            new[name] = pid, since, tries
        self._new = new
        return found

    def _ask(self, names: tuple[str, ...] | list[str], hands: Mapping[str, Hand]) -> bool:
        try:
            up = [name for name, hand in hands.items() if hand.state is State.UP]
            expected = () if names else up
            answers = self._inspector.ask(QUESTIONS, PATIENCE, names, expected, brief)
        except Exception as error:  # a fault of ours must not end the asking either
            self._fail(error)
            return False
        self._asked += 1
        if self._inspector.unreadable and not self._told_unreadable:
            self._told_unreadable = True
            cure = "let the workers answer by JSON (task_serializer)"
            self._log.warning("answers_unreadable", answers=self._inspector.unreadable, cure=cure)
        self._trouble.over(time.monotonic())
        at = time.monotonic()
        found = {
            name: Answer(self._shared(merged(told)), at, hands[name].pid if name in hands else None)
            for name, told in answers.items()
        }
        kept = {
            name: answer
            for name, answer in self._answers.items()
            if name in hands or at - answer.at <= FRESH * self.interval
        }
        self._answers = kept | found
        return True

    def _shared(self, facts: WorkerFacts) -> WorkerFacts:
        """Many workers know the same tasks: their names are kept once."""
        if len(self._same) > MOST_SAME:
            self._same.clear()
        names = (facts.registered, facts.queues)
        registered, queues = (self._same.setdefault(some, some) for some in names)
        return replace(facts, registered=registered, queues=queues)

    def _fail(self, error: Exception) -> None:
        self._failed += 1
        if not isinstance(error, AskRefused):
            self._trouble.tell(time.monotonic(), error)
            return
        if not self._refused_until:
            cure = "let this user ask (config/redis, config/rabbitmq), or set inspect_interval to 0"
            self._log.warning("workers_not_asked", error=str(error), cure=cure)
        self._refused_until = time.monotonic() + max(self.interval, AGAIN_AFTER)


def described(
    heard: Mapping[str, Mapping[str, float | str]], crew: Crew, now: float
) -> dict[str, dict[str, Any]]:
    """All that is known of each worker, by its events (`heard`) and by what it answered."""
    unheard = {name: {"state": State.UNKNOWN.value} for name in crew.facts if name not in heard}
    found: dict[str, dict[str, Any]] = {}
    for name, told in {**heard, **unheard}.items():
        facts = crew.facts.get(name, NOTHING)
        answered = {
            **dict(gauges_of(facts, now)),
            "queues": facts.queues,
            "tasks": facts.registered,
        }
        known = {key: value for key, value in answered.items() if value is not None}
        found[name] = {**told, **known}
    return found


def gauges_of(facts: WorkerFacts, now: float) -> Iterator[tuple[str, float]]:
    """The gauges of one worker at `now` (epoch seconds); what is not known is left out."""
    numbers = {
        "pool_size": facts.pool_size,
        "prefetch_count": facts.prefetch,
        "scheduled": facts.scheduled,
        "revoked_ids": facts.revoked,
        "registered": None if facts.registered is None else len(facts.registered),
        "queues": None if facts.queues is None else len(facts.queues),
    }
    for metric, number in numbers.items():
        if number is not None:
            yield metric, float(number)
    if facts.scheduled is not None:
        yield "eta_ahead_s", max(0.0, (facts.eta_at or now) - now)
