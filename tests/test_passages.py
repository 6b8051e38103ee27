"""The short way of usual tasks changes no number: whatever a cluster does, and whatever of it is
heard, all is as if the tracker had seen every event."""

from collections.abc import Iterator
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from celery_statsd import lanes
from celery_statsd.events import Started
from celery_statsd.life import Life
from celery_statsd.metric import Batch
from celery_statsd.pipeline import Pipeline
from celery_statsd.queues import OVERTAKEN
from celery_statsd.scope import Scope
from tests.bodies import NOON, Event, Process, body, client, patiently
from tests.cluster import Cluster, Deed
from tests.test_pipeline import assert_balanced, counters
from tests.traces import FLUSH, NAMES, messages

SCOPES = {
    "cluster": Scope(),
    "partition": Scope("p2", partition=2, partitions=3),
    "host": Scope("web1", hosts=frozenset({"web1"})),
}


def closed(**settings: Any) -> Pipeline:
    """A pipeline whose short way is closed: the tracker sees every event."""
    pipeline = Pipeline(**settings)
    passages = pipeline._passages

    def refuse(event: Any, life: Life, _: float) -> bool:
        if isinstance(event, Started):
            life.note_start(event.timestamp)
        return False

    pipeline._sluice._usual = dict.fromkeys(pipeline._sluice._usual, refuse)
    passages.sent = lambda *_: False  # type: ignore[method-assign]
    return pipeline


def told(batch: Batch) -> dict[str, Any]:
    """What a batch says, a timer by its number, sum and extremes."""
    found: dict[str, Any] = {}
    for series, number in (*batch.counters, *batch.gauges):
        found[f"{series.family} {series.entity} {series.metric}"] = number
    for series, timing in batch.timers:
        key = f"{series.family} {series.entity} {series.metric}"
        sums = (timing.total, timing.lower, timing.upper)
        found[key] = [timing.count, *(round(number, 3) for number in sums)]
    return found


def deviations(one: dict[str, Any], other: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What the two say of the same thing, where they differ."""
    keys = sorted(one.keys() | other.keys())
    return {key: (one.get(key), other.get(key)) for key in keys if one.get(key) != other.get(key)}


class Pair:
    """A pipeline and one whose short way is closed, to which the same is done."""

    def __init__(self, **settings: Any) -> None:
        self._settings = settings
        self._made = (Pipeline, closed)
        self.both = [make(**settings) for make in self._made]
        for pipeline in self.both:
            pipeline.begin(0.0)

    def do(self, deed: Deed) -> None:
        """One deed; at a flush all that they say is the same, and nothing is missing."""
        if deed.word == "reborn":
            pairs = zip(self.both, self._made, strict=True)
            self.both = [self._reborn(old, make) for old, make in pairs]
        elif deed.word == "feed":
            for pipeline in self.both:
                pipeline.feed(deed.body, deed.now)
                pipeline.ease()
        elif deed.word == "rebase":
            for pipeline in self.both:
                pipeline.rebase()
        elif deed.word == "flush":
            self._compare(deed.now)
        else:
            for pipeline in self.both:
                getattr(pipeline, deed.word)(deed.now)

    def _reborn(self, old: Pipeline, make: Any) -> Pipeline:
        state = msgspec.msgpack.decode(msgspec.msgpack.encode(old.dump()))
        pipeline = make(**self._settings)
        pipeline.load(state)
        return pipeline

    def _compare(self, now: float) -> None:
        short, long = (told(pipeline.flush(now)) for pipeline in self.both)
        differing = deviations(short, long)
        assert not differing, differing
        for pipeline in self.both:
            assert_balanced(pipeline)
        assert self.both[0].balance == self.both[1].balance
        assert self.both[0].ledger == self.both[1].ledger


def compare(deeds: list[Deed], **settings: Any) -> None:
    """The same deeds to both."""
    pair = Pair(**settings)
    for deed in deeds:
        pair.do(deed)


@pytest.fixture(params=[(3, 100), (60, 2), (50_000, 100)], ids="folded at {0[0]}".format)
def unfolded(request: pytest.FixtureRequest) -> Iterator[None]:
    """How many events are put aside at most, and how many lanes are too many to fold at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lanes, "AT_ONCE", request.param[0])
        patch.setattr(lanes, "MUCH", request.param[1])
        patch.setattr(lanes, "EASED", 2)
        yield


@pytest.mark.usefixtures("unfolded")
@pytest.mark.parametrize("scope", SCOPES)
@patiently
@given(chance=st.randoms(use_true_random=False), steps=st.sampled_from((20, 100, 300)))
def test_the_short_way_changes_no_number(chance: Random, steps: int, scope: str) -> None:
    """Whatever a cluster does: each flush says the same."""
    compare(Cluster(chance).live(steps), scope=SCOPES[scope])


@patiently
@given(st.randoms(use_true_random=False), st.sampled_from((20, 100)), st.integers(1, 8))
def test_at_the_ceiling_the_same_are_forgotten(chance: Random, steps: int, ceiling: int) -> None:
    """Those that were sent first, usual or not."""
    compare(Cluster(chance).live(steps), max_attempts=ceiling)


@pytest.mark.parametrize("seed", range(60))
def test_long_histories_change_no_number(seed: int) -> None:
    """Drawn evenly, where hypothesis prefers what is short."""
    compare(Cluster(Random(seed)).live(300), scope=[*SCOPES.values()][seed % len(SCOPES)])


@pytest.mark.parametrize("name", NAMES)
def test_a_recorded_trace_says_the_same_both_ways(name: str) -> None:
    """Flush by flush, with a tick each second."""
    pair, stream = Pair(), messages(name)
    ticked = int(stream[0].at)
    for message in stream:
        while ticked + 1 <= message.at:
            ticked += 1
            if message.away:
                pair.do(Deed(ticked, "deaf"))
            pair.do(Deed(ticked, "flush" if ticked % FLUSH == 0 else "tick"))
        pair.do(Deed(message.at, "feed", message.body))
    for seconds in (1.5, 100.0, 1000.0):
        pair.do(Deed(stream[-1].at + seconds, "flush"))
    short, long = pair.both
    assert len(long._passages) == 0 < short._lanes.totals.total()


# What chance hardly ever draws.


def told_both_ways(now: float, *told: tuple[float, Event]) -> dict[str, Any]:
    """What both say at `now`, after events that came at their times, without a tick between."""
    pair = Pair()
    for at, event in told:
        pair.do(Deed(at, "feed", body(event)))
    short, long = (counters(pipeline.flush(now)) for pipeline in pair.both)
    assert short == long
    return short


def test_a_usual_task_that_is_received_leaves_another_behind() -> None:
    """Of the same queue, sent long before."""
    app, worker, later = client(), Process(), NOON + OVERTAKEN + 1
    found = told_both_ways(
        later + 1,
        (NOON, app.sent("a", NOON)),
        (later, app.sent("b", later)),
        (later, worker.received("b", later)),
    )
    assert 1 == found["cluster", "all", "unseen"]


def test_what_waited_for_its_receipt_counts_among_what_runs() -> None:
    """At the same look at which it is counted in: the worker runs one, and two began."""
    worker = Process()
    found = told_both_ways(
        NOON + 103,
        (NOON, worker.started("x", NOON)),
        (NOON, worker.received("a", NOON + 1)),
        (NOON, worker.started("a", NOON + 1)),
        (NOON + 100, worker.beat(NOON + 100, 2, active=1)),
        (NOON + 102, worker.beat(NOON + 102, 2, active=1)),
    )
    assert 1 == found["cluster", "all", "unreported"] == found["cluster", "all", "found"]
