"""A report as others read it: people, Nagios, programs, Prometheus. Each form is a row."""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from celery_statsd.alerts.check import Finding, Report
from celery_statsd.alerts.rule import Bound, State

_UNJUDGED = "not judged"


def as_text(report: Report) -> str:
    """A line a finding that is not well, then how many are; for a terminal and for cron's mail."""
    if report.problem:
        return f"{report.state.value}  {report.problem}"
    lines = [f"{finding.state.value:10}  {_sentence(finding)}" for finding in _told(report)]
    return "\n".join([*lines, f"{report.state.value}: {_summary(report)}"])


def as_nagios(report: Report) -> str:
    """One line with performance data, then a line for each of the rest.

    https://nagios-plugins.org/doc/guidelines.html: `label=value;warning;critical`.
    """
    word = "UNKNOWN" if report.state is State.NO_DATA else report.state.value
    if report.problem:
        return f"CELERY {word} - {report.problem}"
    told = [_sentence(finding) for finding in _told(report)]
    head = "; ".join(_brief(finding) for finding in _told(report)) or _summary(report)
    data = " ".join(_perfdata(report))
    first = _without_bars(f"CELERY {word} - {head}")
    return "\n".join([f"{first} | {data}" if data else first, *map(_without_bars, told)])


def as_document(report: Report) -> dict[str, Any]:
    """What `as_json` writes: `rules` is a flat list, one object a finding."""
    return {
        "app": report.app,
        "state": report.state.value,
        "checked_at": datetime.fromtimestamp(report.at, UTC).isoformat(timespec="seconds"),
        "problem": report.problem,
        "rules": [_row(finding) for finding in report.findings],
    }


def as_json(report: Report) -> str:
    """For programs: New Relic Flex, uptime checks, scripts."""
    return json.dumps(as_document(report), indent=1)


def as_prometheus(report: Report) -> str:
    """For node_exporter's textfile collector and other readers of the text format."""
    states = [(finding, finding.state.rank) for finding in report.findings]
    values = [(f, f.verdict.value) for f in report.findings if f.verdict.value is not None]
    told = ", ".join(f"{state.rank} {state.value}" for state in sorted(State, key=_rank))
    lines = [
        "# HELP celery_alert_state What was found: " + told + ".",
        "# TYPE celery_alert_state gauge",
        *(f"celery_alert_state{_labels(report, f)} {rank}" for f, rank in states),
        "# HELP celery_alert_value The value that was judged, in the unit of its rule.",
        "# TYPE celery_alert_value gauge",
        *(f"celery_alert_value{_labels(report, f)} {value:.15g}" for f, value in values),
        "# HELP celery_alerts_answered 1 when Graphite answered, else 0.",
        "# TYPE celery_alerts_answered gauge",
        f"celery_alerts_answered{{{_pair('app', report.app)}}} {int(not report.problem)}",
    ]
    return "\n".join(lines)


FORMS: Mapping[str, Callable[[Report], str]] = MappingProxyType(
    {"text": as_text, "nagios": as_nagios, "json": as_json, "prometheus": as_prometheus}
)
"""By the word the command line has for it."""


def _rank(state: State) -> int:
    return state.rank


def _told(report: Report) -> list[Finding]:
    """What is not well, without what only follows from a dead agent; and what is about to fire."""
    return [
        finding
        for finding in report.findings
        if finding.verdict.pending
        or (finding.state is not State.OK and not finding.note.startswith(_UNJUDGED))
    ]


def _summary(report: Report) -> str:
    unjudged = sum(finding.note.startswith(_UNJUDGED) for finding in report.findings)
    if unjudged:
        return f"{unjudged} rules are not judged, since the agent is dead"
    rules = {finding.rule.name for finding in report.findings}
    fine = rules - {f.rule.name for f in report.findings if f.state is not State.OK}
    return f"{len(fine)} of {len(rules)} rules are well"


def _brief(finding: Finding) -> str:
    verdict = finding.verdict
    if verdict.value is None or verdict.bound is None:
        return f"{finding.label}: {finding.note or 'no data'}"
    word = ", soon" if verdict.pending else ""
    return f"{finding.label} = {verdict.value:.6g} ({verdict.bound}{word})"


def _sentence(finding: Finding) -> str:
    since = finding.verdict.since
    when = f", since {datetime.fromtimestamp(since, UTC):%H:%M}Z" if since is not None else ""
    return f"{_brief(finding)}{when}. {finding.rule.text}"


def _row(finding: Finding) -> dict[str, Any]:
    rule, verdict = finding.rule, finding.verdict
    return {
        "rule": rule.name,
        "name": finding.name,
        "state": finding.state.value,
        "value": verdict.value,
        "warning": str(rule.warning) if rule.warning else None,
        "critical": str(rule.critical) if rule.critical else None,
        "pending": verdict.pending,
        "since": verdict.since,
        "text": rule.text,
        "note": finding.note,
    }


def _perfdata(report: Report) -> Iterator[str]:
    for finding in report.findings:
        if finding.verdict.value is not None:
            label = _without_bars(finding.label).replace("'", "''").replace("=", "_")
            rule = finding.rule
            ranges = f"{_range(rule.warning)};{_range(rule.critical)}"
            yield f"'{label}'={finding.verdict.value:.6g};{ranges}"


def _without_bars(text: str) -> str:
    """To Nagios, what follows a bar are numbers."""
    return text.replace("|", "/")


def _range(bound: Bound | None) -> str:
    """What does not alert, as Nagios writes it."""
    if bound is None:
        return ""
    return f"~:{bound.value:.15g}" if bound.sign == ">" else f"{bound.value:.15g}:"


def _labels(report: Report, finding: Finding) -> str:
    pairs = (("app", report.app), ("rule", finding.rule.name), ("name", finding.name))
    return "{" + ",".join(_pair(*pair) for pair in pairs) + "}"


def _pair(label: str, value: str) -> str:
    safe = value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return f'{label}="{safe}"'
