"""What an outage leaves behind, as sums."""

from hypothesis import given
from hypothesis import strategies as st

from celery_statsd.metric import Batch, Kind, Series, Timing
from celery_statsd.sinks.backlog import VALUES_PER_SERIES, joined, merged

PLENTY = 10**6


def plain(rows):
    return {series.path: value for series, value in rows}


def test_counters_add_up_and_gauges_keep_the_last(make):
    """A series of either batch is in the merged one; both intervals are covered."""
    older = make.batch({"t.a.sent": 3, "t.b.sent": 1}, {"q.a.length": 7, "q.b.length": 2})
    newer = make.batch({"t.a.sent": 4, "t.c.sent": 0}, {"q.a.length": 5}, time=1_700_000_010.0)
    batch, given_up = merged(older, newer, PLENTY)
    assert {"t.a.sent": 7, "t.b.sent": 1, "t.c.sent": 0} == plain(batch.counters)
    assert {"q.a.length": 5, "q.b.length": 2} == plain(batch.gauges)
    assert (1_700_000_010.0, 20.0, 0) == (batch.time, batch.interval, given_up)


def test_the_cluster_stays_at_the_head(make):
    """A series only the older batch knows does not come before the whole cluster's."""
    older = make.batch({"cluster.all.sent": 1, "task.x.sent": 1})
    newer = make.batch({"task.a.sent": 1})
    batch, _ = merged(older, newer, PLENTY)
    assert ["cluster.all.sent", "task.a.sent", "task.x.sent"] == [*plain(batch.counters)]


def test_timers_are_joined(make):
    """Count, total and bounds are exact; all values are there."""
    older, newer = make.timing([1.0, 9.0], count=10), make.timing([4.0])
    assert Timing(11, 14.0, 1.0, 9.0, (1.0, 9.0, 4.0)) == joined(older, newer)


def test_past_the_bound_the_newest_values_stay_and_the_count_is_true(make):
    """Thinning lowers the rate; nothing is given up by it."""
    older = make.batch(timers={"t.a.runtime": [1.0] * VALUES_PER_SERIES})
    newer = make.batch(timers={"t.a.runtime": [2.0] * 10})
    batch, given_up = merged(older, newer, PLENTY)
    timing = plain(batch.timers)["t.a.runtime"]
    assert (1.0,) * 990 + (2.0,) * 10 == timing.values
    assert (VALUES_PER_SERIES + 10, 0) == (timing.count, given_up)


def test_what_finds_no_room_is_counted(make):
    """First the timers' values are thinned, then series only the older batch knows are dropped."""
    older = make.batch({"t.old.sent": 9}, timers={"t.old.runtime": [1.0, 2.0]})
    newer = make.batch({"t.a.sent": 1}, {"q.a.length": 5}, {"t.a.runtime": [3.0, 4.0]})
    batch, given_up = merged(older, newer, 3)
    assert {"t.a.sent": 1, "t.old.sent": 9} == plain(batch.counters)
    assert {"q.a.length": 5} == plain(batch.gauges)
    assert {} == plain(batch.timers)
    assert 4 == given_up


names = st.sampled_from([f"{family}.{n}.x" for family in ("cluster", "task") for n in range(4)])


def _rows(kind, values):
    pairs = st.dictionaries(names, values, max_size=5)
    return pairs.map(
        lambda found: tuple((Series(p.split(".")[0], p, "x", kind, p), v) for p, v in found.items())
    )


batches = st.builds(
    Batch,
    st.just(0.0),
    st.just(10.0),
    _rows(Kind.COUNTER, st.integers(0, 1000)),
    _rows(Kind.GAUGE, st.floats(0, 100)),
    _rows(
        Kind.TIMER,
        st.lists(st.floats(0, 100), min_size=1, max_size=6).map(
            lambda v: Timing(len(v), sum(v), min(v), max(v), tuple(v))
        ),
    ),
)


@given(st.lists(batches, min_size=2, max_size=6))
def test_no_outage_is_too_long_for_the_sums(outage):
    """However many batches are merged, with room the counts are those of all of them."""
    kept = outage[0]
    for batch in outage[1:]:
        kept, given_up = merged(kept, batch, PLENTY)
        assert 0 == given_up
    assert sum(n for b in outage for _, n in b.counters) == sum(n for _, n in kept.counters)
    assert sum(t.count for b in outage for _, t in b.timers) == sum(t.count for _, t in kept.timers)


@given(batches, batches, st.integers(1, 20))
def test_the_room_is_kept(older, newer, room):
    """Never more entries than there is room for."""
    batch, _ = merged(older, newer, room)
    timed = sum(len(timing.values) for _, timing in batch.timers)
    assert len(batch.counters) + len(batch.gauges) + timed <= room
