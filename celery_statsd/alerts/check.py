"""One check: all rules judged on one Graphite at one moment.

The rule `agent` is judged first. When it fires, or names no series at all, the agent is dead: what
Graphite has of the others is old or repeated. They are not judged, and one thing is told once.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from celery_statsd.alerts.graphite import Answer
from celery_statsd.alerts.judgement import Verdict, judged, reach
from celery_statsd.alerts.rule import AGENT, AlertRule, State
from celery_statsd.alerts.target import spelt
from celery_statsd.dashboards.flavours import Layout
from celery_statsd.errors import BadTarget, GraphiteAway


class Asked(Protocol):
    """What a check needs of a Graphite."""

    def ask(self, target: str, begin: float, end: float) -> Answer:
        """The series of `target`. Raises GraphiteAway, BadTarget."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One series of one rule, judged; `name` is the series' alias, empty when there is none.

    `note` says why there is no verdict on values.
    """

    rule: AlertRule
    name: str
    verdict: Verdict
    note: str = ""

    @property
    def state(self) -> State:
        """What was found."""
        return self.verdict.state

    @property
    def label(self) -> str:
        """For people and for labels: the rule, and the series if it is one of several."""
        return f"{self.rule.name} {self.name}".strip() if self.name != "all" else self.rule.name


@dataclass(frozen=True, slots=True)
class Report:
    """What a check of `app` found at `at` (epoch seconds), the worst first.

    `problem` says why Graphite could not be asked; then nothing was found.
    """

    app: str
    at: float
    findings: Sequence[Finding]
    problem: str = ""

    @property
    def state(self) -> State:
        """The worst of all."""
        if self.problem:
            return State.NO_DATA
        states = (finding.state for finding in self.findings)
        return max(states, key=lambda state: state.rank, default=State.OK)


def checked(rules: Sequence[AlertRule], graphite: Asked, layout: Layout, now: float) -> Report:
    """A report as of `now` (epoch seconds)."""
    try:
        findings = list(_findings(rules, graphite, layout, now))
    except GraphiteAway as error:
        return Report(layout.app, now, (), str(error))
    order = sorted(findings, key=lambda finding: -finding.state.rank)
    return Report(layout.app, now, tuple(order))


def _findings(
    rules: Sequence[AlertRule], graphite: Asked, layout: Layout, now: float
) -> Iterator[Finding]:
    first = [rule for rule in rules if rule.name == AGENT]
    dead = False
    for rule in first:
        for finding in _agent(_judged(rule, graphite, layout, now)):
            dead = dead or finding.state is State.AGENT_DEAD
            yield finding
    for rule in rules:
        if rule in first:
            continue
        if dead:
            yield Finding(rule, "", Verdict(State.NO_DATA), "not judged: the agent is dead")
        else:
            yield from _judged(rule, graphite, layout, now)


def _agent(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Whatever is wrong with its ticks, but for the query itself, is a dead agent."""
    for finding in findings:
        silent = finding.state is State.CRITICAL or finding.note == _NO_SERIES
        verdict = finding.verdict._replace(state=State.AGENT_DEAD) if silent else finding.verdict
        yield Finding(finding.rule, finding.name, verdict, finding.note)


_NO_SERIES = "the query names no series (are prefix, app and flavour right?)"


def _judged(rule: AlertRule, graphite: Asked, layout: Layout, now: float) -> Iterator[Finding]:
    """A finding a series that has a value; one for all when none has."""
    try:
        answer = graphite.ask(spelt(rule.target, layout), now - reach(rule), now)
    except BadTarget as error:
        yield Finding(rule, "", Verdict(State.NO_DATA), f"Graphite refuses the query ({error})")
        return
    if not answer:
        state = State.OK if rule.may_be_empty else State.NO_DATA
        yield Finding(rule, "", Verdict(state), "" if rule.may_be_empty else _NO_SERIES)
        return
    verdicts = {name: judged(rule, points, now) for name, points in answer.items()}
    alive = {name: verdict for name, verdict in verdicts.items() if verdict.value is not None}
    for name, verdict in alive.items():
        yield Finding(rule, name, verdict)
    if not alive:
        note = "" if rule.no_data is State.OK else f"no value in the last {rule.window:g} s"
        yield Finding(rule, "", Verdict(rule.no_data), note)
