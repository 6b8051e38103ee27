"""The doctor: will it work here? Shown by what comes rather than by what is configured.

It gathers once, by STEPS: a number through each sink, a while of listening on a transient queue (or
subscription) of its own, one broadcast to the workers, a look at the broker and at the queues, and
what has arrived in Graphite. Then EXAMINATIONS judge what there is: to add one is to add a function
there. What a step could not gather is a finding, too.
"""

import io
import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from celery_statsd.blueprint import broker_of, host_of, pipeline_of
from celery_statsd.check import (
    asking,
    clocks,
    fleet,
    outcome,
    queues,
    rabbitmq,
    redis,
    stream,
)
from celery_statsd.check.facts import Expected, Facts
from celery_statsd.check.finding import Finding, critical, unknown, worst_first
from celery_statsd.check.graphite import Readback
from celery_statsd.check.heard import Ear, Heard
from celery_statsd.check.outlets import ticks, trials
from celery_statsd.errors import AskRefused, BrokerLost, ConfigError
from celery_statsd.keys import Settings
from celery_statsd.log import Log, redact
from celery_statsd.probes import probe_for
from celery_statsd.probes.workers import Inspector
from celery_statsd.source import source_for

Answer = TypeVar("Answer")

IDLE = 0.2
"""Seconds it waits for a message before it looks whether it shall go on."""

ANSWER_WITHIN = 3.0
"""Seconds the workers have to answer."""

QUESTIONS: Mapping[str, Mapping[str, Any]] = {
    "active_queues": {},
    "conf": {"with_defaults": True},
    "scheduled": {},
    "stats": {},
}
"""What they are asked, with its arguments."""

ARRIVED_WITHIN = 20.0
"""Seconds after the listening in which what was sent is in Graphite: StatsD flushes each 10 s."""

EXAMINATIONS: tuple[Callable[[Facts], Iterator[Finding]], ...] = (
    stream.coming,
    stream.heartbeats,
    stream.silent,
    stream.task_events,
    stream.lost,
    stream.sent_events,
    fleet.answers,
    fleet.versions,
    fleet.settings,
    clocks.clocks,
    clocks.zones,
    clocks.gossip,
    queues.unconsumed,
    rabbitmq.version,
    rabbitmq.own_queue,
    rabbitmq.leftovers,
    rabbitmq.rights,
    redis.told,
    redis.buffer,
    redis.memory,
    redis.visibility,
    redis.leftovers,
    redis.rights,
    outcome.sinks,
    outcome.read_back,
    outcome.schema,
    outcome.aggregation,
)
"""Each looks at the facts and gives a finding for whatever it can judge."""


@dataclass(frozen=True, slots=True)
class Request:
    """How it shall look: for so many `seconds`, beside the URL of a Graphite ("" for none), and
    whether to switch on the events of workers that send none."""

    seconds: float = 10.0
    graphite: str = ""
    enable_events: bool = False


class Doctor:
    """Looks once at the cluster that `settings` name."""

    def __init__(self, settings: Settings, request: Request) -> None:
        """Raises ConfigError for settings that cannot be used at all."""
        self._settings = settings
        self._request = request
        self._broker = broker_of(settings)
        self._transport = asking.transport_of(self._broker)
        self._graphite = Readback(request.graphite) if request.graphite else None
        # A queue of its own: from the agent's it would take events away.
        own = replace(self._broker, queue_type="transient", partitions=1, chorus=False)
        self._told = io.StringIO()
        self._source = source_for(own, Log("warning", "json", self._told))
        self._over = threading.Event()

    def stop(self) -> None:
        """Listen no longer; what there is will be judged. May be called from a signal handler."""
        self._over.set()

    def findings(self) -> list[Finding]:
        """What there is to say, the worst first."""
        facts = Facts(expected=self._expected())
        for step in STEPS:
            facts = step(self, facts)
        found = [finding for examine in EXAMINATIONS for finding in examine(facts)]
        return worst_first(map(_without_secrets, [*_unseen(facts), *found]))

    def _expected(self) -> Expected:
        settings = self._settings
        return Expected(
            settings.event_exchange, settings.transport_options, settings.event_queue_type,
            settings.flush_interval, settings.queues,
        )  # fmt: skip

    def send(self, facts: Facts) -> Facts:
        """A number through each sink."""
        settings = self._settings
        value = random.SystemRandom().randrange(1000, 1_000_000)
        sent = trials(settings.sinks, settings.prefix, settings.app, host_of(settings), value)
        return replace(facts, trials=tuple(sent))

    def listen(self, facts: Facts) -> Facts:
        """To the events, for as long as was asked for."""
        whole = replace(self._settings, scope="cluster", partitions=1, partition=None)
        heard = self._hear(Ear(pipeline_of(whole), time.time()))
        if heard is None and self._over.is_set():
            return _lacking(facts, "listening", "it was told to end before it could begin")
        if heard is None:
            return _lacking(facts, "events", f"{self._source.place}: {self._reason()}")
        return replace(facts, heard=heard)

    def ask(self, facts: Facts) -> Facts:
        """The workers, by one broadcast."""
        try:
            inspector = Inspector(self._broker)
            answers = self._by_any(lambda: inspector.ask(QUESTIONS, ANSWER_WITHIN))
            facts = replace(facts, answers=answers)
            if self._request.enable_events:
                silent = [name for name in facts.answers_and_voices if not _speaks(facts, name)]
                facts = replace(facts, switched=inspector.enable_events(silent, ANSWER_WITHIN))
        except (AskRefused, BrokerLost, ConfigError) as error:
            return _lacking(facts, "answers", str(error))
        return facts

    def look_at_broker(self, facts: Facts) -> Facts:
        """The broker itself."""
        try:
            if self._transport in ("amqp", "amqps"):
                return replace(facts, rabbit=asking.rabbit(self._broker))
            if self._transport in ("redis", "rediss", "sentinel"):
                return replace(facts, redis=asking.redis(self._broker, self._names(facts)))
        except (BrokerLost, ConfigError) as error:
            return _lacking(facts, "broker", str(error))
        return facts

    def look_at_queues(self, facts: Facts) -> Facts:
        """How long they are, and who takes from them."""
        probe = None
        try:
            probe = probe_for(self._broker)
            if probe is None:
                return facts
            look = partial(probe.look, self._names(facts))
            return replace(facts, queues=self._by_any(look).queues)
        except (BrokerLost, ConfigError) as error:
            return _lacking(facts, "queues", str(error))
        finally:
            if probe:
                probe.close()

    def read(self, facts: Facts) -> Facts:
        """What has arrived in Graphite."""
        if self._graphite is None:
            return facts
        wanted = {t.number: (t.path, t.value) for t in facts.trials if t.sent and not t.error}
        since = min((t.sent_at for t in facts.trials), default=time.time())
        ticking = ticks(self._settings.prefix, self._settings.app)
        patience = 0.0 if self._over.is_set() else ARRIVED_WITHIN
        reading = self._graphite.reading(wanted, since, ticking, patience)
        return replace(facts, reading=reading)

    def _by_any(self, question: Callable[[], Answer]) -> Answer:
        """Ask as many times as there are addresses, which take turns. Raises BrokerLost."""
        for _ in ";".join(self._broker.urls).split(";")[1:]:
            with suppress(BrokerLost):
                return question()
        return question()

    def _reason(self) -> str:
        """What the source said of a broker it could not listen to."""
        errors = [json.loads(line).get("error") for line in self._told.getvalue().splitlines()]
        return next((str(error) for error in reversed(errors) if error), "no answer")

    def _names(self, facts: Facts) -> list[str]:
        """The queues to look at: those set, those heard of, those workers take from."""
        heard = facts.heard.queues if facts.heard else ()
        taken = sorted(queues.consumed(facts.answers))
        names = dict.fromkeys((*self._settings.queues, *heard, *taken))
        return [name for name in names if not name.startswith("bcast.")]

    def _hear(self, ear: Ear) -> Heard | None:
        """All that comes until it is over; None when the broker was never there."""
        deadline = time.monotonic() + self._request.seconds
        began = False
        while not self._over.is_set() and (left := deadline - time.monotonic()) > 0:
            for message in self._source.read(min(IDLE, left)):
                ear.feed(message.body, time.time())
            self._source.ack()
            if self._source.connected and not began:
                began = True
                deadline = time.monotonic() + self._request.seconds
                ear.begin(time.time())
        reconnects = self._source.reconnects
        self._source.close()
        return ear.told(time.time(), reconnects) if began else None


STEPS: tuple[Callable[[Doctor, Facts], Facts], ...] = (
    Doctor.send,
    Doctor.listen,
    Doctor.ask,
    Doctor.look_at_broker,
    Doctor.look_at_queues,
    Doctor.read,
)
"""How the facts are gathered, in this order: Celery's answers would move the clocks that show who
gossips, and Graphite has what was sent by the time the listening is over."""

_CURES = {
    "events": (
        "critical",
        "start the broker, mend its address, or take a user who may have a queue of its own",
    ),
    "listening": ("unknown", "let it listen for --seconds"),
    "answers": (
        "unknown",
        "run the doctor as a user who may command the workers; no agent needs to",
    ),
    "broker": ("unknown", "see the reason, and mend it"),
    "queues": ("unknown", "see the reason, and mend it"),
}


def _without_secrets(finding: Finding) -> Finding:
    """As it may be shown: addresses stand in many of its texts."""
    return replace(
        finding,
        subject=redact(finding.subject),
        sentence=redact(finding.sentence),
        cure=redact(finding.cure),
    )


def _lacking(facts: Facts, what: str, why: str) -> Facts:
    return replace(facts, unseen={**facts.unseen, what: why})


def _unseen(facts: Facts) -> Iterator[Finding]:
    """What could not be gathered, and why."""
    for what, why in facts.unseen.items():
        grave, cure = _CURES[what]
        yield (critical if grave == "critical" else unknown)(what, "", why, cure)


def _speaks(facts: Facts, name: str) -> bool:
    """Whether an event of a task was heard of that worker."""
    voice = facts.heard.voices.get(name) if facts.heard else None
    return bool(voice and voice.tasks)
