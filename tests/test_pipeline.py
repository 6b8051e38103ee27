"""The river as a whole: exact totals for whatever a lawful cluster sends, in any order its
processes are heard and wherever ticks and flushes fall; and no way to make it raise."""

import json
import re
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from celery_statsd.metric import Batch, Kind
from celery_statsd.pipeline import Pipeline
from celery_statsd.roster import FORGOTTEN_AFTER
from celery_statsd.rules import FAMILIES
from celery_statsd.scope import Scope
from celery_statsd.scribe import KINDS
from tests.bodies import (
    ENDS,
    NOON,
    UNRECEIVED,
    Event,
    Process,
    Stream,
    body,
    client,
    iso,
    merged,
    patiently,
    streams,
)
from tests.traces import NAMES, Sums, messages

ONCE = (*ENDS, "expired", "runs")
TWICE = ("failed twice", "revoked twice")

LONGEST_RUN = FORGOTTEN_AFTER - 10.0
"""Seconds: of a process that was silent for longer nothing is known any more."""

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
        for deed in (
            "feed",
            *draw(st.lists(st.sampled_from(("feed", "tick", "flush")), max_size=2)),
        ):
            now = min(now + draw(st.sampled_from(pauses)), NOON + LONGEST_RUN)
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
    """Processes may be heard an hour apart, where nothing is concluded from time: no heart beats
    (whose silence would be a death), and no end without a receipt (which waits PROVISIONAL
    seconds for the publication that has its name, and is then told as `unknown`)."""
    stream, deeds = run
    assert concluded(stream.totals) == after(deeds, Pipeline()).by("task")


@patiently
@given(
    st.one_of(streams(("succeeded", "runs")), streams((*ONCE, *UNRECEIVED), most=1)),
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


# One law after the other.


def gauges(batch: Batch) -> dict[tuple[str, str, str], float]:
    return {(s.family, s.entity, s.metric): value for s, value in batch.gauges}


def counters(batch: Batch) -> dict[tuple[str, str, str], int]:
    return {(s.family, s.entity, s.metric): value for s, value in batch.counters if value}


def test_a_task_is_counted_where_it_belongs():
    """In the whole cluster, under its name, its worker, its queue and its exception."""
    pipeline, worker = Pipeline(host="web1"), Process()
    pipeline.begin(NOON)
    sent = client().sent("a", NOON, name="shop.pay", queue="q.pay")
    pipeline.feed(body(sent), NOON)
    told = (worker.received("a", NOON), worker.started("a", NOON), worker.failed("a", NOON))
    pipeline.feed(body(*told), NOON)
    batch = pipeline.flush(NOON + 10)
    found = counters(batch)
    for word in ("received", "started", "failed"):
        for family, entity in (("cluster", "all"), ("task", "shop.pay"), ("worker", "w1@web1")):
            assert 1 == found.pop((family, entity, word))
    assert {
        ("cluster", "all", "sent"): 1,
        ("task", "shop.pay", "sent"): 1,
        ("queue", "q.pay", "sent"): 1,
        ("exception", "KeyError", "failed"): 1,
        ("agent", "web1", "events"): 4,
        ("agent", "web1", "events_counted"): 4,
        ("agent", "web1", "ticks"): 1,
    } == found
    assert (NOON + 10, 10.0) == (batch.time, batch.interval)


def test_what_is_in_flight_is_a_gauge():
    """Counted at each flush, by name and in all; a name that was seen stays, at 0."""
    pipeline, worker, other = Pipeline(), Process(), client()
    pipeline.feed(body(other.sent("a", NOON), other.sent("b", NOON), other.sent("c", NOON)), NOON)
    pipeline.feed(body(worker.received("a", NOON), worker.received("b", NOON)), NOON)
    pipeline.feed(body(worker.started("a", NOON)), NOON)
    first = gauges(pipeline.flush(NOON + 1))
    for stage in ("queued", "reserved", "running"):
        assert 1 == first["cluster", "all", stage] == first["task", "shop.pay", stage]
    pipeline.feed(body(worker.succeeded("a", NOON)), NOON)
    second = gauges(pipeline.flush(NOON + 2))
    assert 0 == second["cluster", "all", "running"] == second["task", "shop.pay", "running"]
    assert 3 == first["agent", "localhost", "attempts"]
    assert 2 == second["agent", "localhost", "attempts"]


def test_each_event_lands_in_one_bucket():
    """Counted, doubled, bad or dropped, each with its reason."""
    pipeline, worker = Pipeline(), Process()
    told = (
        worker.received("a", NOON), worker.started("a", NOON),
        worker.revoked("a", NOON, terminated=True),
    )  # fmt: skip
    for event in (*told, told[0], worker.revoked("a", NOON + 1, terminated=True)):
        pipeline.feed(body(event), NOON + 1)
    pipeline.feed(body(worker.says("task-progress", NOON, uuid="a"), {"type": "task-sent"}), NOON)
    pipeline.feed(b"junk", NOON)
    pipeline.refuse("pickle")
    ledger = pipeline.ledger
    assert (9, 3, 1) == (ledger.events, ledger.counted, ledger.doubled)
    assert {"bad_field": 1, "not_json": 1, "pickle": 1} == ledger.bad
    assert {"custom": 1, "second_end": 1} == ledger.dropped
    found = counters(pipeline.flush(NOON + 10))
    vitals = {metric: n for (family, _, metric), n in found.items() if family == "agent"}
    assert {
        "events": 9, "events_counted": 3, "events_doubled": 1, "events_bad": 3,
        "events_dropped": 2, "ticks": 1,
    } == vitals  # fmt: skip


def test_the_same_moment_of_another_process_is_no_double():
    """An event is itself by host, pid, clock and timestamp, all four."""
    pipeline, event = Pipeline(), Process().started("a", NOON)
    for field, value in (
        ("hostname", "w2@web1"),
        ("pid", 7),
        ("clock", 9),
        ("timestamp", NOON + 1),
    ):
        pipeline.feed(body({**event, field: value}), NOON)
    pipeline.feed(body(event), NOON)
    assert 0 == pipeline.ledger.doubled
    pipeline.feed(body({**event, "uuid": "b"}), NOON)
    assert 1 == pipeline.ledger.doubled


def test_durations_never_go_negative():
    """What the clocks made negative is 0, what is absurd is left out; both are counted."""
    pipeline, worker, other = Pipeline(), Process(), client()
    pipeline.feed(body(other.sent("a", NOON + 0.5), worker.received("a", NOON)), NOON + 1)
    pipeline.feed(body(worker.started("a", NOON)), NOON + 1)
    pipeline.feed(body(worker.succeeded("a", NOON, runtime=1e12)), NOON + 1)
    batch = pipeline.flush(NOON + 2)
    times = {s.metric: t.values for s, t in batch.timers if s.family == "cluster"}
    assert {"wait": (0.0,), "prefetch": (0.0,)} == times
    assert 2 == pipeline.clamped == counters(batch)["agent", "localhost", "timers_clamped"]


def test_the_skew_of_a_sender_is_measured():
    """A client whose clock is an hour behind: what its tasks waited is put right."""
    pipeline, worker = Pipeline(), Process()
    pipeline.feed(body(client().sent("a", NOON - 3600)), NOON)
    pipeline.feed(body(worker.received("a", NOON)), NOON)
    pipeline.feed(body(worker.started("a", NOON + 2)), NOON + 2)
    times = {s.metric: t.values for s, t in pipeline.flush(NOON + 3).timers if s.family == "queue"}
    assert {"wait": (2000.0,)} == times


def test_a_backlog_is_seen_in_the_lag():
    """From the making of a message's last event to its arrival."""
    pipeline, worker = Pipeline(), Process()
    pipeline.feed(body(worker.received("a", NOON), worker.started("a", NOON + 1)), NOON + 61)
    times = {s.metric: t.values for s, t in pipeline.flush(NOON + 61).timers if s.family == "agent"}
    assert {"event_lag": (60_000.0,)} == times


def test_workers_are_gauges_until_they_are_gone():
    """What a heartbeat says, then `offline` and a last 0, then nothing."""
    pipeline, worker = Pipeline(), Process()
    pipeline.feed(body(worker.beat(NOON, 5, active=2)), NOON)
    first = gauges(pipeline.flush(NOON + 1))
    assert (1, 2, 5) == tuple(first["worker", "w1@web1", m] for m in ("up", "active", "processed"))
    pipeline.feed(body(worker.offline(NOON + 2, 5)), NOON + 2)
    second = pipeline.flush(NOON + 10)
    assert 1 == counters(second)["worker", "w1@web1", "offline"]
    closed = {key: value for key, value in gauges(second).items() if key[0] == "worker"}
    assert {0.0} == set(closed.values())
    assert {key for key in first if key[0] == "worker"} == set(closed)
    third = pipeline.flush(NOON + 20)
    assert not [
        series for series, _ in (*third.gauges, *third.counters) if series.family == "worker"
    ]


def test_nobody_dies_while_we_are_deaf():
    """The broker was away: silence means nothing."""
    pipeline = Pipeline()
    pipeline.feed(body(Process().beat(NOON)), NOON)
    pipeline.deaf(NOON + 60)
    assert ("worker", "w1@web1", "offline") not in counters(pipeline.flush(NOON + 60))
    assert 1 == counters(pipeline.flush(NOON + 70))["worker", "w1@web1", "offline"]


def test_numbers_from_outside():
    """A counter's growth, a gauge's value, a timer's seconds; a total is taken by its growth."""
    pipeline = Pipeline()
    pipeline.note("broker", "main", "reconnects", 2)
    pipeline.note("broker", "main", "up", 1)
    pipeline.note("agent", "localhost", "flush", 0.25)
    pipeline.grow("agent", "localhost", "sink_bytes", 100)
    pipeline.grow("agent", "localhost", "sink_bytes", 150)
    batch = pipeline.flush(NOON)
    assert 2 == counters(batch)["broker", "main", "reconnects"]
    assert 1 == gauges(batch)["broker", "main", "up"]
    assert [("flush", (250.0,))] == [(s.metric, t.values) for s, t in batch.timers]
    assert 150 == counters(batch)["agent", "localhost", "sink_bytes"]
    pipeline.grow("agent", "localhost", "sink_bytes", 160)
    assert 10 == counters(pipeline.flush(NOON + 1))["agent", "localhost", "sink_bytes"]


def test_the_farewell_leaves_nothing_standing():
    """Nothing is waited for, and every gauge that was ever sent ends at 0."""
    pipeline, worker = Pipeline(), Process()
    pipeline.feed(body(worker.beat(NOON, 1, active=1)), NOON)
    pipeline.feed(body(worker.received("a", NOON)), NOON)
    pipeline.flush(NOON + 0.1)
    pipeline.feed(body(worker.started("b", NOON)), NOON + 0.2)
    pipeline.settle(NOON + 0.3)
    last = pipeline.flush(NOON + 0.3, last=True)
    assert 1 == counters(last)["cluster", "all", "found"]
    assert {0.0} == set(gauges(last).values())
    assert {"running", "reserved", "up", "attempts"} <= {metric for _, _, metric in gauges(last)}


def test_the_totals_lead_every_batch():
    """The cluster's counters come first, so that they travel in one datagram."""
    pipeline = Pipeline()
    pipeline.feed(body(Process().received("a", NOON)), NOON)
    families = [series.family for series, _ in pipeline.flush(NOON + 1).counters]
    assert families == sorted(families, key=FAMILIES.index)
    assert "cluster" == families[0]


def test_series_are_bounded_and_folding_is_counted():
    """A flood of names goes to `other`; the sum of the tasks is still the cluster's."""
    pipeline, worker = Pipeline(max_series=200), Process()
    for number in range(100):
        pipeline.feed(body(worker.received(f"{number}", NOON, name=f"task{number}")), NOON)
    batch = pipeline.flush(NOON + 1)
    found = counters(batch)
    of_tasks = {key[1]: n for key, n in found.items() if (key[0], key[2]) == ("task", "received")}
    assert 100 == found["cluster", "all", "received"] == sum(of_tasks.values())
    assert of_tasks["other"] > 80
    assert found["agent", "localhost", "series_folded"] >= of_tasks["other"]
    assert 400 > len(batch.counters) + len(batch.gauges)


def test_every_metric_has_one_kind():
    """What is noted from outside is looked up by family and metric."""
    assert {Kind.COUNTER, Kind.GAUGE, Kind.TIMER} == set(KINDS.values())


def test_an_expiry_reaches_the_metrics():
    """A row of the catalogue for what is concluded."""
    pipeline = Pipeline()
    pipeline.feed(body(client().sent("a", NOON, expires=iso(NOON + 1))), NOON)
    assert 1 == counters(pipeline.flush(NOON + 10))["task", "shop.pay", "expired"]


# Hostile input.

FRAGMENTS = (
    "null", "true", "0", "-1", "1e308", "-1e308", "1e999", "NaN", "-Infinity", "9" * 400,
    "9" * 5000, "-" + "9" * 19, '""', '"x"', '"\\ud800"', '"\\u0000\\n|:@#;"', '"\u2028.\u00e9"',
    json.dumps("x" * 10_000), json.dumps("." * 300), "[]", "[[[0]]]", "[1e308, 1]", "{}",
    '{"a": {"type": 1}}', "[" * 5000 + "]" * 5000, '"task-sent"', '"2999-01-01T00:00:00"',
    '"0001-01-01T00:00:00+23:59"', '"9999-12-31T23:59:59-23:59"', "1e-320", "-0.0",
)  # fmt: skip
"""JSON texts (and what some take for it) that a field could hold."""

RECORDED = [event for name in NAMES for message in messages(name) for event in message.events]
SAMPLES = tuple({event["type"]: event for event in RECORDED}.values())
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
        value = json.loads(raw, parse_int=len)
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


def parts(number: int) -> list[Pipeline]:
    """One pipeline for each part of a cluster."""
    scopes = [Scope(f"p{k}", partition=k, partitions=number) for k in range(1, number + 1)]
    return [Pipeline(scope=scope, host=scope.reporter) for scope in scopes]


@patiently
@given(streams(tuple(ENDS), beats=True), st.integers(2, 4))
def test_the_parts_of_a_cluster_come_to_its_sums(stream: Stream, number: int) -> None:
    """Each worker's events go to one part, all publications to all: together they count what one
    pipeline does that hears everything, each publication once."""
    whole, shared = Pipeline(), parts(number)
    sums, parted = Sums(), Sums()
    for event in stream.events:
        sender = event["hostname"]
        whole.feed(body(event), NOON)
        sent = event["type"] == "task-sent"
        part = sum(sender.encode()) % number
        for pipeline in shared if sent else shared[part : part + 1]:
            pipeline.feed(body(event), NOON)
    flushed(whole, sums, NOON + 1.5)
    for pipeline in shared:
        batch = flushed(pipeline, parted, NOON + 1.5)
        assert [] == [s.path for s, _ in batch.gauges if s.metric == "queued"]
    stages = ("sent", "received", "started", "succeeded", "failed", "retried", "revoked")

    assert {s: sums.counters["cluster", "all", s] for s in stages} == {
        s: parted.counters["cluster", "all", s] for s in stages
    }


def test_a_publication_of_another_part_is_in_the_ledger() -> None:
    """Dropped, by a name of its own: each part's ledger adds up."""
    shared = parts(3)
    for pipeline in shared:
        pipeline.feed(body(client().sent("t1", NOON)), NOON)

    assert [0, 0, 1] == sorted(pipeline.ledger.counted for pipeline in shared)
    assert 2 == sum(pipeline.ledger.dropped["shared"] for pipeline in shared)
    assert all(pipeline.ledger.balanced() for pipeline in shared)


def test_a_part_says_nothing_of_what_waits() -> None:
    """It would call expired or unseen what another part received."""
    pipeline = Pipeline(scope=Scope("web1", frozenset({"app1"})))
    pipeline.feed(body(client().sent("t1", NOON, expires=iso(NOON + 5))), NOON)
    pipeline.tick(NOON + 1000)
    batch = pipeline.flush(NOON + 1001)
    said = {series.metric: total for series, total in batch.counters if series.family == "cluster"}

    assert (1, 0, 0) == (said["sent"], said["expired"], said["unseen"])
    assert "queued" not in {series.metric for series, _ in batch.gauges}
    assert {"web1"} == {
        series.path.rpartition(".")[2] for series, _ in batch.counters if series.family == "cluster"
    }


def test_its_own_numbers_can_be_told_alone() -> None:
    """All else goes on adding up, and is told at the next flush."""
    pipeline, worker = Pipeline(host="me"), Process()
    pipeline.feed(body(worker.received("t1", NOON)), NOON)
    own = pipeline.flush_own(NOON + 1)
    pipeline.feed(body(worker.received("t2", NOON)), NOON)
    batch = pipeline.flush(NOON + 2)

    assert {"agent"} == {series.family for series, _ in own.counters}
    told = [{s.metric: n for s, n in one.counters if s.family == "agent"} for one in (own, batch)]
    assert [1, 1] == [one["events"] for one in told]
    assert [1, 1] == [one["ticks"] for one in told]
    received = [n for s, n in batch.counters if (s.family, s.metric) == ("cluster", "received")]
    assert [2] == received


def test_a_part_follows_no_publication_whose_receipt_came_to_nothing() -> None:
    """Its message went back to the queue: who takes it next may be in another part. Nothing waits
    here, and the next flush comes."""
    pipeline, worker = Pipeline(scope=Scope("p1", partition=1, partitions=2)), Process()
    pipeline.feed(body(client().sent("t1", NOON)), NOON)
    pipeline.feed(body(worker.received("t1", NOON)), NOON)
    pipeline.feed(body(worker.beat(NOON, 0)), NOON)
    pipeline.feed(body(worker.offline(NOON + 1, 0)), NOON + 1)
    for second in range(2, 120):
        pipeline.tick(NOON + second)
    batch = pipeline.flush(NOON + 120)
    said = {series.metric: total for series, total in batch.counters if series.family == "cluster"}

    assert 1 == said["returned"]
    assert "queued" not in {series.metric for series, _ in batch.gauges}
