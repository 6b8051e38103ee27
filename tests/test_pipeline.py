"""The river as a whole: exact totals for whatever a lawful cluster sends, in any order its
processes are heard and wherever ticks and flushes fall; and no way to make it raise."""

import json
import math
import re
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celery_statsd.metric import Batch, Kind
from celery_statsd.pipeline import KINDS, Pipeline
from tests.bodies import (
    ENDS, NOON, UNRECEIVED, Event, Process, Stream, body, client, iso, merged, patiently, streams,
)
from tests.traces import NAMES, Sums, messages

ONCE = (*ENDS, "expired", "runs")
TWICE = ("failed twice", "revoked twice")

PATH = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+){5}")
"""A path of the default depth: prefix, app, family, entity, metric, reporter."""


def assert_balanced(pipeline: Pipeline) -> None:
    """Nothing is missing at a flush."""
    assert pipeline.balance["difference"] == 0, pipeline.balance
    assert pipeline.ledger.balanced(), pipeline.ledger


def flushed(pipeline: Pipeline, sums: Sums, now: float) -> Batch:
    batch = pipeline.flush(now)
    sums.take(batch)
    assert_balanced(pipeline)
    return batch


def concluded(totals: Counter[tuple[str, str]]) -> dict[tuple[str, str], int]:
    return {key: number for key, number in totals.items() if number}


@st.composite
def runs(
    draw: st.DrawFn, ends: tuple[str, ...], beats: bool, pauses: tuple[float, ...]
) -> tuple[Stream, list[tuple[float, str, Event | None]]]:
    """A stream, and what is done with it: events fed (some more than once), time passing by one of
    `pauses` (seconds), ticks and flushes wherever they fall."""
    stream = draw(streams(ends, beats=beats))
    now, deeds = NOON, []
    for event in merged(draw, stream):
        for deed in ("feed", *draw(st.lists(st.sampled_from(("feed", "tick", "flush")), max_size=2))):
            now += draw(st.sampled_from(pauses))
            deeds.append((now, deed, event))
    return stream, deeds


def after(deeds: list[tuple[float, str, Event | None]], pipeline: Pipeline) -> Sums:
    sums, now = Sums(), NOON
    for now, deed, event in deeds:
        if deed == "feed":
            pipeline.feed(body(event), now)
        elif deed == "tick":
            pipeline.tick(now)
        else:
            flushed(pipeline, sums, now)
    flushed(pipeline, sums, now + 1.5)
    return sums


@patiently
@given(runs((*ONCE, *TWICE, *UNRECEIVED), beats=True, pauses=(0.0, 0.004)))
def test_totals_do_not_depend_on_how_processes_are_heard(run):
    """Any mixture of the processes, any doubles, ticks and flushes anywhere: the totals of each
    task are those of what happened, as long as the whole is heard within PROVISIONAL seconds."""
    stream, deeds = run
    assert concluded(stream.totals) == after(deeds, Pipeline()).by("task")


@patiently
@given(runs((*ONCE, *TWICE), beats=False, pauses=(0.0, 0.5, 400.0)))
def test_time_changes_no_totals_of_what_was_received(run):
    """Processes may be heard hours apart, where nothing is concluded from time: no heart beats
    (whose silence would be a death), and no end without a receipt (which waits PROVISIONAL
    seconds for the publication that has its name, and is then told as `unknown`)."""
    stream, deeds = run
    assert concluded(stream.totals) == after(deeds, Pipeline()).by("task")


@patiently
@given(
    st.one_of(streams(("succeeded", "expired", "runs")), streams((*ONCE, *UNRECEIVED), most=1)),
    st.data(),
)
def test_any_order_at_all_gives_the_same_totals(stream, data):
    """Even when each process is heard out of its order, as threads and bridges may do: any
    permutation, some events doubled, gives the totals of what happened.

    Here invariance ends where order is all that could tell: second ends, ends that look like one
    beside another attempt of the same process, and heartbeats, which judge what came before them.
    """
    events = data.draw(st.permutations(stream.events))
    again = data.draw(st.lists(st.sampled_from(events), max_size=5))
    pipeline, sums = Pipeline(), Sums()
    for event in (*events, *again):
        pipeline.feed(body(event), NOON)
    flushed(pipeline, sums, NOON + 1.5)
    assert len(again) == pipeline.ledger.doubled
    assert concluded(stream.totals) == sums.by("task")


# Hostile input.

FRAGMENTS = (
    "null", "true", "0", "-1", "1e308", "-1e308", "1e999", "NaN", "-Infinity", "9" * 400,
    "9" * 5000, "-" + "9" * 19, '""', '"x"', '"\\ud800"', '"\\u0000\\n|:@#;"', '"\u2028.\u00e9"',
    json.dumps("x" * 10_000), json.dumps("." * 300), "[]", "[[[0]]]", "[1e308, 1]", "{}",
    '{"a": {"type": 1}}', "[" * 5000 + "]" * 5000, '"task-sent"', '"2999-01-01T00:00:00"',
    '"0001-01-01T00:00:00+23:59"', '"9999-12-31T23:59:59-23:59"', "1e-320", "-0.0",
)  # fmt: skip
"""JSON texts (and what some take for it) that a field could hold."""

SAMPLES = tuple(
    {event["type"]: event for name in NAMES for message in messages(name) for event in message.events}.values()
)
"""A real event of each type."""

FIELDS = tuple(sorted({field for event in SAMPLES for field in event}))


@st.composite
def spoiled(draw: st.DrawFn) -> str:
    """The JSON text of a real event, some of its fields replaced, missing or added."""
    texts = {name: json.dumps(value) for name, value in draw(st.sampled_from(SAMPLES)).items()}
    for field in draw(st.lists(st.sampled_from(FIELDS), max_size=3)):
        texts[field] = draw(st.sampled_from(FRAGMENTS))
    for field in draw(st.lists(st.sampled_from(sorted(texts)), max_size=2)):
        texts.pop(field, None)
    return "{" + ", ".join(f"{json.dumps(name)}: {text}" for name, text in texts.items()) + "}"


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
BODIES = st.one_of(
    st.binary(max_size=200),
    JSONS.map(lambda value: json.dumps(value).encode()),
    spoiled().map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.lists(spoiled(), max_size=4).map(lambda texts: f"[{', '.join(texts)}]".encode()),
    st.sampled_from(FRAGMENTS).map(str.encode),
)


def events_in(raw: bytes) -> int:
    """How many events a body must count as."""
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return 1
    return len(value) if isinstance(value, list) else 1


def assert_sound(batch: Batch) -> None:
    """Every name is safe and every number is one."""
    for rows in (batch.counters, batch.gauges, batch.timers):
        for series, _ in rows:
            assert PATH.fullmatch(series.path), series
    assert [] == [row for row in batch.counters if not 0 <= row[1] < 2**63]
    assert [] == [row for row in batch.gauges if not abs(row[1]) < 2**63]
    values = [value for _, timing in batch.timers for value in (*timing.values, timing.total)]
    assert [] == [value for value in values if not 0.0 <= value < 2**63]


@patiently
@given(st.lists(BODIES, max_size=12))
def test_hostile_bodies_are_counted_and_nothing_else(raws):
    """Whatever a body holds nothing is raised, each event lands in one bucket, the balance holds,
    and what is written has safe names and sound numbers."""
    pipeline, sums = Pipeline(), Sums()
    for number, raw in enumerate(raws):
        before = pipeline.ledger.events
        pipeline.feed(raw, NOON + number)
        assert pipeline.ledger.events - before == events_in(raw)
        pipeline.tick(NOON + number)
        assert_balanced(pipeline)
    for seconds in (20, 400, 5000):
        assert_sound(flushed(pipeline, sums, NOON + seconds))
