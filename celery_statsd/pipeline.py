"""The river, one object with no thread, socket or clock in it.

    body -> sluice (decode) -> tracker, roster -> rules -> aggregator -> Batch

`feed` takes messages' bodies, `tick` lets time pass, `flush` gives what has added up.
All times are epoch seconds.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from celery_statsd.accounts import Account, Stand
from celery_statsd.aggregator import Aggregator
from celery_statsd.crew import Hand
from celery_statsd.events import OUTCOMES, Moment
from celery_statsd.lanes import Lanes
from celery_statsd.ledger import Ledger
from celery_statsd.life import Index, Life
from celery_statsd.metric import OWN, Batch
from celery_statsd.names import Names
from celery_statsd.passages import Passages
from celery_statsd.roster import Roster
from celery_statsd.rules import COUNTERS, WORDS
from celery_statsd.scope import CLUSTER, Scope
from celery_statsd.scribe import Scribe
from celery_statsd.sluice import Sluice
from celery_statsd.standing import hands_of, note_in_flight, note_workers, shown
from celery_statsd.task import Stage
from celery_statsd.tracker import Tracker


class Pipeline:
    """Everything between a message's body and a batch.

    `host` is the agent's own, the entity of its vitals; durations are in seconds; the bounds are
    in tasks (`max_attempts`), workers, series, and values kept of one timer in one flush. `answers`
    are gauges of workers, by hostname, that whoever asked them sets: they are told at each flush.
    Workers whose names `fold` makes one are one entity.
    """

    def __init__(  # noqa: PLR0913
        self,
        *,
        prefix: str = "celery",
        app: str = "default",
        scope: Scope = CLUSTER,
        host: str = "localhost",
        max_attempts: int = 100_000,
        max_workers: int = 5000,
        max_series: int = 100_000,
        reservoir: int = 1000,
        worker_silence: float = 2.0,
        fold: Callable[[str], str] = str,
        lost_after: float = 30.0,
        unreported_after: float = 60.0,
    ) -> None:
        self.answers: Mapping[str, Mapping[str, float]] = {}
        self._scope = scope
        self._names = Names(prefix, app, scope.reporter, WORDS, host)
        self._aggregator = Aggregator(self._names, COUNTERS, max_series, reservoir)
        self._scribe = Scribe(self._aggregator)
        self._roster = Roster(worker_silence, max_workers, fold)
        clocks = self._roster.clocks
        self._tracker = Tracker(clocks, max_attempts, lost_after, unreported_after, scope)
        self._lanes = Lanes(self._tracker.queues)
        self._passages = Passages(self._tracker, self._lanes, clocks, scope, unreported_after)
        self._sluice = Sluice(
            scope,
            scribe=self._scribe,
            roster=self._roster,
            tracker=self._tracker,
            lanes=self._lanes,
            passages=self._passages,
        )
        self._max_attempts = max_attempts
        self._stride = self._lanes.stride
        self._host = host

    def begin(self, now: float) -> None:
        """The first interval begins at `now`."""
        self._aggregator.begin(now)

    def dump(self) -> dict[str, Any]:
        """All that it knows and has added up, as plain values: see `load`."""
        index = Index()
        return {
            "lanes": self._lanes.dump(index),
            "passages": self._passages.dump(index),
            "lags": list(self._sluice.lags),
            "unfolded": self._sluice.unfolded,
            "tracker": self._tracker.dump(index),
            "roster": self._roster.dump(index),
            "lives": index.dump(),
            "aggregator": self._aggregator.dump(),
            "names": self._names.dump(),
            "ledger": self.ledger.dump(),
            "doubles": self._sluice.doubles.dump(),
            "scribe": self._scribe.dump(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Become what `dump` told of, in a new pipeline of the same settings."""
        lives = [Life.load(life) for life in state["lives"]]
        self._names.load(state["names"])
        self._aggregator.load(state["aggregator"])
        self._roster.load(state["roster"], lives)
        self._tracker.load(state["tracker"], lives)
        self._lanes.load(state["lanes"], lives)
        self._passages.load(state["passages"], lives)
        self._stride = self._lanes.stride
        self._sluice.lags, self._sluice.unfolded = list(state["lags"]), state["unfolded"]
        self._sluice.doubles.load(state["doubles"])
        self._sluice.ledger = Ledger.load(state["ledger"])
        self._scribe.load(state["scribe"])

    def restart(self, family: str, entity: str) -> None:
        """What the entity's totals are told by began anew, at 0: see `grow`. Those the pipeline
        keeps itself go on where they were."""
        self._scribe.restart(family, entity, but=self._totals())

    @property
    def ledger(self) -> Ledger:
        """Where the events went."""
        return self._sluice.ledger

    def feed(self, body: bytes, now: float) -> None:
        """Take in one message's body, come at `now`. Never raises, whatever it holds."""
        self.feed_all(iter((body,)), now)

    def feed_all(self, bodies: Iterator[bytes], now: float) -> None:
        """Take in the bodies of some messages that came at `now`. After a fault of ours it may be
        called again with the same iterator: see `Sluice.take`."""
        self._sluice.take(bodies, now)
        if self._sluice.unfolded > self._stride:
            self._lanes.fold_part(self._aggregator)
            self._fold_lags()

    @property
    def waiting(self) -> int:
        """Events that a fault of ours has kept out; they come first the next time."""
        return self._sluice.waiting

    def refuse(self, reason: str) -> None:
        """Count a message that is not even tried: its reason is one word."""
        self.ledger.events += 1
        self.ledger.bad[reason] += 1

    def deaf(self, now: float) -> None:
        """The broker is away: the silence of the workers means nothing."""
        self._roster.deaf(now)

    def tick(self, now: float) -> None:
        """Let time pass: what it alone tells is told."""
        self._scribe.measure(self._roster.tick(now))
        self._settle(now)

    def note(self, family: str, entity: str, metric: str, value: float) -> None:
        """Take a number from outside the stream of events: see `Scribe.note`."""
        self._scribe.note(family, entity, metric, value)

    def grow(self, family: str, entity: str, metric: str, total: int) -> None:
        """Take a counter from outside by its total so far."""
        self._scribe.grow(family, entity, metric, total)

    def settle(self, now: float, deaf_from_now: bool = False) -> None:
        """Nothing more will come: conclude at once what else would be waited for.
        `deaf_from_now`: nor will anybody after us hear what has not come yet."""
        if deaf_from_now:
            self._scribe.measure(self._roster.judge())
        self._settle(now, at_once=True)

    def ease(self) -> bool:
        """Do a part of what the coming flush would have to, if that is much: some ms. Whether it
        was; nothing that is told depends on it."""
        return self._lanes.ease(self._aggregator)

    def flush(self, now: float, last: bool = False) -> Batch:
        """All since the last flush. `last`: the farewell, after which nothing more is said, so
        that no gauge is left standing."""
        self.tick(now)
        self._fold()
        note_in_flight(self._aggregator, self._in_flight(), self._scope.whole)
        note_workers(self._aggregator, self._roster, now, self.answers)
        self._note_ledger()
        if last:
            self._aggregator.silence()
        return replace(self._aggregator.drain(now), last=last)

    def flush_own(self, now: float) -> Batch:
        """What the agent says of itself alone; all else goes on adding up."""
        self._fold()
        self._note_ledger()
        return self._aggregator.drain(now, OWN)

    def rebase(self, bases: Mapping[str, int] | None = None) -> None:
        """Others have heard what this agent did not: it is no loss. See `Roster.rebase`."""
        self._roster.rebase(bases)

    def expect(self, accounts: Mapping[str, Account]) -> None:
        """What others have accounted for of workers that are still unknown here."""
        self._roster.expect(accounts)

    def stands(self) -> dict[str, Stand]:
        """Where the loss meter of each worker is."""
        return self._roster.stands()

    @property
    def queues(self) -> list[str]:
        """The names of the queues that tasks were seen to be sent to."""
        return list(self._tracker.queues.known)

    def oldest(self) -> dict[str, float]:
        """When the oldest task that waits was sent (the sender's clock), of each queue in which any
        does."""
        found = self._passages.oldest()
        for queue, sent in self._tracker.queues.oldest().items():
            found[queue] = min(sent, found.get(queue, sent))
        return found

    def workers(self, now: float) -> dict[str, dict[str, float | str]]:
        """What is known of each worker by its events: its state, Celery's version, and its gauges
        as they would be told."""
        return shown(self._roster, now)

    def hands(self, now: float) -> dict[str, Hand]:
        """What each worker does, by its events."""
        return hands_of(self._roster, now)

    def busy(self) -> Iterator[tuple[str, str, int, int]]:
        """Queue, name, waiting and running of the usual tasks whose queue is known."""
        return self._lanes.busy()

    @property
    def clamped(self) -> int:
        """Durations that clocks made negative or absurd."""
        return self._scribe.clamped + self._lanes.clamped

    @property
    def last_beat(self) -> float:
        """When the last heartbeat of any worker came; 0 for never."""
        return self._roster.last_beat

    def mute_for(self, now: float) -> float:
        """Seconds for which no heartbeat has come that should have; 0 when none is missed."""
        return self._roster.mute_for(now)

    @property
    def balance(self) -> dict[str, int]:
        """Law 4 of `tracker`, term by term; `difference` must be 0."""
        self._fold()
        totals = self._tracker.totals + self._lanes.totals
        terms = {
            moment.word: totals[moment]
            for moment in (Moment.RECEIVED, Moment.ON_ARRIVAL, Moment.FOUND, *OUTCOMES)
        }
        for stage in (Stage.RESERVED, Stage.RUNNING):
            terms[stage.value] = sum(n for at, _, n in self._in_flight() if at is stage)
        entered = sum(list(terms.values())[:3])
        return {**terms, "difference": 2 * entered - sum(terms.values())}

    def _settle(self, now: float, at_once: bool = False) -> None:
        """Conclude what nobody tells; of the usual tasks the tracker does, if anybody."""
        self._scribe.measure(self._tracker.admit(now, at_once))
        self._passages.settle()
        self._scribe.measure(self._tracker.settle(now, at_once, bounded=False))
        self._scribe.measure(self._passages.thin_out(self._max_attempts))

    def _fold(self) -> None:
        """Let the aggregator have what was put aside for it."""
        self._lanes.fold(self._aggregator)
        self._fold_lags()

    def _fold_lags(self) -> None:
        self._sluice.unfolded, self._stride = 0, self._lanes.stride
        lags = self._lanes.milliseconds(self._sluice.lags)
        if lags:
            self._aggregator.time_all("agent", self._host, "event_lag", lags)
        self._sluice.lags.clear()

    def _in_flight(self) -> Iterator[tuple[Stage, str, int]]:
        """How much waits and runs, by stage and task name."""
        yield from self._lanes.in_flight()
        for (stage, name), number in self._tracker.in_flight.items():
            yield stage, name, number

    def _totals(self) -> dict[str, int]:
        """The agent's totals that are kept here."""
        ledger, tracker = self.ledger, self._tracker
        return {
            "events": ledger.events,
            "events_counted": ledger.counted,
            "events_doubled": ledger.doubled,
            "events_bad": ledger.bad.total(),
            "events_dropped": ledger.dropped.total(),
            "events_unmatched": tracker.unmatched,
            "events_lost": self._roster.lost,
            "forgotten": sum(one.forgotten for one in (tracker, tracker.queues, self._roster)),
            "timers_clamped": self.clamped,
            "series_folded": self._aggregator.folded,
            "names_hashed": self._names.collisions,
        }

    def _note_ledger(self) -> None:
        for metric, total in self._totals().items():
            self.grow("agent", self._host, metric, total)
        self.note("agent", self._host, "ticks", 1)
        self.note("agent", self._host, "attempts", len(self._tracker) + len(self._passages))
        self.note("agent", self._host, "series", self._aggregator.series)
