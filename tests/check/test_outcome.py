"""The judgement on the way out, on made values."""

import pytest

from celery_statsd.check import outcome
from celery_statsd.check.facts import Expected, Facts
from celery_statsd.check.graphite import METHODS, Reading, Rollup
from celery_statsd.check.outlets import Trial
from tests.check.made import rows

PATH = "celery.shop.doctor.web1_sink1.readback.self"
UDP = "statsd://127.0.0.1:8125"
URL = "http://graphite"


def trial(address: str = UDP, **changes: object) -> Trial:
    """A sink that took 4711."""
    return Trial(1, address, PATH, 4711, **changes)  # type: ignore[arg-type]


def read(**changes: object) -> Facts:
    """What was read from a Graphite."""
    return Facts(trials=(trial(),), reading=Reading(URL, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "severity", "words"),
    [
        (trial(), "ok", "UDP tells no more"),
        (trial("statsd+tcp://h:1"), "ok", "took what was sent"),
        (trial("console://", sent=False), "ok", "nothing was sent"),
        (trial(error=f"{UDP}: Connection refused; kept"), "critical", "Connection refused"),
    ],
)
def test_a_sink(one: Trial, severity: str, words: str) -> None:
    """Whether it took what it was given, as far as it can know."""
    (found,) = outcome.sinks(Facts(trials=(one,)))

    assert (severity, one.address) == (found.severity.word, found.subject)
    assert words in found.sentence
    assert UDP not in found.sentence


@pytest.mark.parametrize(
    ("name", "severity"),
    [
        (f"stats.counters.{PATH}.count", "ok"),
        (f"stats_counts.{PATH}", "warning"),
        (f"acme.counters.{PATH}.count", "warning"),
        (f"statsite.counts.{PATH}", "warning"),
        (f"x.{PATH}", "warning"),
    ],
)
def test_the_name_it_arrived_under(name: str, severity: str) -> None:
    """The dashboards ask for the first one."""
    (found,) = outcome.read_back(read(found={1: name}))

    assert severity == found.severity.word
    assert name in found.sentence


def test_what_did_not_arrive() -> None:
    """Was given up after so long; what was refused is told elsewhere."""
    (found,) = outcome.read_back(read(waited=20.3))
    refused = Facts(trials=(trial(error="x"),), reading=Reading(URL))

    assert "critical" == found.severity.word
    assert "not there after 20 s" in found.sentence
    assert [] == rows(outcome.read_back(refused))


def test_a_graphite_that_does_not_answer() -> None:
    """Is critical: it was named."""
    assert [("critical", "graphite", URL)] == rows(outcome.read_back(read(error="it answers 500")))


@pytest.mark.parametrize(
    ("step", "interval", "severity"),
    [(10, 10.0, "ok"), (60, 10.0, "critical"), (1, 10.0, "ok"), (10, 2.0, "critical")],
)
def test_a_point_for_each_flush(step: int, interval: float, severity: str) -> None:
    """Of two flushes in one point the first is lost."""
    told = Facts(reading=Reading(URL, step=step), expected=Expected(flush_interval=interval))

    assert [(severity, "schema", "")] == rows(outcome.schema(told))


@pytest.mark.parametrize(
    ("rollup", "severity", "words"),
    [
        (Rollup(60, frozenset({"sum"})), "ok", "points of 60 s"),
        (Rollup(60, frozenset({"average", "last"})), "critical", "average or last"),
        (Rollup(60, frozenset()), "critical", "by no known rule"),
        (Rollup(60, frozenset(METHODS)), "unknown", "not enough"),
        (Rollup(60, frozenset({"sum"}), holes=3), "warning", "3 points of 60 s are missing"),
    ],
)
def test_how_counts_are_rolled_up(rollup: Rollup, severity: str, words: str) -> None:
    """By the sum, or totals are wrong."""
    (found,) = outcome.aggregation(read(step=10, rollups=(rollup,)))

    assert severity == found.severity.word
    assert words in found.sentence


def test_one_archive_is_never_rolled_up() -> None:
    """And of a Graphite without our series nothing is said."""
    assert [("ok", "aggregation", "")] == rows(outcome.aggregation(read(step=10)))
    assert [] == rows(outcome.aggregation(read()))
