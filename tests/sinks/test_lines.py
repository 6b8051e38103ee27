"""StatsD's lines: their form, their number, and what is left of a batch after some of them."""

import itertools
import re
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celery_statsd.metric import Batch, Kind, Series, Timing
from celery_statsd.sinks.lines import lines, number, packed, rate, remainder, sound, units

LINE = re.compile(r"[A-Za-z0-9_.-]+:-?\d+(\.\d+)?\|(c|g|ms)(\|@[0-9.]+)?")

PATHS = st.one_of(
    st.from_regex(r"[A-Za-z0-9_-]{1,12}(\.[A-Za-z0-9_-]{1,12}){1,4}", fullmatch=True),
    st.sampled_from(["cluster.all.sent", "cluster.all.lost", "cluster.all.running"]),
)
ANY_FLOAT = st.floats(allow_nan=True, allow_infinity=True)


def _series(path: str, kind: Kind) -> Series:
    return Series("task", path, "metric", kind, path)


@st.composite
def timings(draw: st.DrawFn) -> Timing:
    values = draw(st.lists(ANY_FLOAT, min_size=1, max_size=5))
    count = len(values) + draw(st.integers(0, 10**9))
    return Timing(count, 0.0, 0.0, 0.0, tuple(values))


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    def rows(kind: Kind, values: st.SearchStrategy) -> tuple:
        pairs = draw(st.dictionaries(PATHS, values, max_size=4))
        return tuple((_series(path, kind), value) for path, value in pairs.items())

    return Batch(
        1_700_000_000.0,
        10.0,
        rows(Kind.COUNTER, st.integers(0, 2**70)),
        rows(Kind.GAUGE, ANY_FLOAT),
        rows(Kind.TIMER, timings()),
    )


def written(batch: Batch) -> list[str]:
    text = "\n".join(units(batch))
    return text.split("\n") if text else []


@given(batches())
def test_every_line_is_one_a_statsd_takes(batch):
    """Whatever the numbers are, each line has StatsD's form, and `lines` knows how many."""
    clean, left_out = sound(batch)
    text = written(clean)
    assert [] == [line for line in text if not LINE.fullmatch(line)]
    assert lines(clean) == len(text)
    assert lines(batch) - lines(clean) == left_out


@given(batches(), st.data())
def test_the_remainder_is_what_has_not_arrived(batch, data):
    """The lines taken and those of the remainder are the lines of the whole, none cut in two."""
    clean, _ = sound(batch)
    taken = data.draw(st.integers(0, lines(clean)))
    whole, rest = written(clean), written(remainder(clean, taken))
    strip = re.compile(r"\|@.*")
    expected = [strip.sub("", line) for line in whole[taken:]]
    if taken and taken < len(whole) and whole[taken - 1].endswith(":0|g"):
        negative = whole[taken].partition(":")[2].startswith("-")
        expected = ([whole[taken - 1]] if negative else []) + expected
    assert expected == [strip.sub("", line) for line in rest]


@given(batches(), st.integers(1, 200))
def test_shared_lines_say_the_same(batch, room):
    """Taken apart at their colons they are the lines each value has alone; none that shares is
    longer than there is room for."""
    clean, _ = sound(batch)
    apart = []
    for path, value in (unit.split(":", 1) for unit in units(clean, room)):
        if value.endswith("|g"):
            apart += f"{path}:{value}".split("\n")
        else:
            apart += [f"{path}:{one}" for one in value.split(":")]
            assert ":" not in value or len(f"{path}:{value}") <= room
    assert written(clean) == apart


@given(st.integers(1, 1000), st.integers(1, 10**10))
def test_the_rate_tells_the_true_count(kept, more):
    """Adding 1/rate for each kept value, as a StatsD does, gives the count to the unit."""
    timing = Timing(kept + more, 0.0, 0.0, 0.0, (1.0,) * kept)
    text = rate(timing)
    assert re.fullmatch(r"0\.\d+", text)
    counted = 0.0
    for _ in range(kept):
        counted += 1 / float(text)
    assert counted == pytest.approx(timing.count, rel=1e-12, abs=0.01)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0"),
        (5.0, "5"),
        (100, "100"),
        (0.25, "0.25"),
        (1e-5, "0.00001"),
        (-1e-9, "0"),
        (-0.0, "0"),
        (-2.5, "-2.5"),
        (1e16, "10000000000000000"),
    ],
)
def test_numbers_are_plain_and_short(value, expected):
    """No exponent, no idle zeros, no minus zero."""
    assert expected == number(value)


def test_times_have_three_decimals_at_most(make):
    """A millisecond's thousandth is the finest that is written; zeros that say nothing are not."""
    told = {0.0: "0", 0.0004: "0", 0.5: "0.5", 10.1: "10.1", 12.3456: "12.346", 1000.0: "1000",
            1e9: "1000000000"}  # fmt: skip
    assert list(told.values()) == [number(value, 3) for value in told]
    batch = make.batch(timers={"a.b.c": list(told)})
    assert [f"a.b.c:{text}|ms" for text in told.values()] == written(batch)


def test_a_negative_gauge_is_set_to_zero_first(make):
    """Both lines are one unit, so that no packet can part them."""
    batch = make.batch(gauges={"worker.w1.clock_skew_ms": -3.5})
    assert ["worker.w1.clock_skew_ms:0|g\nworker.w1.clock_skew_ms:-3.5|g"] == [*units(batch)]


def test_what_balances_leaves_together(make):
    """The cluster's gauges follow its counters at once, before all that may fill more packets."""
    batch = make.batch(
        counters={"cluster.all.sent": 3, "cluster.all.failed": 1, "task.a.sent": 3},
        gauges={"cluster.all.running": 2.0, "task.a.running": 2.0, "worker.w1.skew": -1.0},
    )
    lines_of_cluster = ["cluster.all.sent:3|c", "cluster.all.failed:1|c", "cluster.all.running:2|g"]
    assert lines_of_cluster == written(batch)[:3]
    assert written(batch)[2:] == written(remainder(batch, 2))
    assert ["worker.w1.skew:0|g", "worker.w1.skew:-1|g"] == written(remainder(batch, 5))


def test_a_sample_names_its_rate(make):
    """Every kept value says for how many it stands; a full set says nothing."""
    batch = make.batch(timers={"a.b.c": make.timing([1, 2], count=8), "a.b.d": [3.0]})
    assert ["a.b.c:1|ms|@0.25", "a.b.c:2|ms|@0.25", "a.b.d:3|ms"] == written(batch)


def test_what_is_no_number_is_left_out_and_counted(make):
    """NaN, the infinite and negative times are no lines; the timer's true count stays."""
    batch = make.batch(
        counters={"a.b.c": 0},
        gauges={"a.b.g": nan, "a.b.h": inf, "a.b.i": 1.0},
        timers={"a.b.t": [nan, 4.0, -1.0, 6.0], "a.b.u": [inf]},
    )
    clean, left_out = sound(batch)
    assert ["a.b.c:0|c", "a.b.i:1|g", "a.b.t:4|ms|@0.5", "a.b.t:6|ms|@0.5"] == written(clean)
    assert 5 == left_out


def test_half_a_timer_keeps_its_share_of_the_count(make):
    """Of 100 measured and 4 kept, one arrived: the other three stand for 75."""
    batch = make.batch(counters={"a.b.c": 1}, timers={"a.b.t": make.timing([1, 2, 3, 4], 100)})
    ((_, left),) = remainder(batch, 2).timers
    assert (75, (2, 3, 4)) == (left.count, left.values)


@given(st.lists(st.text("ab:|", min_size=1, max_size=30), max_size=40), st.integers(8, 64))
def test_packed_units_are_whole_and_few(rows, most):
    """Every unit, in its order, in texts of at most `most` but for a unit that is longer alone;
    no text could take the next one's first unit."""
    texts = list(packed(rows, most))
    assert rows == [unit for text in texts for unit in text.split("\n")]
    for text in texts:
        assert len(text) <= most or "\n" not in text
    for text, following in itertools.pairwise(texts):
        assert len(text) + 1 + len(following.split("\n")[0]) > most
