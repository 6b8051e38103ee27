"""`alerts serve`: the last report as pages of JSON, for uptime checks and whoever else polls.

`/alerts` is all of it, `/alerts/<rule>` one rule. 503 when it is CRITICAL, when the agent is dead,
and when Graphite cannot be asked; else 200, and the state in it. Graphite is asked once in FRESH
seconds, however many ask us.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from celery_statsd.alerts.check import Report
from celery_statsd.alerts.forms import as_document
from celery_statsd.alerts.rule import AGENT, AlertRule, State

FRESH = 10.0
"""Seconds for which a report is good."""

OK, UNWELL = 200, 503
"""HTTP's words for it."""

Page = tuple[int, Mapping[str, Any]]


class Desk:
    """Gives out the report that `check` makes (of a time in epoch seconds), a new one if needed."""

    def __init__(
        self,
        rules: Sequence[AlertRule],
        check: Callable[[float], Report],
        clock: Callable[[], float],
    ) -> None:
        self._rules = rules
        self._check = check
        self._clock = clock
        self._lock = threading.Lock()
        self._report: Report | None = None

    @property
    def pages(self) -> dict[str, Callable[[], Page]]:
        """What can be asked for, by path."""
        rules = {f"/alerts/{rule.name}": partial(self._one, rule.name) for rule in self._rules}
        return {"/alerts": self._all, **rules}

    def report(self) -> Report:
        """The last one, if it is not older than FRESH."""
        with self._lock:
            now = self._clock()
            if self._report is None or not 0 <= now - self._report.at < FRESH:
                self._report = self._check(now)
            return self._report

    def _all(self) -> Page:
        return _page(self.report())

    def _one(self, name: str) -> Page:
        """One rule; unwell also when nobody is there to judge it."""
        report = self.report()
        mine = tuple(finding for finding in report.findings if finding.rule.name == name)
        status, document = _page(replace(report, findings=mine))
        dead = any(
            finding.rule.name == AGENT and finding.state is State.AGENT_DEAD
            for finding in report.findings
        )
        return UNWELL if dead else status, document


def _page(report: Report) -> Page:
    bad = report.problem or report.state in (State.CRITICAL, State.AGENT_DEAD)
    return UNWELL if bad else OK, as_document(report)
