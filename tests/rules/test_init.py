"""The catalogue as a whole: every metric there is, as rows."""

import re

import pytest

from celery_statsd.metric import Kind
from celery_statsd.rules import (
    CATALOGUE,
    COUNTERS,
    FAMILIES,
    WORDS,
    agent,
    doctor,
    queue,
    task,
    worker,
)

UNITS = {"messages", "1", "ms", "s", "bytes", "tasks", "series"}


@pytest.mark.parametrize("rule", CATALOGUE, ids=lambda rule: f"{rule.metric}-{rule.kind.value}")
def test_each_row_is_sound(rule):
    """A name that is a node, families there are, a unit, and a sentence that says what it is."""
    assert re.fullmatch(r"[a-z][a-z0-9_]*", rule.metric)
    assert rule.families
    assert set(rule.families) <= set(FAMILIES)
    assert rule.unit in UNITS
    assert re.fullmatch(r"[A-Z1].*\.", rule.help)
    assert rule.kind is not Kind.TIMER or rule.unit == "ms"
    assert rule.kind is not Kind.GAUGE or not rule.needs


def test_the_catalogue_is_all_rows():
    """Those of each module, in the order of the README."""
    assert (
        *task.RULES,
        *queue.CLUSTER,
        *queue.QUEUE,
        *worker.RULES,
        *queue.BROKER,
        *agent.RULES,
        *doctor.RULES,
    ) == CATALOGUE


def test_a_name_has_one_kind_in_a_family():
    """Several rows may make one metric (a runtime has three), of one kind, unit and meaning."""
    meanings = {
        (family, rule.metric): (rule.kind, rule.unit, rule.help)
        for rule in reversed(CATALOGUE)
        for family in rule.families
    }
    for rule in CATALOGUE:
        for family in rule.families:
            told = meanings[family, rule.metric]
            assert (rule.kind, rule.unit, rule.help) == told


def test_the_counters_of_a_family():
    """Each once, in the order of the rows: what is written as 0 when nothing happened."""
    stages = [
        "sent",
        "received",
        "on_arrival",
        "found",
        "started",
        "succeeded",
        "failed",
        "retried",
        "revoked",
        "rejected",
        "returned",
        "unreported",
        "lost",
    ]
    assert (*stages, "expired", "unseen") == COUNTERS["cluster"] == COUNTERS["task"]
    assert (*stages[1:], "offline", "restarts", "events_lost") == COUNTERS["worker"]
    assert (("sent",), ("failed",)) == (COUNTERS["queue"], COUNTERS["exception"])
    assert tuple(COUNTERS) == FAMILIES
    assert "cluster" == FAMILIES[0]


def test_the_words_no_entity_may_be_called():
    """All families and metrics."""
    assert {"cluster", "queue", "failed", "wait", "up", "ticks"} <= WORDS
    assert len(WORDS) == len(FAMILIES) + len({r.metric for r in CATALOGUE} - set(FAMILIES))
