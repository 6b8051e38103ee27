"""Floods and poison: memory stays under its bounds, what they cost is counted to the unit, and
whatever the events hold nothing is raised and nothing unsafe is written.

FAULTS=long runs a million of each through one process (10 minutes on two cores).
"""

import json
import os
import subprocess
import sys
from collections import Counter
from functools import cache

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from celery_statsd.aggregator import OTHER
from celery_statsd.chronicle import KEPT
from celery_statsd.events import LONGEST_NAME
from celery_statsd.metric import Batch
from celery_statsd.outlet import MAILBOX
from celery_statsd.pipeline import Pipeline
from celery_statsd.queues import MOST_KNOWN
from celery_statsd.task import MOST_OPEN
from tests import flood
from tests.bodies import NOON, Event, Process, body, client, iso, patiently
from tests.flood import Taken, pour, stream
from tests.servers.process import REPOSITORY
from tests.test_pipeline import BODIES, assert_balanced, assert_sound

NUMBER = 1500
"""Messages of each flood."""

BOUNDS = {"max_attempts": 500, "max_series": 1000, "max_workers": 100}

STAGES = ("sent", "received", "on_arrival", "found", "started", "succeeded", "failed", "revoked",
          "unreported", "lost")  # fmt: skip

MIB = 1024 * 1024


@cache
def flooded(kind: flood.Flood) -> tuple[Pipeline, Taken]:
    """A pipeline of small bounds after a flood of 40 seconds, and what it gave: to be looked at."""
    pipeline = Pipeline(**BOUNDS)  # type: ignore[arg-type]
    return pipeline, pour(pipeline, stream(kind, NUMBER, rate=NUMBER / 40.0))


@pytest.mark.parametrize(
    "kind",
    [*flood.LONG, flood.exceptions, flood.attempts, flood.sendings],
    ids=lambda k: k.__name__,
)
def test_a_flood_is_counted_to_the_unit_within_the_bounds(kind: flood.Flood) -> None:
    """The sums of each family are those of the cluster, every event is counted, and nothing grows
    past its bound."""
    pipeline, taken = flooded(kind)
    said = Counter(event["type"] for n in range(NUMBER) for event in kind(n, NOON))

    assert said["task-received"] == taken.of("cluster", "received")
    assert said["task-sent"] == taken.of("cluster", "sent") == taken.of("queue", "sent")
    for stage in STAGES:
        assert taken.of("cluster", stage) == taken.of("task", stage)
    for stage in STAGES[1:]:
        assert taken.of("cluster", stage) == taken.of("worker", stage)
    assert said.total() == taken.of("agent", "events_counted") == taken.of("agent", "events")
    assert_balanced(pipeline)
    assert BOUNDS["max_series"] * 2 >= taken.most_series
    assert max(BOUNDS["max_attempts"], 1) >= remembered(pipeline)
    assert BOUNDS["max_workers"] >= len(pipeline._roster._lives)
    assert {} == pipeline._tracker.queues.dump()["delivered"]


def test_tasks_that_never_end_are_forgotten_and_counted() -> None:
    """The oldest, one by one; those that are left are what runs."""
    pipeline, taken = flooded(flood.endless)
    forgotten = NUMBER - BOUNDS["max_attempts"]

    assert BOUNDS["max_attempts"] == pipeline.balance["running"] == remembered(pipeline)
    assert forgotten == taken.of("agent", "forgotten") == taken.of("cluster", "unreported")


@pytest.mark.parametrize(
    ("kind", "family", "metric"),
    [
        (flood.names, "task", "succeeded"),
        (flood.queues, "queue", "sent"),
        (flood.exceptions, "exception", "failed"),
    ],
)
def test_what_is_folded_is_counted(kind: flood.Flood, family: str, metric: str) -> None:
    """Each value of `other` is one that was folded, and the others are the entities' own."""
    _, taken = flooded(kind)
    values = [n for (_, entity, _), n in taken.counters.items() if entity == OTHER]
    timed = [n for (_, entity), n in taken.timed.items() if entity == OTHER]

    assert NUMBER == taken.of(family, metric)
    assert NUMBER > taken.of(family, metric, OTHER) > 0
    assert sum(values) + sum(timed) == taken.of("agent", "series_folded")


def test_workers_past_the_ceiling_are_forgotten_and_closed() -> None:
    """Those that were not heard for longest; their series make room for others."""
    pipeline, taken = flooded(flood.hosts)

    assert NUMBER - BOUNDS["max_workers"] == pipeline._roster.forgotten
    assert pipeline._roster.forgotten == taken.of("agent", "forgotten")
    known = {life.hostname for life in pipeline._roster}
    assert pipeline._aggregator._families["worker"].keys() <= known | {OTHER}


@pytest.mark.parametrize("kind", [flood.attempts, flood.sendings])
def test_one_task_has_its_own_bound(kind: flood.Flood) -> None:
    """The oldest of what it has open are given up, and counted."""
    pipeline = Pipeline()
    taken = pour(pipeline, stream(kind, MOST_OPEN + 500))
    given_up = 500
    in_flight = [n for _, _, n in pipeline._in_flight() if n]

    assert [MOST_OPEN] == in_flight
    assert given_up == taken.of("agent", "forgotten")
    assert (given_up if kind is flood.attempts else 0) == taken.of("cluster", "unreported")
    assert_balanced(pipeline)


def test_many_attempts_of_many_tasks_are_bounded_together() -> None:
    """The ceiling is of attempts: a thousand under one name are not one."""
    pipeline, worker = Pipeline(max_attempts=300), Process()
    for number in range(1000):
        pipeline.feed(body(worker.received(f"{number % 10}", NOON)), NOON)
    pipeline.tick(NOON + 1)

    assert 300 == pipeline.balance["reserved"] == remembered(pipeline)
    assert 1000 - 300 == pipeline.balance["unreported"]


def test_a_restart_at_the_ceiling_folds_nothing_more() -> None:
    """The series that were known are known; sums that wait for the next flush are kept."""
    batches = []
    for reborn in (False, True):
        pipeline = Pipeline(**BOUNDS)  # type: ignore[arg-type]
        pour(pipeline, stream(flood.names, 500))
        more = stream(flood.exceptions, 500, NOON + 10)
        for events in more:
            pipeline.feed(body(*events), NOON + 10)
        if reborn:
            state = msgspec.msgpack.decode(msgspec.msgpack.encode(pipeline.dump()))
            pipeline = Pipeline(**BOUNDS)  # type: ignore[arg-type]
            pipeline.load(state)
        pipeline.feed(body(*flood.names(501, NOON + 11)), NOON + 11)
        batches.append(pipeline.flush(NOON + 12))
    assert batches[0] == batches[1]


def test_no_gauge_stands_when_its_name_is_dropped() -> None:
    """What was written above 0 is written as 0 when it ends, though the name is forgotten by
    then: a StatsD would repeat the last value for ever."""
    pipeline, worker = Pipeline(), Process()
    pipeline.feed(body(worker.received("a", NOON, "shop.first"), worker.started("a", NOON)), NOON)
    assert 1.0 == gauge(pipeline.flush(NOON + 1), "shop.first", "running")
    pipeline.feed(body(worker.succeeded("a", NOON + 2)), NOON + 2)
    pipeline._tracker._most_names = 1
    pipeline.tick(NOON + 4)
    assert 0 == len(pipeline._tracker.in_flight)
    assert 0.0 == gauge(pipeline.flush(NOON + 5), "shop.first", "running")


def remembered(pipeline: Pipeline) -> int:
    """How many attempts it has in memory that wait or run."""
    return pipeline._tracker.size + pipeline._passages.size


def gauge(batch: Batch, entity: str, metric: str) -> float:
    (value,) = (n for s, n in batch.gauges if (s.entity, s.metric) == (entity, metric))
    return value


def test_long_names_are_cut_and_stay_themselves() -> None:
    """Of 10 kB each: two that differ in their last letter are two, and little of them is kept."""
    pipeline, app = Pipeline(), client()
    for end in "ab":
        long = "x" * 10_000 + end
        worker = Process(f"w@{long}", 1)
        sent = app.sent(long, NOON, name=long, queue=long)
        pipeline.feed(body(sent), NOON)
        pipeline.feed(body(worker.received(long, NOON, long), worker.started(long, NOON)), NOON)
        failed = worker.failed(long, NOON, exception=f"{long}('{long}')", traceback=long)
        pipeline.feed(body(failed), NOON)
    batch = pipeline.flush(NOON + 1)
    entities = Counter(family for family, _ in {(s.family, s.entity) for s, _ in batch.counters})

    assert {"received": 2, "failed": 2} == {word: n for word, n in pipeline.balance.items() if n}
    assert 2 == entities["task"] == entities["queue"] == entities["worker"]
    assert LONGEST_NAME >= max(map(len, strings(pipeline.dump())))
    assert_sound(batch)


def strings(value: object) -> list[str]:
    """All texts in a plain value."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for pair in value.items() for part in pair for text in strings(part)]
    if isinstance(value, list | tuple):
        return [text for item in value for text in strings(item)]
    return []


HOSTILE = (
    "a\nb:1|c", "x|g", "..", "@0.1", "#tag", ";k=v", "", " ", "\x00", "\u2028\u202e\U0001f600",
    "../../etc", "other", "all", "stats", "A" * 300,
)  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_injects_a_metric(name: str) -> None:
    """Every path keeps its depth and its alphabet."""
    pipeline, worker = Pipeline(), Process(f"w@{name}", 1)
    sent = client().sent("a", NOON, name=name, queue=name)
    failed = worker.failed("a", NOON, exception=f"{name}('x')")
    pipeline.feed(body(sent, worker.received("a", NOON, name), failed, worker.beat(NOON)), NOON)

    assert_sound(pipeline.flush(NOON + 1))
    assert 4 == pipeline.ledger.counted


@pytest.mark.parametrize("hour", [-3600.0, 3600.0])
def test_clocks_an_hour_off_bend_no_balance_and_no_time(hour: float) -> None:
    """A worker whose clock is wrong: its waits are told by the clocks' difference."""
    pipeline, worker, app = Pipeline(), Process(), client()
    for number in range(100):
        at = NOON + number
        pipeline.feed(body(app.sent(f"{number}", at)), at)
        pipeline.feed(body(worker.received(f"{number}", at + hour)), at)
        pipeline.feed(body(worker.started(f"{number}", at + hour + 0.25)), at + 0.25)
        pipeline.feed(body(worker.succeeded(f"{number}", at + hour + 0.5, 0.25)), at + 0.5)
    batch = pipeline.flush(NOON + 101)
    waits = {s.family: t for s, t in batch.timers if s.metric == "wait"}

    assert 100 == pipeline.balance["succeeded"]
    assert 0 == pipeline.balance["difference"]
    assert 250.0 == pytest.approx(waits["cluster"].upper, abs=1.0)
    assert NOON + 101 == batch.time


# Fuzz: lawful types, hostile fields, few uuids and hosts so that they meet, tiny bounds, restarts.

TIMES = st.sampled_from([NOON, NOON - 3600, NOON + 3600, NOON + 1, 0.0, 1e11])
FIELDS = {
    "hostname": st.sampled_from(["w1@a", "w2@a", "w\n|@b", "h" * 300]),
    "timestamp": TIMES,
    "pid": st.sampled_from([1, 2, None, -1, 2**63 - 1, 2**64, "x"]),
    "uuid": st.sampled_from(["u1", "u2", "", "u" * 300]),
    "name": st.sampled_from(["t1", "t2", None, "other", "t:1|c\n", 5]),
    "queue": st.sampled_from(["q1", None, "bcast.1", "q;#"]),
    "retries": st.sampled_from([0, 1, None, -1, 2**70, 1.5]),
    "runtime": st.sampled_from([0.5, None, -1.0, 1e308, "x"]),
    "exception": st.sampled_from(["E('x')", None, "NotRegistered('t1')", "a.b.C(1)", 7]),
    "traceback": st.sampled_from(["", None, "x\n  y\nm.E: z", "\n \n"]),
    "terminated": st.sampled_from([True, False, None, 1]),
    "eta": st.sampled_from([None, iso(NOON + 5), "soon"]),
    "expires": st.sampled_from([None, iso(NOON + 5), iso(NOON - 5), "9999-12-31T23:59:59"]),
    "processed": st.sampled_from([0, 1, 5, 10**12, 2**53, None, -1]),
    "active": st.sampled_from([0, 1, None, 2**53]),
    "freq": st.sampled_from([2.0, 0.0, 1e11, None]),
    "loadavg": st.sampled_from([[0.1, 0.2, 0.3], [], [1] * 4, None, [1e9]]),
}
TYPES = st.sampled_from(
    [f"task-{word}" for word in (
        "sent", "received", "started", "succeeded", "failed", "retried", "revoked", "rejected",
        "cancelled", "made-up",
    )] + ["worker-online", "worker-heartbeat", "worker-offline"]
)  # fmt: skip


@st.composite
def rows(draw: st.DrawFn) -> Event:
    """An event of Celery's types whose fields may be anything; its clock makes it a new one."""
    row = {name: draw(values) for name, values in FIELDS.items()}
    return {**row, "type": draw(TYPES), "clock": draw(st.integers(0, 10**6))}


STEPS = st.one_of(
    st.lists(rows(), min_size=1, max_size=4).map(lambda events: json.dumps(events).encode()),
    BODIES,
    st.sampled_from([0.0, 0.5, 3.0, 40.0, 700.0, -5.0]),
    st.sampled_from(["flush", "restart", "deaf", "last"]),
)


@patiently
@given(st.lists(STEPS, max_size=25))
def test_nothing_raises_and_nothing_is_missing(steps: list[bytes | float | str]) -> None:
    """Whatever comes, whenever ticks, flushes and restarts come between: the ledger and the
    balance hold, and what is written is sound."""
    bounds = {"max_attempts": 3, "max_workers": 2, "max_series": 60, "reservoir": 2}
    pipeline, now = Pipeline(**bounds), NOON  # type: ignore[arg-type]
    pipeline.begin(now)
    for step in steps:
        if isinstance(step, bytes):
            pipeline.feed(step, now)
        elif isinstance(step, float):
            now += step
            pipeline.tick(now)
        elif step == "restart":
            state = msgspec.msgpack.decode(msgspec.msgpack.encode(pipeline.dump()))
            pipeline = Pipeline(**bounds)  # type: ignore[arg-type]
            pipeline.load(state)
        elif step == "deaf":
            pipeline.deaf(now)
        else:
            assert_sound(pipeline.flush(now, last=step == "last"))
        assert_balanced(pipeline)
    pipeline.settle(now)
    assert_sound(pipeline.flush(now + 5000))
    assert_balanced(pipeline)


def test_a_restart_sends_again_what_a_mailbox_takes() -> None:
    """More would be given up by the outlet at once."""
    assert MAILBOX == KEPT


# The long form.

PER_ATTEMPT, PER_SERIES, PER_WORKER, BASE = 1000, 1600, 2000, 60 * MIB
"""Bytes: see "Bounds" in the README."""

NUMBER = 1_000_000 if os.environ.get("FAULTS") == "long" else 12_000
"""Of each kind of thing; the long form takes a quarter of an hour."""


@pytest.mark.timeout(3600)
def test_a_flood_of_each_kind_stays_under_the_bound() -> None:
    """So many hosts, endless tasks, task names and queues, in one process of the default bounds:
    it lives, everything is counted, and it was never larger than the formula says."""
    command = [sys.executable, "-m", "tests.flood", str(NUMBER)]
    child = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    told = json.loads(child.stdout)
    rows = {(family, metric): n for family, entity, metric, n in told["counters"] if not entity}
    counters = Counter(rows)  # what never happened was not told
    bound = BASE + 100_000 * PER_ATTEMPT + 100_000 * PER_SERIES + 5000 * PER_WORKER

    assert told["balanced"]
    assert 0 == told["difference"]
    assert 11 * NUMBER == counters["agent", "events_counted"]
    for family in ("cluster", "task", "worker"):
        assert 4 * NUMBER == counters[family, "received"]
        assert NUMBER == counters[family, "succeeded"]
        assert 2 * NUMBER == counters[family, "revoked"]
    assert NUMBER == counters["queue", "sent"] == counters["cluster", "sent"]
    forgotten_workers, forgotten_tasks = NUMBER + 1 - 5000, max(0, NUMBER - 100_000)
    forgotten = forgotten_workers + forgotten_tasks + NUMBER - MOST_KNOWN
    assert forgotten == counters["agent", "forgotten"]
    assert forgotten_tasks == counters["cluster", "unreported"]
    assert min(NUMBER, 100_000) == told["running"]
    assert bound > told["peak_bytes"]
