"""What is told of a timer in a few numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celery_statsd.errors import ConfigError
from celery_statsd.metric import Timing
from celery_statsd.sinks.base import Address
from celery_statsd.sinks.measures import measured, measures, median, percentiles, upper


@pytest.mark.parametrize(
    ("count", "percent", "expected"),
    [
        (100, 90, 90),
        (100, 99, 99),
        (10, 95, 10),  # 9.5 is rounded up
        (10, 90, 9),
        (5, 90, 5),  # 4.5 as well: not to the even 4
        (3, 50, 2),  # 1.5
        (2, 90, 2),
        (1, 10, 1),  # the only value is every percentile
        (4, 10, None),  # 0.4 of a value is none
        (4, 100, 4),
    ],
)
def test_a_percentile_is_the_largest_of_the_lowest_part(count, percent, expected):
    """Over 1, 2, ... `count`, worked out by hand after StatsD's rule."""
    assert expected == upper(range(1, count + 1), percent)


def test_the_median():
    """The middle one, or the mean of the middle two."""
    assert (2, 2.5, 7) == (median([1, 2, 9]), median([1, 2, 3, 9]), median([7]))


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.1, 100))
def test_a_percentile_is_one_of_the_values(values, percent):
    """And what lies at or below it is at least that part of them, but for half a value."""
    values.sort()
    bound = upper(values, percent)
    if bound is not None:
        assert bound in values
        at_or_below = sum(value <= bound for value in values)
        assert at_or_below >= percent / 100 * len(values) - 0.5 - 1e-9


def test_what_is_exact_is_of_all_and_the_rest_of_what_was_kept() -> None:
    """In the order that was asked for."""
    timing = Timing(1000, 50_000.0, 1.0, 900.0, (20.0, 10.0, 30.0))
    found = measured(timing, measures("upper_99_9,lower,mean,median,upper,upper_50"))

    assert [
        ("upper_99_9", 30.0),
        ("lower", 1.0),
        ("mean", 50.0),
        ("median", 20.0),
        ("upper", 900.0),
        ("upper_50", 20.0),
    ] == found


@pytest.mark.parametrize("text", ["", "mean,", "average", "upper_", "upper_0", "upper_101", "p95"])
def test_what_is_no_measure_is_refused(text: str) -> None:
    """Whatever stands beside it."""
    address = Address.parse(f"statsd://127.0.0.1?timers=mean,{text}")
    with pytest.raises(ConfigError, match=r"option timers='mean,.*' is not measures"):
        address.option("timers", measures, ())


@pytest.mark.parametrize("text", ["", "90,x", "0", "101", "nan"])
def test_what_is_no_percentile_is_refused(text: str) -> None:
    """They are above 0, and 100 at most."""
    address = Address.parse(f"graphite://127.0.0.1?percentiles={text}")
    with pytest.raises(ConfigError, match=r"option percentiles='.*' is not percentiles"):
        address.option("percentiles", percentiles, ())
