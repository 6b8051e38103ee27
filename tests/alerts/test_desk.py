"""What is served: pages, their status, and how often Graphite is asked."""

from collections.abc import Sequence

import pytest

from celery_statsd.alerts.check import Finding, Report
from celery_statsd.alerts.desk import FRESH, Desk
from celery_statsd.alerts.judgement import Verdict
from celery_statsd.alerts.rule import AlertRule, Bound, State

AGENT = AlertRule("agent", "Dead.", "t", 180, "sum", critical=Bound("<", 1))
LOST = AlertRule("lost", "Lost.", "t", 900, "sum", critical=Bound(">", 0))


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def desk(
    states: Sequence[State], problem: str = "", clock: Clock | None = None
) -> tuple[Desk, list[float]]:
    """One whose rules are found in `states`, and when it asked."""
    asked: list[float] = []

    def check(now: float) -> Report:
        asked.append(now)
        found = (
            Finding(rule, "all", Verdict(state))
            for rule, state in zip((AGENT, LOST), states, strict=False)
        )
        return Report("shop", now, tuple(found), problem)

    return Desk((AGENT, LOST), check, clock or Clock()), asked


@pytest.mark.parametrize(
    ("states", "problem", "all_status", "lost_status"),
    [
        ((State.OK, State.OK), "", 200, 200),
        ((State.OK, State.WARNING), "", 200, 200),
        ((State.OK, State.NO_DATA), "", 200, 200),
        ((State.OK, State.CRITICAL), "", 503, 503),
        ((State.AGENT_DEAD, State.NO_DATA), "", 503, 503),
        ((State.CRITICAL, State.OK), "", 503, 200),
        ((), "away", 503, 503),
    ],
)
def test_the_status_is_what_an_uptime_check_wants(
    states: Sequence[State], problem: str, all_status: int, lost_status: int
) -> None:
    """Of all, and of one rule."""
    pages = desk(states, problem)[0].pages
    assert {"/alerts", "/alerts/agent", "/alerts/lost"} == set(pages)
    status, document = pages["/alerts"]()
    assert (all_status, problem) == (status, document["problem"])
    assert [state.value for state in states] == [row["state"] for row in document["rules"]]
    status, document = pages["/alerts/lost"]()
    assert lost_status == status
    assert {"lost"} >= {row["rule"] for row in document["rules"]}


def test_graphite_is_asked_no_more_than_needed() -> None:
    """However many look, and whichever page; a clock that was set back is a reason to ask."""
    clock = Clock()
    made, asked = desk((State.OK, State.OK), clock=clock)
    for _ in range(3):
        for page in made.pages.values():
            page()
    clock.now += FRESH - 0.1
    made.report()
    assert [1000.0] == asked
    clock.now += 0.1
    made.report()
    clock.now = 500.0
    made.report()
    assert [1000.0, 1000.0 + FRESH, 500.0] == asked
