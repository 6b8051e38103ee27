"""The short way of usual tasks changes no number: whatever a cluster does, and whatever of it is
heard, all is as if the tracker had seen every event."""

from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from celery_statsd.events import Started
from celery_statsd.life import Life
from celery_statsd.metric import Batch
from celery_statsd.pipeline import Pipeline
from celery_statsd.scope import Scope
from tests.bodies import patiently
from tests.cluster import Cluster, Deed
from tests.test_pipeline import assert_balanced

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

    pipeline._usual = dict.fromkeys(pipeline._usual, refuse)
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


@pytest.mark.parametrize("scope", SCOPES)
@patiently
@given(chance=st.randoms(use_true_random=False), steps=st.sampled_from((20, 100, 300)))
def test_the_short_way_changes_no_number(chance: Random, steps: int, scope: str) -> None:
    """Whatever a cluster does: each flush says the same."""
    compare(Cluster(chance).live(steps), scope=SCOPES[scope])
