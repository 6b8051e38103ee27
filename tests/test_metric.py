"""What leaves the river is frozen, and says how much of a timer was kept."""

import pytest

from celery_statsd.metric import Batch, Kind, Rows, Series, Timing

SERIES = Series("task", "shop.pay", "wait", Kind.TIMER, "celery.default.task.shop-pay.wait.all")


@pytest.mark.parametrize(
    ("count", "values", "rate"), [(1, (1.0,), 1.0), (4, (1.0,), 0.25), (3, (1.0, 2.0), 2 / 3)]
)
def test_the_rate_is_the_part_that_was_kept(count, values, rate):
    """StatsD's sample rate: a value that was kept stands for 1 / rate values."""
    assert rate == Timing(count, 9.0, 1.0, 5.0, values).rate


@pytest.mark.parametrize(
    ("thing", "field"),
    [
        (SERIES, "path"),
        (Timing(1, 1.0, 1.0, 1.0, (1.0,)), "count"),
        (Batch(0.0, 0.0, (), (), ()), "time"),
    ],
    ids=["series", "timing", "batch"],
)
def test_what_sinks_share_cannot_change(thing, field):
    """All sinks read the same batch at the same time."""
    with pytest.raises(AttributeError):
        setattr(thing, field, None)


def test_equal_series_are_one_key():
    """A sink may keep a value by series."""
    again = Series("task", "shop.pay", "wait", Kind.TIMER, SERIES.path)
    assert {SERIES: 1} == {again: 1}
    assert {"counter", "gauge", "timer"} == {kind.value for kind in Kind}


def test_rows_are_the_sequence_of_their_pairs():
    """Whatever is asked of them: sinks count, cut and compare."""
    series = [Series("task", name, "sent", Kind.COUNTER, name) for name in "abc"]
    rows, pairs = Rows(series, [1, 2, 3]), list(zip(series, (1, 2, 3), strict=True))

    assert pairs == list(rows) == list(rows)
    assert (3, pairs[1], pairs[-1]) == (len(rows), rows[1], rows[-1])
    assert pairs[1:] == list(rows[1:])
    assert rows == tuple(pairs)
    assert rows != pairs[:2]
    assert pairs[0] in rows


def test_rows_that_do_not_fit_are_a_fault():
    """A value without a series would be lost in silence."""
    with pytest.raises(ValueError, match="zip"):
        list(Rows([SERIES], [1, 2]))
