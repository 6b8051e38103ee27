"""The shipped rules on a real Graphite: a healthy system shows nothing, each fault what it must."""

import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from celery_statsd.alerts.check import Report, checked
from celery_statsd.alerts.graphite import Answer, Series
from celery_statsd.alerts.rows import chosen, load
from celery_statsd.alerts.rule import AlertRule, Bound, State
from celery_statsd.alerts.target import layout_of
from celery_statsd.dashboards.flavours import Layout
from celery_statsd.errors import BadTarget, GraphiteAway
from tests.alerts.world import FAULTS, FLUSHES, OLD_NAMES, ONSET, STEP, app_of
from tests.servers.agent import Agent
from tests.servers.graphite import Graphite
from tests.servers.process import wait_until
from tests.servers.redis import Redis
from tests.servers.statsd import StatsD

RULES = load()

each_fault = pytest.mark.parametrize("name", FAULTS)
on_graphite = pytest.mark.e2e


def check(
    graphite: Graphite, app: str, now: float, rules: Sequence[AlertRule] = RULES,
    flavour: str = "statsd",
) -> Report:  # fmt: skip
    return checked(rules, Series(graphite.url), layout_of(flavour, "celery", app), now)


def found(report: Report) -> set[tuple[str, str, str]]:
    """All that is not well, but for what only follows from a dead agent."""
    return {
        (finding.rule.name, finding.name, finding.state.value)
        for finding in report.findings
        if finding.state is not State.OK and "the agent is dead" not in finding.note
    }


@on_graphite
@each_fault
def test_exactly_what_is_wrong_is_found(name: str, graphite: Graphite, systems_end: int) -> None:
    """An hour after its onset, and nothing else of fifteen rules. Every query names series."""
    report = check(graphite, app_of(name), systems_end)
    assert (set(FAULTS[name].found), "") == (found(report), report.problem)
    assert {rule.name for rule in RULES} == {finding.rule.name for finding in report.findings}
    empty = [f.rule.name for f in report.findings if not f.name and not name.startswith("dead")]
    assert [] == empty


@on_graphite
@pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if fault.found])
def test_it_is_found_in_time(name: str, graphite: Graphite, systems_end: int) -> None:
    """Nothing before its onset; and within its own time, which is the rule's `for` and what it
    takes until enough of it is in the window."""
    fault, onset = FAULTS[name], systems_end - (FLUSHES - ONSET) * STEP
    rules = chosen(RULES, tuple({rule for rule, _, _ in fault.found}))
    assert set() == found(check(graphite, app_of(name), onset, rules))
    assert set(fault.found) <= found(check(graphite, app_of(name), onset + fault.within, rules))


@on_graphite
@pytest.mark.parametrize(("after", "expected"), [(60, {("lost", "all", "CRITICAL")}), (960, set())])
def test_what_is_over_is_over(
    after: int, expected: set[tuple[str, str, str]], graphite: Graphite, systems_end: int
) -> None:
    """Tasks were lost once: told for a quarter of an hour, without a file of states."""
    onset = systems_end - (FLUSHES - ONSET) * STEP
    assert expected == found(check(graphite, app_of("healed"), onset + after))


@on_graphite
def test_a_dead_agent_is_told_once(graphite: Graphite, systems_end: int) -> None:
    """The other rules are unknown, and no query of them is sent."""
    report = check(graphite, app_of("dead_on_statsd"), systems_end)
    assert State.AGENT_DEAD is report.state
    assert 2 == report.state.exit_code
    others = [finding for finding in report.findings if finding.rule.name != "agent"]
    assert len(RULES) - 1 == len(others)
    assert {State.NO_DATA} == {finding.state for finding in others}


@on_graphite
@pytest.mark.parametrize("flavour", ["statsd-legacy", "bucky"])
def test_the_old_names_are_understood(flavour: str, graphite: Graphite, systems_end: int) -> None:
    """A counter has one node less there."""
    report = check(graphite, OLD_NAMES, systems_end, flavour=flavour)
    expected = {
        ("failures", "shop-tasks-mail", "WARNING"),
        ("worker-down", "w1_at_web1", "WARNING"),
    }
    assert expected == found(report)


@on_graphite
def test_a_query_that_names_no_series_is_an_error(graphite: Graphite, systems_end: int) -> None:
    """A wrong app is no healthy one, of the agent's rule and of any other."""
    report = check(graphite, "world_nobody", systems_end)
    assert [State.AGENT_DEAD] == [f.state for f in report.findings if f.rule.name == "agent"]
    assert "are prefix, app and flavour right?" in report.findings[0].note
    rules = [rule for rule in RULES if rule.name == "lost"]
    lost = check(graphite, "world_nobody", systems_end, rules)
    assert (State.NO_DATA, 3) == (lost.state, lost.state.exit_code)
    assert "names no series" in lost.findings[0].note


@on_graphite
def test_a_query_graphite_does_not_know_is_told(graphite: Graphite, systems_end: int) -> None:
    """For its rule alone, with what Graphite says."""
    bad = AlertRule("bad", "It cannot be.", "noSuch(counter:cluster.all.lost.*)", 60, "sum",
                    critical=Bound(">", 0))  # fmt: skip
    report = check(graphite, app_of("healthy"), systems_end, [*RULES, bad])
    assert {("bad", "", "NO DATA")} == found(report)
    assert "noSuch" in report.findings[0].note


class Canned:
    """A Graphite that says what it is told to."""

    def __init__(self, answer: Answer | Exception) -> None:
        self.answer = answer
        self.asked: list[tuple[float, float]] = []

    def ask(self, target: str, begin: float, end: float) -> Answer:
        del target
        self.asked.append((begin, end))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def rule(**more: object) -> AlertRule:
    fields = {"critical": Bound(">", 0), **more}
    return AlertRule("lost", "Lost.", "counter:cluster.all.lost.*", 300, "sum", **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answer", "more", "state"),
    [
        ({"a": [(900.0, 1.0)]}, {}, State.CRITICAL),
        ({"a": [(900.0, 0.0)]}, {}, State.OK),
        ({"a": []}, {}, State.NO_DATA),
        ({"a": [(600.0, 1.0)]}, {}, State.NO_DATA),  # not in the window
        ({"a": []}, {"no_data": State.OK}, State.OK),
        ({"a": [], "b": [(900.0, 0.0)]}, {}, State.OK),  # a series that ended is gone
        ({}, {}, State.NO_DATA),
        ({}, {"may_be_empty": True}, State.OK),
        (BadTarget("no"), {"may_be_empty": True, "no_data": State.OK}, State.NO_DATA),
    ],
)
def test_what_an_answer_means(
    answer: Answer | Exception, more: dict[str, object], state: State
) -> None:
    """No series, no values, no sense."""
    graphite = Canned(answer)
    assert state is checked([rule(**more)], graphite, Layout(app="a"), 900.0).state
    assert [(540.0, 900.0)] == graphite.asked


def test_a_graphite_that_is_away_ends_the_check() -> None:
    """Nobody can tell: that is neither well nor critical."""
    report = checked(
        RULES, Canned(GraphiteAway("graphite", "away", "look")), Layout(app="a"), 900.0
    )
    assert ("graphite: away; look", (), State.NO_DATA) == (
        report.problem,
        report.findings,
        report.state,
    )


@on_graphite
def test_an_agent_with_nothing_to_count_is_well(
    graphite: Graphite, statsd: StatsD, redis_server: Redis, tmp_path: Path
) -> None:
    """A real one, just started, on a broker without workers or tasks: all it must tell is there.
    (The tests' Graphite keeps less than the hour that `leak` looks back.)"""
    broker, sink = redis_server.fresh_url(), f"statsd://127.0.0.1:{statsd.port}"
    ticks = "stats.counters.celery.new.agent.*.ticks.self.count"
    with Agent(tmp_path, broker, [sink], "new", "--host", "web1"):
        wait_until(lambda: graphite.total(ticks) >= 2, 20, "two ticks are in Graphite", poll=0.2)
        rules = [rule for rule in RULES if rule.name != "leak"]
        report = check(graphite, "new", time.time(), rules)
    assert set() == found(report), [finding.note for finding in report.findings]
