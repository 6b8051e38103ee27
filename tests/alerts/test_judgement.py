"""`for:` and hysteresis without a file of states: against a machine that keeps its state."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celery_statsd.alerts.judgement import MEMORY, STEP, Verdict, judged, moments, reach, value_at
from celery_statsd.alerts.rule import AlertRule, Bound, Point, State

NOW = 60_000.0
PLAIN = AlertRule("a", "A.", "t", 60.0, "last", critical=Bound(">", 5))
HELD = replace(PLAIN, hold=300.0)
STICKY = replace(HELD, critical=Bound(">", 5, Bound("<", 3)))
BOTH = replace(STICKY, warning=Bound(">", 4))


def by_minute(*values: float | None, until: float = NOW) -> list[Point]:
    """A point a minute, the last at `until`; None for none."""
    begin = until - STEP * (len(values) - 1)
    return [(begin + STEP * n, v) for n, v in enumerate(values) if v is not None]


def state(rule: AlertRule, *values: float | None) -> State:
    return judged(rule, by_minute(*values), NOW).state


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((6,), State.CRITICAL),
        ((5,), State.OK),
        ((6, None), State.NO_DATA),
        ((6, 0), State.OK),
    ],
)
def test_without_hold_the_last_moment_counts(
    values: tuple[float | None, ...], expected: State
) -> None:
    """Past the bound or not, or nobody knows."""
    assert expected is state(PLAIN, *values)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((6, 6, 6, 6, 6, 6), State.CRITICAL),  # 300 s from the first to the last
        ((0, 6, 6, 6, 6, 6), State.OK),
        ((6, 6, 6, 0, 6, 6), State.OK),
        ((6, 6, 6, None, 6, 6), State.OK),
        ((6, 6, 6, 6, 6, 6, 5), State.OK),
    ],
)
def test_hold_is_one_stretch(values: tuple[float | None, ...], expected: State) -> None:
    """A moment below, or without a value, begins anew."""
    assert expected is state(HELD, *values)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((6, 6, 6, 6, 6, 6, 4, 4, 4), State.CRITICAL),  # between the bounds it goes on
        ((6, 6, 6, 6, 6, 6, 4, 3, 3), State.CRITICAL),
        ((6, 6, 6, 6, 6, 6, 4, 2, 4), State.OK),
        ((6, 6, 6, 6, 6, 4, 4, 4, 4), State.OK),  # it had not fired yet
        ((6, 6, 6, 6, 6, 6, None, 4, 4), State.OK),
    ],
)
def test_what_fires_goes_on_until_it_is_past_the_other_bound(
    values: tuple[float | None, ...], expected: State
) -> None:
    """And not before it fires."""
    assert expected is state(STICKY, *values)


def test_what_fired_too_long_ago_is_over() -> None:
    """When it has been between the bounds since; a longer stretch is not looked at."""
    stretch = int(MEMORY // STEP)
    assert State.CRITICAL is state(STICKY, *[6] * 6, *[4] * (stretch - 1))
    assert State.OK is state(STICKY, *[6] * 6, *[4] * (stretch + 10))


def test_the_worst_level_counts_and_what_is_to_come_is_told() -> None:
    """Each level for itself."""
    assert Verdict(State.CRITICAL, 6, BOTH.critical, NOW - 300) == judged(
        BOTH, by_minute(*[6] * 6), NOW
    )
    before = judged(PLAIN, by_minute(*[6] * 6), NOW)
    assert Verdict(State.CRITICAL, 6, PLAIN.critical, None) == before
    assert State.WARNING is state(BOTH, *[4.5] * 6)
    pending = judged(BOTH, by_minute(0, 0, 6, 6), NOW)
    assert Verdict(State.OK, 6, BOTH.critical, NOW - 60, pending=True) == pending


def test_the_window_is_open_at_its_begin() -> None:
    """(moment - window, moment]: no point counts in two windows that touch."""
    points = [(940.0, 1.0), (941.0, 2.0), (1000.0, 4.0), (1001.0, 8.0)]
    assert 6.0 == value_at(replace(PLAIN, reduce="sum"), points, 1000.0)


@pytest.mark.parametrize("second", [0.0, 1.0, 59.0])
def test_moments_are_full_minutes_and_now(second: float) -> None:
    """Whenever it is asked, what was before is judged at the same moments."""
    at = moments(HELD, NOW + second)
    assert NOW + second == at[-1]
    assert all(moment % STEP == 0 for moment in at[:-1])
    assert at[0] <= NOW + second - HELD.hold
    assert at[0] - HELD.window >= NOW + second - reach(HELD)


class Kept:
    """The same laws with a state that is kept, asked once a minute: what others do."""

    def __init__(self, bound: Bound, hold: float) -> None:
        self.bound, self.hold = bound, hold
        self.since: float | None = None
        self.fires = False

    def see(self, at: float, value: float | None) -> bool:
        until = self.bound.until
        stays = self.fires and until is not None and value is not None and not until.passed(value)
        if value is None or not (stays or self.bound.passed(value)):
            self.since, self.fires = None, False
            return False
        self.since = at if self.since is None else self.since
        self.fires = self.fires or at - self.since >= self.hold
        return self.fires


@given(
    st.lists(st.one_of(st.none(), st.integers(0, 8)), min_size=1, max_size=60),
    st.sampled_from([0.0, 60.0, 300.0]),
    st.sampled_from([Bound(">", 5), Bound(">", 5, Bound("<", 3)), Bound("<", 3, Bound(">", 5))]),
)
def test_it_says_what_one_that_keeps_its_state_would_say(
    values: list[float | None], hold: float, bound: Bound
) -> None:
    """At every minute of any series (up to MEMORY)."""
    rule = replace(PLAIN, hold=hold, critical=bound)
    kept = Kept(bound, hold)
    for n, value in enumerate(values):
        at = NOW + STEP * n
        expected = kept.see(at, value)
        found = judged(rule, by_minute(*values[: n + 1], until=at), at)
        assert expected is (found.state is State.CRITICAL)
