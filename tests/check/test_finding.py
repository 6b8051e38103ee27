"""Findings: their order, their exit code, and how they are shown."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celery_statsd.check.finding import (
    Finding,
    Severity,
    as_json,
    as_lines,
    critical,
    listed,
    ok,
    unknown,
    verdict,
    warning,
    worst_first,
)

FINE, CARE = ok("a", "x", "fine"), warning("b", "y", "care", "do this")
HIDDEN, BAD = unknown("c", "", "hidden", "ask"), critical("d", "", "bad", "act")


@pytest.mark.parametrize(
    ("found", "code"),
    [
        ((FINE,), 0),
        ((FINE, CARE), 1),
        ((CARE, HIDDEN, FINE), 3),
        ((FINE, HIDDEN, BAD, CARE), 2),
        ((), 3),
    ],
)
def test_the_exit_code_is_the_worst(found: tuple[Finding, ...], code: int) -> None:
    """What nobody can tell is worse than what needs care; nothing at all is not well."""
    assert code == verdict(found)


def test_the_worst_comes_first() -> None:
    """Those of one severity keep their order."""
    again = warning("a", "", "care, too", "do that")

    assert [BAD, HIDDEN, CARE, again, FINE] == worst_first([FINE, CARE, HIDDEN, again, BAD])


def test_a_line_has_all_and_the_cure_last() -> None:
    """With the colour of its severity."""
    lines = list(as_lines([CARE, FINE, BAD]))

    assert ("warning  b y: care -> do this", "yellow") == lines[0]
    assert ("ok       a x: fine", "green") == lines[1]
    assert ("critical d: bad -> act", "red") == lines[2]


@given(st.text(), st.text())
def test_no_name_can_take_over_a_terminal(subject: str, sentence: str) -> None:
    """One line of printable characters, whoever named the worker."""
    ((line, _),) = as_lines([critical("a", subject, sentence, "act")])

    assert line.isprintable()


def test_json_has_the_code_and_each_field() -> None:
    """As an object."""
    told = json.loads(as_json([BAD, FINE]))

    assert 2 == told["code"]
    assert ["critical", "ok"] == [row["severity"] for row in told["findings"]]
    assert {"severity", "name", "subject", "sentence", "cure"} == set(told["findings"][0])


def test_many_names_are_some_and_a_number() -> None:
    """A sentence stays one."""
    assert "a, b" == listed(["b", "a"])
    assert "a, b, c and 2 more" == listed("edcba", 3)


def test_each_severity_has_a_code_of_its_own() -> None:
    """Nagios's four."""
    assert {0, 1, 2, 3} == {severity.code for severity in Severity}
