"""What a rule is made of."""

import pytest

from celery_statsd.alerts.rule import REDUCERS, AlertRule, Bound, State


@pytest.mark.parametrize(
    ("name", "expected"),
    [("sum", 15.0), ("min", 1.0), ("max", 9.0), ("mean", 5.0), ("median", 5.0), ("last", 1.0)],
)
def test_points_become_one_value(name: str, expected: float) -> None:
    """As Grafana's reducers of these names do."""
    assert expected == REDUCERS[name]([5.0, 9.0, 1.0])
    assert len(REDUCERS) == 6


@pytest.mark.parametrize(
    ("bound", "value", "passed"),
    [
        (Bound(">", 5), 5.0, False),
        (Bound(">", 5), 5.1, True),
        (Bound("<", 1), 1.0, False),
        (Bound("<", 1), 0.0, True),
    ],
)
def test_a_bound_itself_is_not_past(bound: Bound, value: float, passed: bool) -> None:
    """Above and below."""
    assert passed is bound.passed(value)


def test_a_bound_is_shown_as_it_is_written() -> None:
    """Without zeros nobody wrote."""
    assert ("> 60000", "< 0.5") == (str(Bound(">", 60000.0)), str(Bound("<", 0.5)))


def test_states_have_nagios_numbers() -> None:
    """And an order: what nobody can tell is worse than a warning, a dead agent worse than all."""
    assert [0, 1, 3, 2, 2] == [state.exit_code for state in sorted(State, key=lambda s: s.rank)]


def test_levels_begin_with_the_worst() -> None:
    """Those there are."""
    both = AlertRule("a", "A.", "t", 60, "sum", warning=Bound(">", 1), critical=Bound(">", 2))
    assert [State.CRITICAL, State.WARNING] == [state for state, _ in both.levels]
    assert not both.remembers
    one = AlertRule("a", "A.", "t", 60, "sum", warning=Bound(">", 1, Bound("<", 0)))
    assert [State.WARNING] == [state for state, _ in one.levels]
    assert one.remembers
