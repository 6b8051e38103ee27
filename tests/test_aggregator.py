"""The aggregator's laws: sums over any flushes, zeros, closing, the ceiling, fair samples."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celery_statsd import aggregator as aggregators
from celery_statsd.aggregator import OTHER, Aggregator, Reservoir
from celery_statsd.metric import Batch, Kind
from celery_statsd.names import Names
from tests.bodies import NOON, patiently

COUNTERS = {
    "cluster": ("sent", "failed"),
    "task": ("sent", "failed"),
    "worker": ("offline",),
    "agent": (),
}


def aggregator(ceiling: int = 1000, reservoir: int = 10) -> Aggregator:
    made = Aggregator(Names("celery", "default", "all", ()), COUNTERS, ceiling, reservoir)
    made.begin(NOON)
    return made


def counters(batch: Batch) -> dict[tuple[str, str, str], int]:
    return {(s.family, s.entity, s.metric): n for s, n in batch.counters}


def gauges(batch: Batch) -> dict[tuple[str, str, str], float]:
    return {(s.family, s.entity, s.metric): n for s, n in batch.gauges}


ADDS = st.tuples(st.sampled_from("abc"), st.sampled_from(("sent", "failed")), st.integers(0, 9))


@patiently
@given(st.lists(st.one_of(ADDS, st.none())))
def test_sums_do_not_depend_on_the_flushes(deeds):
    """Wherever flushes (None) fall, the batches add up to what was counted."""
    made, expected, sums = aggregator(), Counter(), Counter()
    for deed in (*deeds, None):
        if deed is None:
            sums.update(counters(made.drain(NOON)))
        else:
            entity, metric, amount = deed
            made.count("task", entity, metric, amount)
            expected["task", entity, metric] += amount
    assert +expected == +sums


def test_a_known_counter_is_written_as_zero():
    """All counters of a family are there once an entity was seen, in every batch to come."""
    made = aggregator()
    made.count("task", "a", "sent", 2)
    first = {("task", "a", "sent"): 2, ("task", "a", "failed"): 0}
    assert first == counters(made.drain(NOON))
    assert dict.fromkeys(first, 0) == counters(made.drain(NOON))


def test_a_gauge_speaks_for_one_flush():
    """The last value that was set; nothing where none was."""
    made = aggregator()
    made.gauge("worker", "w", "active", 2)
    made.gauge("worker", "w", "active", 3)
    assert {("worker", "w", "active"): 3} == gauges(made.drain(NOON))
    assert {} == gauges(made.drain(NOON))


def test_who_is_gone_is_closed():
    """Each gauge that was ever written ends at 0, then nothing of it is written any more."""
    made = aggregator()
    made.count("worker", "w", "offline")
    made.gauge("worker", "w", "active", 3)
    made.drain(NOON)
    made.gauge("worker", "w", "up", 1)
    made.close("worker", "w")
    last = made.drain(NOON)
    assert {("worker", "w", "active"): 0, ("worker", "w", "up"): 0} == gauges(last)
    assert {("worker", "w", "offline"): 0} == counters(last)
    after = made.drain(NOON)
    assert ((), (), ()) == (after.counters, after.gauges, after.timers)
    assert 0 == made.series


def test_who_comes_back_is_not_closed():
    """A word between the closing and the flush keeps the entity."""
    made = aggregator()
    made.gauge("worker", "w", "up", 1)
    made.close("worker", "w")
    made.gauge("worker", "w", "up", 1)
    assert {("worker", "w", "up"): 1} == gauges(made.drain(NOON))
    assert {("worker", "w", "offline"): 0} == counters(made.drain(NOON))


def test_closing_nobody_is_nothing():
    """An entity that was never seen has no series."""
    made = aggregator()
    made.close("worker", "w")
    assert () == made.drain(NOON).counters


def test_the_farewell_leaves_no_gauge_standing():
    """Every gauge that was ever written, or would be now, is 0; counters say what they have."""
    made = aggregator()
    made.gauge("worker", "w", "active", 3)
    made.drain(NOON)
    made.gauge("task", "a", "running", 2)
    made.count("task", "a", "sent", 5)
    made.silence()
    last = made.drain(NOON)
    assert {("worker", "w", "active"): 0, ("task", "a", "running"): 0} == gauges(last)
    assert 5 == counters(last)["task", "a", "sent"]


@patiently
@given(st.lists(st.tuples(st.integers(0, 9).map(str), st.lists(ADDS, min_size=1))))
def test_many_at_once_are_the_same_as_one_by_one(deeds):
    """Counters and gauges, and what is folded past the ceiling."""
    one, many = aggregator(12), aggregator(12)
    for entity, adds in deeds:
        amounts = [(metric, amount) for _, metric, amount in adds if amount]
        for metric, amount in amounts:
            one.count("task", entity, metric, amount)
        if amounts:
            many.count_all("task", entity, amounts)
        values = {name: float(amount) for name, _, amount in adds}
        many.gauge_all("task", values, "queued")
        for name, value in values.items():
            one.gauge("task", name, "queued", value)
        many.gauge_each("worker", entity, values)
        for metric, value in values.items():
            one.gauge("worker", entity, metric, value)
    assert one.drain(NOON) == many.drain(NOON)
    assert one.folded == many.folded


@patiently
@given(st.lists(st.tuples(st.integers(0, 30).map(str), st.integers(1, 5))), st.integers(0, 20))
def test_the_ceiling_folds_and_counts(adds, ceiling):
    """Past the ceiling values go to `other`: nothing is lost from the sum, what was folded is
    counted, and the series are bounded but for what the families above it need."""
    made, expected = aggregator(ceiling), 0
    for entity, amount in adds:
        made.count("task", entity, "sent", amount)
        expected += amount
    batch = made.drain(NOON)
    assert expected == sum(n for (_, _, metric), n in counters(batch).items() if metric == "sent")
    assert made.series == len(batch.counters) <= max(ceiling + 1, 2) + 2
    own = {entity for _, entity, _ in counters(batch)} - {OTHER}
    assert made.folded == sum(amount for entity, amount in adds if entity not in own)


def test_a_folded_gauge_is_left_out():
    """The gauges of many in one mean nothing; the timers of many do."""
    made = aggregator(ceiling=2)
    made.count("task", "a", "sent")
    made.gauge("task", "b", "running", 7)
    made.time("task", "c", "wait", 1.0)
    batch = made.drain(NOON)
    assert {} == gauges(batch)
    assert [(OTHER, 1)] == [(series.entity, timing.count) for series, timing in batch.timers]
    assert 2 == made.folded


def test_cluster_and_agent_are_never_folded():
    """The totals and the vitals stand whatever the ceiling is."""
    made = aggregator(ceiling=0)
    made.count("cluster", "all", "sent", 3)
    made.gauge("agent", "host", "attempts", 1)
    batch = made.drain(NOON)
    assert 3 == counters(batch)["cluster", "all", "sent"]
    assert {("agent", "host", "attempts"): 1} == gauges(batch)
    assert 0 == made.folded


def test_closing_makes_room_below_the_ceiling():
    """Series of who is gone are free for others."""
    made = aggregator(ceiling=1)
    made.count("worker", "a", "offline")
    made.close("worker", "a")
    made.drain(NOON)
    made.count("worker", "b", "offline")
    assert {("worker", "b", "offline"): 1} == counters(made.drain(NOON))


def test_intervals_are_from_flush_to_flush():
    """The first begins where it was told to."""
    made = aggregator()
    assert [(NOON + 4, 4.0), (NOON + 14, 10.0)] == [
        (batch.time, batch.interval) for batch in (made.drain(NOON + 4), made.drain(NOON + 14))
    ]


def test_cluster_comes_first():
    """So that its counters travel in one datagram."""
    made = aggregator()
    for family in ("worker", "task", "cluster"):
        made.count(family, "all", COUNTERS[family][0])
    families = [series.family for series, _ in made.drain(NOON).counters]
    assert ["cluster", "cluster", "task", "task", "worker"] == families


VALUES = st.lists(st.floats(0, 1e9), min_size=1, max_size=50)


@patiently
@given(VALUES, st.integers(1, 10))
def test_a_reservoir_is_exact_but_for_what_it_keeps(values, size):
    """Count, sum and extremes are of all values; at most `size` are kept, each one of them."""
    reservoir = Reservoir()
    for value in values:
        reservoir.add(value, size, random.Random(1))
    timing = reservoir.timing()
    assert len(values) == timing.count
    assert pytest.approx(sum(values)) == timing.total
    assert (min(values), max(values)) == (timing.lower, timing.upper)
    assert min(size, len(values)) == len(timing.values)
    assert not Counter(timing.values) - Counter(values)
    assert timing.rate == len(timing.values) / len(values)


def test_each_value_is_kept_as_likely():
    """Over many runs no place in the row is preferred: chi-square far from its tail."""
    kept, runs, size, row, chance = Counter(), 4000, 5, range(20), random.Random(7)
    for _ in range(runs):
        reservoir = Reservoir()
        for value in row:
            reservoir.add(value, size, chance)
        kept.update(reservoir.kept)
    expected = runs * size / len(row)
    chi_square = sum((kept[value] - expected) ** 2 / expected for value in row)
    assert chi_square < 50.0  # 19 degrees of freedom: 1 in 10 000 is at 50.8


def test_the_same_stream_gives_the_same_sample():
    """The seed is fixed: a recording replayed tells the same."""
    samples = []
    for _ in range(2):
        made = aggregator(reservoir=3)
        for value in range(100):
            made.time("task", "a", "wait", float(value))
        samples.append([timing for _, timing in made.drain(NOON).timers])
    assert samples[0] == samples[1]
    assert 3 == len(samples[0][0].values)


def test_a_timer_speaks_for_one_flush():
    """Nothing timed, nothing written."""
    made = aggregator()
    made.time("task", "a", "wait", 5.0)
    assert [Kind.TIMER] == [series.kind for series, _ in made.drain(NOON).timers]
    assert () == made.drain(NOON).timers


def test_the_values_of_all_timers_together_are_bounded(monkeypatch):
    """Past the bound a timer keeps its first value and those it has; count and sum go on."""
    monkeypatch.setattr(aggregators, "MOST_VALUES", 5)
    made = aggregator()
    for entity in "ab":
        for value in range(1, 5):
            made.time("task", entity, "wait", float(value))
    made.time("task", "c", "wait", 7.0)
    timings = {series.entity: timing for series, timing in made.drain(NOON).timers}
    assert {"a": 4, "b": 1, "c": 1} == {name: len(t.values) for name, t in timings.items()}
    assert {"a": (4, 10.0), "b": (4, 10.0), "c": (1, 7.0)} == {
        name: (t.count, t.total) for name, t in timings.items()
    }
    for value in range(1, 5):
        made.time("task", "a", "wait", float(value))
    assert [4] == [len(timing.values) for _, timing in made.drain(NOON).timers]


def test_without_room_each_value_is_kept_as_likely():
    """A reservoir that had to stop growing is as fair as a small one."""
    kept, runs, row, chance = Counter(), 4000, range(20), random.Random(7)
    for _ in range(runs):
        reservoir = Reservoir()
        for value in row:
            reservoir.add(value, 10, chance, room=value < 5)
        assert 5 == len(reservoir.kept)
        kept.update(reservoir.kept)
    expected = runs * 5 / len(row)
    assert sum((kept[value] - expected) ** 2 / expected for value in row) < 50.0


def test_what_is_loaded_is_never_folded():
    """What was known before a restart is known after it, under a lower ceiling too."""
    made, successor = aggregator(), aggregator(ceiling=1)
    for entity in "abc":
        made.count("task", entity, "sent")
        made.time("task", entity, "wait", 5.0)
    successor.load(made.dump())
    assert made.drain(NOON) == successor.drain(NOON)
    assert 0 == successor.folded


def test_whoever_is_not_known_is_closed():
    """Also one that came back into sight after it had been closed."""
    made = aggregator()
    for entity in ("a", "b", OTHER):
        made.gauge("worker", entity, "active", 3)
        made.count("worker", entity, "offline")
    made.drain(NOON)
    made.close_others("worker", {"a"})
    assert 0 == gauges(made.drain(NOON))["worker", "b", "active"]
    assert {"a", OTHER} == {series.entity for series, _ in made.drain(NOON).counters}


def test_one_family_can_be_silenced():
    """Its gauges are 0 unless they are set anew; those of others are as they are."""
    made = aggregator()
    made.gauge("task", "a", "running", 2)
    made.gauge("task", "b", "running", 2)
    made.drain(NOON)
    made.gauge("worker", "w", "active", 3)
    made.silence("task")
    made.gauge("task", "b", "running", 1)
    assert {
        ("task", "a", "running"): 0,
        ("task", "b", "running"): 1,
        ("worker", "w", "active"): 3,
    } == (gauges(made.drain(NOON)))


# Many values at once.


def filled(parts: list[list[float]], size: int, seed: int, room: int = 10**6) -> Reservoir:
    reservoir, chance = Reservoir(), random.Random(seed)
    for part in parts:
        reservoir.add_all(part, size, chance, room)
    return reservoir


@patiently
@given(
    st.lists(st.lists(st.floats(0, 1e6), min_size=1, max_size=30), min_size=1, max_size=6),
    st.integers(1, 20),
    st.integers(0, 20),
)
def test_many_at_once_are_summed_exactly(parts, size, room):
    """Count, sum and extremes are of all; what is kept is of what came, within its bounds."""
    reservoir, came, grown = Reservoir(), [], 0
    for part in parts:
        left = max(0, room - grown)
        grew = reservoir.add_all(part, size, random.Random(1), left)
        assert grew <= max(left, not came)
        grown += grew
        came += part
    timing = reservoir.timing()
    assert (len(came), min(came), max(came)) == (timing.count, timing.lower, timing.upper)
    assert pytest.approx(sum(came)) == timing.total
    assert grown == len(timing.values) <= min(size, max(1, room), len(came))
    assert Counter(timing.values) <= Counter(came)


def test_what_fits_is_kept_in_its_order():
    """Nothing is drawn as long as there is room for all."""
    assert [3.0, 1.0, 2.0] == filled([[3.0, 1.0], [2.0]], 3, seed=1).kept


@pytest.mark.parametrize(
    "sizes",
    [(100,), (4, 96), (10, 90), (60, 5, 35), (10, 3, 3, 84), (50, 50), (97, 1, 1, 1)],
    ids=str,
)
def test_a_sample_of_many_is_fair(sizes):
    """Each of 100 values, whichever part brings it, is kept one time in ten: of 4000 draws each
    was kept 400 times, give or take what chance allows (chi square of 99 degrees, 1 in 10,000)."""
    values = [float(number) for number in range(100)]
    rest = iter(values)
    parts = [[next(rest) for _ in range(size)] for size in sizes]
    kept = Counter()
    for seed in range(4000):
        drawn = filled(parts, 10, seed).kept
        assert 10 == len(set(drawn))
        kept.update(drawn)
    chi = sum((kept[value] - 400) ** 2 / 400 for value in values)
    assert 161 > chi / 0.9  # each draw takes ten without putting back: the variance is less


def test_places_of_kept_values_are_given_up_alike():
    """A few late values take any place, the first as likely as the last."""
    gone = Counter()
    for seed in range(4000):
        kept = filled([[float(number) for number in range(10)], [99.0] * 5], 10, seed).kept
        gone.update(number for number in range(10) if float(number) not in kept)
    expected = gone.total() / 10
    assert 28 > sum((gone[number] - expected) ** 2 / expected for number in range(10))


def test_without_room_one_value_is_kept():
    """A timer that has none may keep its first; one that has some keeps no more."""
    assert 1 == len(filled([[1.0, 2.0, 3.0]], 10, seed=1, room=0).kept)
    reservoir = filled([[1.0, 2.0]], 10, seed=1)
    assert 0 == reservoir.add_all([3.0] * 50, 10, random.Random(1), 0)
    assert (52, 2) == (reservoir.count, len(reservoir.kept))


def test_many_for_an_entity_past_the_ceiling_are_all_counted_as_folded():
    """As if each had come alone."""
    several, one_by_one = aggregator(ceiling=1), aggregator(ceiling=1)
    for made in (several, one_by_one):
        made.count("task", "a", "sent")
    several.time_all("task", "b", "wait", [1.0, 2.0, 3.0])
    for value in (1.0, 2.0, 3.0):
        one_by_one.time("task", "b", "wait", value)
    assert 3 == several.folded == one_by_one.folded
    assert several.drain(NOON).timers == one_by_one.drain(NOON).timers


def test_what_many_keep_counts_against_the_bound_of_all_timers(monkeypatch):
    """Past it timers keep one value each, until the next flush."""
    monkeypatch.setattr(aggregators, "MOST_VALUES", 12)
    made = aggregator()
    for entity in "abc":
        made.time_all("task", entity, "wait", [1.0] * 10)
    kept = {s.entity: len(t.values) for s, t in made.drain(NOON).timers}
    assert {"a": 10, "b": 2, "c": 1} == kept
    made.time_all("task", "c", "wait", [1.0] * 10)
    assert [10] == [len(t.values) for _, t in made.drain(NOON).timers]


def test_a_gauge_set_for_the_coming_flush_survives_a_restart():
    """It is sent then, though it never was before."""
    made, reborn = aggregator(), aggregator()
    made.count("task", "a", "sent")
    made.gauge("task", "a", "running", 0)
    reborn.load(made.dump())
    assert {("task", "a", "running"): 0} == gauges(reborn.drain(NOON))
