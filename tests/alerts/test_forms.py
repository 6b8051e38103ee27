"""A report in each form; each is read back as those read it who want it."""

import json
import re
from typing import Any

import pytest

from celery_statsd.alerts.check import Finding, Report
from celery_statsd.alerts.forms import (
    FORMS,
    as_document,
    as_json,
    as_nagios,
    as_prometheus,
    as_text,
)
from celery_statsd.alerts.judgement import Verdict
from celery_statsd.alerts.rule import AlertRule, Bound, State

AT = 1_800_000_000.0
LOST = AlertRule("lost", "Tasks are lost.", "t", 900, "sum", critical=Bound(">", 0))
LONG = AlertRule("queue-long", "It is long.", "t", 300, "min", Bound(">", 1), Bound(">", 2))
GONE = AlertRule("broker", "It is away.", "t", 180, "max", critical=Bound("<", 1))
AGENT = AlertRule("agent", "It is dead.", "t", 180, "sum", critical=Bound("<", 1))

WELL = Report("shop", AT, (
    Finding(LOST, "all", Verdict(State.OK, 0.0)),
    Finding(LONG, "mails", Verdict(State.OK, 0.0)),
    Finding(LONG, "it's=\"odd\"|", Verdict(State.OK, 2.5, LONG.critical, AT - 60, pending=True)),
))  # fmt: skip
BAD = Report("shop", AT, (
    Finding(LONG, "mails", Verdict(State.CRITICAL, 3.0, LONG.critical, AT - 600)),
    Finding(GONE, "", Verdict(State.NO_DATA), "the query names no series"),
    Finding(LONG, "etl", Verdict(State.WARNING, 2.0, LONG.warning, AT - 60)),
    Finding(LOST, "all", Verdict(State.OK, 0.0)),
))  # fmt: skip
DEAD = Report("shop", AT, (
    Finding(AGENT, "all", Verdict(State.AGENT_DEAD, 0.0, AGENT.critical, AT - 60)),
    Finding(LOST, "", Verdict(State.NO_DATA), "not judged: the agent is dead"),
    Finding(LONG, "", Verdict(State.NO_DATA), "not judged: the agent is dead"),
))  # fmt: skip
AWAY = Report("shop", AT, (), "http://graphite cannot be asked (Connection refused)")

PERFDATA = re.compile(r"'((?:[^']|'')+)'=(-?[\d.e+]+);([^; ]*);([^; ]*)")
"""By the guidelines of the Nagios plugins."""

SAMPLE = re.compile(r'(\w+)(?:\{((?:\w+="(?:[^"\\]|\\.)*",?)*)\})? (-?[\d.e+]+)')
"""By Prometheus' text format."""


def test_each_form_is_there() -> None:
    """Those the command offers."""
    assert ["text", "nagios", "json", "prometheus"] == list(FORMS)
    for form in FORMS.values():
        assert all(form(report) for report in (WELL, BAD, DEAD, AWAY))


def test_text_tells_what_is_wrong_and_what_is_coming() -> None:
    """A line each, the worst first, and a last one for the whole."""
    assert [
        "CRITICAL    queue-long mails = 3 (> 2), since 07:50Z. It is long.",
        "NO DATA     broker: the query names no series. It is away.",
        "WARNING     queue-long etl = 2 (> 1), since 07:59Z. It is long.",
        "CRITICAL: 1 of 3 rules are well",
    ] == as_text(BAD).splitlines()
    assert "(> 2, soon), since 07:59Z" in as_text(WELL).splitlines()[0]
    assert "OK: 2 of 2 rules are well" == as_text(WELL).splitlines()[-1]
    assert "NO DATA  http://graphite cannot be asked (Connection refused)" == as_text(AWAY)


def test_a_dead_agent_is_told_once() -> None:
    """What follows from it is a number."""
    lines = as_text(DEAD).splitlines()
    assert 2 == len(lines)
    assert lines[0].startswith("AGENT DEAD  agent = 0 (< 1)")
    assert "AGENT DEAD: 2 rules are not judged, since the agent is dead" == lines[1]
    assert 1 == as_nagios(DEAD).count("dead.")


def test_nagios_reads_one_line_and_the_numbers() -> None:
    """Labels in quotes, ranges of what does not alert, no second `|`."""
    first, *rest = as_nagios(BAD).splitlines()
    head, _, data = first.partition(" | ")
    assert head == (
        "CELERY CRITICAL - queue-long mails = 3 (> 2); broker: the query names no series; "
        "queue-long etl = 2 (> 1)"
    )
    assert [
        ("queue-long mails", "3", "~:1", "~:2"),
        ("queue-long etl", "2", "~:1", "~:2"),
        ("lost", "0", "", "~:0"),
    ] == PERFDATA.findall(data)
    assert 3 == len(rest)
    odd = as_nagios(WELL)
    assert 1 == odd.count("|")
    assert ("queue-long it''s_\"odd\"/", "2.5") in [found[:2] for found in PERFDATA.findall(odd)]
    assert "1:" in as_nagios(DEAD)


@pytest.mark.parametrize(
    ("report", "word"),
    [(WELL, "OK"), (BAD, "CRITICAL"), (DEAD, "AGENT DEAD"), (AWAY, "UNKNOWN")],
)
def test_nagios_reads_the_state(report: Report, word: str) -> None:
    """The word that fits the exit code."""
    assert as_nagios(report).startswith(f"CELERY {word} - ")


def test_json_is_a_flat_list() -> None:
    """What New Relic Flex wants: one object a finding, plain values."""
    document: dict[str, Any] = json.loads(as_json(BAD))
    assert as_document(BAD) == document
    assert ("shop", "CRITICAL", "2027-01-15T08:00:00+00:00", "") == (
        document["app"], document["state"], document["checked_at"], document["problem"]
    )  # fmt: skip
    first = document["rules"][0]
    assert ("queue-long", "mails", "CRITICAL", 3.0, "> 1", "> 2") == tuple(
        first[key] for key in ("rule", "name", "state", "value", "warning", "critical")
    )
    assert not [v for row in document["rules"] for v in row.values() if isinstance(v, dict | list)]


def test_prometheus_reads_every_line() -> None:
    """Each sample's family has its type before it; odd names are escaped."""
    for report, answered in ((WELL, "1"), (BAD, "1"), (AWAY, "0")):
        typed = set()
        samples = []
        for line in as_prometheus(report).splitlines():
            if line.startswith("# TYPE "):
                typed.add(line.split()[2])
            elif not line.startswith("#"):
                match = SAMPLE.fullmatch(line)
                assert match, line
                assert match[1] in typed
                samples.append(match.groups())
        assert ("celery_alerts_answered", 'app="shop"', answered) == samples[-1]
        assert 2 * len(report.findings) - _unvalued(report) + 1 == len(samples)
    labels = 'app="shop",rule="queue-long",name="mails"'
    assert f"celery_alert_state{{{labels}}} 3" in as_prometheus(BAD)
    assert f"celery_alert_value{{{labels}}} 3" in as_prometheus(BAD)
    assert r'name="it' + r"'s=\"odd\"|" in as_prometheus(WELL)


def _unvalued(report: Report) -> int:
    return sum(finding.verdict.value is None for finding in report.findings)
