"""Writes down what the rules say of a change, and what is told from outside, in the aggregator."""

from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping
from operator import attrgetter
from typing import Any

from celery_statsd.aggregator import Aggregator
from celery_statsd.events import Change, Moment
from celery_statsd.life import Life
from celery_statsd.metric import Kind
from celery_statsd.rules import CATALOGUE
from celery_statsd.rules.base import Rule
from celery_statsd.rules.task import LONGEST

SPEAKING: dict[Moment, tuple[tuple[Rule, int], ...]] = {
    moment: tuple(
        (rule, sum(need.bit for need in rule.needs)) for rule in CATALOGUE if moment in rule.needs
    )
    for moment in Moment
}
"""Which rules may speak when a moment becomes known, and the set of moments each needs."""

ENTITY: dict[str, Callable[[Any], str | None]] = {
    "cluster": lambda subject: "all",  # noqa: ARG005
    "task": lambda subject: subject.name or "unknown",
    "worker": lambda subject: (subject if isinstance(subject, Life) else subject.life).entity,
    "queue": attrgetter("queue"),
    "exception": attrgetter("error"),
}
"""Under which entity of a family a sending, an attempt or a life is counted; None: nowhere."""

KINDS = {(family, rule.metric): rule.kind for rule in CATALOGUE for family in rule.families}


class Scribe:
    """Writes in one aggregator. `clamped` counts the durations that clocks made negative or
    absurd."""

    def __init__(self, aggregator: Aggregator) -> None:
        self.clamped = 0
        self._aggregator = aggregator
        self._grown: Counter[tuple[str, str, str]] = Counter()

    def dump(self) -> dict[str, Any]:
        """Itself as plain values."""
        grown = [[*key, total] for key, total in self._grown.items()]
        return {"clamped": self.clamped, "grown": grown}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what `dump` told."""
        self.clamped = state["clamped"]
        self._grown = Counter({(*key,): total for *key, total in state["grown"]})

    def restart(self, family: str, entity: str, but: Container[str]) -> None:
        """The entity's totals, `but` some metrics', began anew at 0: see `grow`."""
        for key in self._grown:
            if key[:2] == (family, entity) and key[2] not in but:
                self._grown[key] = 0

    def note(self, family: str, entity: str, metric: str, value: float) -> None:
        """Take a number from outside the stream of events: a counter's growth, a gauge's value,
        a timer's value in seconds."""
        kind = KINDS[family, metric]
        if kind is Kind.COUNTER:
            self._aggregator.count(family, entity, metric, int(value))
        elif kind is Kind.GAUGE:
            self._aggregator.gauge(family, entity, metric, value)
        else:
            self._time(family, entity, metric, value)

    def grow(self, family: str, entity: str, metric: str, total: int) -> None:
        """Take a counter from outside by its total so far."""
        key = (family, entity, metric)
        self._aggregator.count(*key, total - self._grown[key])
        self._grown[key] = total

    def measure(self, changes: Iterable[Change]) -> None:
        """Let the rules speak."""
        for change in changes:
            for rule, needs in SPEAKING[change.news]:
                if not needs & ~change.told:
                    counts = rule.kind is Kind.COUNTER
                    for value in (change.amount,) if counts else rule.times((change.of,)):
                        self._add(rule, change.of, value)

    def _add(self, rule: Rule, subject: Any, value: float) -> None:
        """Add what a rule says of `subject` to each family it stands in."""
        add: Callable[[str, str, str, Any], None] = self._aggregator.count
        if rule.kind is Kind.TIMER:
            milliseconds = self._milliseconds(value)
            if milliseconds is None:
                return
            add, value = self._aggregator.time, milliseconds
        for family in rule.families:
            entity = ENTITY[family](subject)
            if entity is not None:
                add(family, entity, rule.metric, value)

    def _milliseconds(self, seconds: float) -> float | None:
        """A duration in ms; one that clocks made negative is 0, an absurd one None: counted."""
        if 0.0 <= seconds <= LONGEST:
            return seconds * 1000.0
        self.clamped += 1
        return 0.0 if seconds < 0.0 else None

    def _time(self, family: str, entity: str, metric: str, seconds: float) -> None:
        milliseconds = self._milliseconds(seconds)
        if milliseconds is not None:
            self._aggregator.time(family, entity, metric, milliseconds)
