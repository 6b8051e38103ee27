"""A recorded stream, once more: its clock, its gaps, its flushes, and what it adds up to."""

import io
import json
import socket
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celery_statsd.errors import ConfigError
from celery_statsd.metric import Batch
from celery_statsd.pipeline import Pipeline
from celery_statsd.recording import Cue, Recorded, entries
from celery_statsd.replay import LONGEST_LEAP, Totals, as_text, follow, paced, replay, report, sent
from celery_statsd.sinks import sink_from
from celery_statsd.sinks.memory import MemorySink
from tests.servers.process import free_port
from tests.traces import FOLDER, NAMES
from tests.traces import messages as trace_messages
from tests.traces import replay as trace_replay

START = 1_700_000_000.0


class Listed(Pipeline):
    """A pipeline that also writes down what it is asked, in its order."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, float]] = []

    def begin(self, now: float) -> None:
        """Noted."""
        self.asked.append(("begin", now))
        super().begin(now)

    def feed(self, body: bytes, now: float) -> None:
        """Noted."""
        self.asked.append(("feed", now))
        super().feed(body, now)

    def tick(self, now: float) -> None:
        """Noted."""
        self.asked.append(("tick", now))
        super().tick(now)

    def deaf(self, now: float) -> None:
        """Noted."""
        self.asked.append(("deaf", now))
        super().deaf(now)

    def flush(self, now: float, last: bool = False) -> Batch:
        """Noted, without the tick that is a part of it."""
        noted = [*self.asked, ("flush", now)]
        found = super().flush(now, last)
        self.asked = noted
        return found

    def times(self, what: str) -> list[float]:
        """When `what` was asked, in seconds from START."""
        return [now - START for asked, now in self.asked if asked == what]


def row(batch: int, received: float, **fields: Any) -> dict[str, Any]:
    """One line of a recording, `received` seconds after START."""
    event = {"type": "task-received", "hostname": "w@h", "pid": 7, "uuid": f"u{batch}", "name": "t"}
    recorder = {"_batch": batch, "_received": START + received, "_routing_key": "task.received"}
    return {**event, "clock": batch, "timestamp": START + received, **recorder, **fields}


def recorded(received: float, after_gap: bool = False) -> Recorded:
    """A message that is no event, `received` seconds after START."""
    return Recorded(START + received, b"{}", after_gap)


# --- the clock -------------------------------------------------------------------------------


def test_ticks_and_flushes_come_at_the_streams_times() -> None:
    """A tick each second, a flush at each multiple of the interval, and a last one at the first
    multiple a whole interval after the last message."""
    pipeline = Listed()
    batches = list(replay([recorded(3.5), recorded(12.25), recorded(26.0)], pipeline, 10.0))

    assert [10.0, 20.0, 30.0, 40.0] == [batch.time - START for batch in batches]
    assert [3.5] == pipeline.times("begin")
    assert [3.5, 12.25, 26.0] == pipeline.times("feed")
    assert [10.0, 20.0, 30.0, 40.0] == pipeline.times("flush")
    assert [float(second) for second in range(4, 40)] == pipeline.times("tick")
    assert [6.5, 10.0, 10.0, 10.0] == [batch.interval for batch in batches]


def test_time_passes_before_what_comes_later() -> None:
    """A message is fed after all ticks and flushes that were due before it came."""
    pipeline = Listed()
    list(replay([recorded(9.5), recorded(10.5)], pipeline, 10.0))

    assert ["begin", "feed", "flush", "tick", "feed"] == [what for what, _ in pipeline.asked[:5]]


@pytest.mark.parametrize("received", [0.0, 5.0, 10.0, 19.999])
def test_no_flush_comes_twice(received: float) -> None:
    """Wherever the last message falls, the flushes are an interval apart."""
    batches = list(replay([recorded(received)], Pipeline(), 10.0))

    assert all(batch.interval > 0 for batch in batches)
    assert len({batch.time for batch in batches}) == len(batches)
    assert 10.0 <= batches[-1].time - START - received < 20.0


@given(st.lists(st.tuples(st.floats(-50, 50), st.booleans()), min_size=1, max_size=8))
def test_the_clock_never_runs_backwards(steps: list[tuple[float, bool]]) -> None:
    """However the times of arrival leap, what is asked of the pipeline comes in order of time."""
    pipeline, received, stream = Listed(), 0.0, []
    for step, gap in steps:
        received += step
        stream.append(recorded(received, gap))
    list(replay(stream, pipeline, 10.0))

    times = [now for what, now in pipeline.asked if what != "deaf"]
    assert times == sorted(times)
    assert len(stream) == len(pipeline.times("feed"))


def test_in_a_gap_nobody_dies() -> None:
    """Before time passes over a gap the pipeline hears that nobody listened until its end; the
    same goes for the time after the last message."""
    pipeline = Listed()
    list(replay([recorded(0.5), recorded(100.25, after_gap=True)], pipeline, 10.0))

    assert [100.25, 120.0] == pipeline.times("deaf")
    before = [what for what, _ in pipeline.asked[: pipeline.asked.index(("deaf", START + 100.25))]]
    assert ["begin", "feed"] == before


def test_who_was_alive_at_the_end_is_not_offline() -> None:
    """That a recording ends is no worker's death."""
    heartbeat = {"type": "worker-heartbeat", "freq": 2.0, "active": 0, "processed": 0}
    sums = Totals()
    rows = [row(n, 2.0 * n, **heartbeat) for n in range(1, 5)]
    stream = [Recorded(r["_received"], json.dumps(r).encode(), False) for r in rows]
    for batch in replay(stream, Pipeline(), 10.0):
        sums.take(batch)

    values = {(r["family"], r["entity"], r["metric"]): r["value"] for r in sums.rows()}
    assert (1, 0) == (values["worker", "w@h", "up"], values["worker", "w@h", "offline"])


def test_a_stream_that_leaps_for_weeks_is_refused() -> None:
    """A broken clock does not make the replay count seconds for ever."""
    stream = [recorded(0.0), recorded(LONGEST_LEAP * 2)]
    with pytest.raises(ConfigError, match=r"leaps 14 days ahead.*one by one"):
        list(replay(stream, Pipeline(), 10.0))


def test_an_empty_stream_has_no_flush() -> None:
    """Nothing recorded, nothing said."""
    assert [] == list(replay([], Pipeline(), 10.0))


# --- the sums --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_trace_adds_up_to_what_its_flushes_said(name: str) -> None:
    """The report has, series by series, the sums another reader of the same trace comes to."""
    pipeline, totals = Pipeline(), Totals()
    path = str(FOLDER / f"{name}.ndjson.gz")
    for batch in replay(entries([path]), pipeline, 10.0):
        totals.take(batch)
    found = report(pipeline, totals)

    other = trace_replay(trace_messages(name), Pipeline(), after=20)
    mine = {(r["family"], r["entity"], r["metric"]): r for r in found["metrics"]}
    ours = {key: r["value"] for key, r in mine.items() if r["kind"] == "counter" and r["value"]}
    theirs = {key: number for key, number in other.counters.items() if number}
    assert counted(theirs) == counted(ours)
    timers = {key: r["value"]["count"] for key, r in mine.items() if r["kind"] == "timer"}
    assert counted({key: times[0] for key, times in other.times.items()}) == counted(timers)
    assert 0 == found["balance"]["difference"]
    ledger = found["ledger"]
    spoilt = sum(ledger["bad"].values()) + sum(ledger["dropped"].values())
    assert ledger["events"] == ledger["counted"] + ledger["doubled"] + spoilt
    assert found == json.loads(json.dumps(found, allow_nan=False))


def counted(numbers: dict[tuple[str, str, str], int]) -> dict[tuple[str, str, str], int]:
    """Without what depends on when a replay ends: its flushes and who then is offline."""
    ends = {("agent", "ticks"), ("worker", "offline")}
    return {key: n for key, n in numbers.items() if (key[0], key[2]) not in ends}


def test_timers_join_over_flushes() -> None:
    """Count, sum and extremes are those of all values of the stream, in ms."""
    ends = [row(3 * n, 10.0 * n, type="task-succeeded", runtime=float(n)) for n in range(1, 4)]
    stream = [Recorded(r["_received"], json.dumps(r).encode(), False) for r in ends]
    totals = Totals()
    for batch in replay(stream, Pipeline(), 10.0):
        totals.take(batch)

    (runtime,) = (
        r["value"] for r in totals.rows() if (r["family"], r["metric"]) == ("cluster", "runtime")
    )
    assert {"count": 3, "sum": 6000.0, "lower": 1000.0, "upper": 3000.0} == runtime


def test_text_has_exact_numbers_and_safe_names() -> None:
    """Large counts stand there to the unit, zeros not at all, and no name reaches the terminal
    as anything but text."""
    rows = [
        {"family": "task", "entity": "t" * 50, "metric": "sent", "kind": "counter", "value": 0},
        {
            "family": "task",
            "entity": "\x1b[2J\n",
            "metric": "sent",
            "kind": "counter",
            "value": 12345678,
        },
        {
            "family": "task",
            "entity": "t",
            "metric": "wait",
            "kind": "timer",
            "value": {"count": 2, "sum": 1234567.5},
        },
    ]
    balance = {"received": 12345678, "difference": 0}
    lines = list(as_text({"metrics": rows, "balance": balance, "ledger": {"events": 1}}))

    assert all(line.isprintable() for line in lines)
    assert [
        ["task", r"\x1b[2J\n", "sent", "12345678"],
        ["task", "t", "wait", "count=2", "sum=1234567.5"],
        ["balance:", "received=12345678", "difference=0"],
        ["ledger:", '{"events":', "1}"],
    ] == [line.split() for line in lines]


# --- the sinks -------------------------------------------------------------------------------


def test_each_flush_is_sent_with_its_own_time() -> None:
    """A Graphite gets every flush of the stream, with the stream's timestamps."""
    with socket.create_server(("127.0.0.1", 0)) as carbon:
        sink = sink_from(f"graphite://127.0.0.1:{carbon.getsockname()[1]}")
        flushes = replay([recorded(1.0), recorded(12.0)], Pipeline(), 10.0)
        batches = list(sent(flushes, [sink]))
        text = taken(carbon)

    stamps = {int(line.rpartition(" ")[2]) for line in text.splitlines()}
    assert {START + 10, START + 20, START + 30} == stamps
    assert 3 == len(batches)


def taken(server: socket.socket) -> str:
    """What the one client of `server` sent before it hung up."""
    peer, _ = server.accept()
    with peer, peer.makefile("rb") as stream:
        return io.TextIOWrapper(stream, "utf-8").read()


def test_every_sink_has_everything_and_is_closed() -> None:
    """Several sinks get the same batches."""
    sinks = [MemorySink(), MemorySink()]
    batches = list(sent(replay([recorded(1.0)], Pipeline(), 10.0), sinks))

    assert batches == sinks[0].batches == sinks[1].batches
    assert batches


@pytest.mark.parametrize("scheme", ["statsd", "statsd+tcp", "graphite", "graphite+pickle"])
def test_a_sink_nobody_listens_behind_is_told(scheme: str) -> None:
    """One sentence: the key, the address, the cause, the cure."""
    address = f"{scheme}://127.0.0.1:{free_port()}"
    with pytest.raises(ConfigError) as caught:
        list(sent(replay([recorded(1.0)], Pipeline(), 10.0), [sink_from(address)]))

    assert str(caught.value).startswith(f"sinks: {address}: Connection refused")
    assert str(caught.value).endswith("; start what listens there")


def test_what_a_sink_gave_up_is_told() -> None:
    """A replay of which a part got lost does not end as if it had not."""
    sink = MemorySink()
    batches = sent(replay([recorded(1.0)], Pipeline(), 10.0), [sink])
    next(batches)
    sink.tally.dropped = 3
    with pytest.raises(ConfigError, match="sinks: memory:// did not take 3 values; "):
        list(batches)


# --- the cues --------------------------------------------------------------------------------


def cue(what: str, received: float, **facts: Any) -> Cue:
    """A cue, `received` seconds after START."""
    return Cue(what, START + received, facts)


def test_cues_are_followed_to_the_letter() -> None:
    """Nothing is asked of the pipeline but what the recorder's was asked, in its order."""
    pipeline = Listed()
    stream = [
        cue("begin", 0.25), recorded(0.5), cue("tick", 1.0), cue("deaf", 1.5), cue("flush", 7.125),
        cue("refused", 8.0, _reason="not_json"), recorded(9.0), cue("end", 11.5),
    ]  # fmt: skip
    batches = list(follow(stream, pipeline))

    asked = [(what, now - START) for what, now in pipeline.asked]
    assert [
        ("begin", 0.25), ("feed", 0.5), ("tick", 1.0), ("deaf", 1.5), ("flush", 7.125),
        ("feed", 9.0), ("flush", 11.5),
    ] == asked  # fmt: skip
    assert [(7.125, False), (11.5, True)] == [(b.time - START, b.last) for b in batches]
    assert {"not_json": 1, "no_event": 2} == dict(pipeline.ledger.bad)


def test_a_recording_that_was_cut_off_is_flushed_at_its_last_moment() -> None:
    """What its recorder had not flushed yet is told all the same."""
    stream = [cue("begin", 0.0), cue("flush", 1.0), recorded(1.5)]
    batches = list(follow(stream, Pipeline()))

    assert [(1.0, False), (1.5, True)] == [(b.time - START, b.last) for b in batches]


def test_between_two_recordings_nobody_listened() -> None:
    """A second one goes on where the first ended: its beginning is a gap."""
    pipeline = Listed()
    list(follow([cue("begin", 0.0), cue("end", 1.0), cue("begin", 50.0)], pipeline))

    assert ([0.0], [50.0]) == (pipeline.times("begin"), pipeline.times("deaf"))


def test_with_another_interval_the_cues_tell_only_what_was_heard() -> None:
    """The flushes of the recorder are not those of the replay; its absences are."""
    pipeline = Listed()
    stream = [cue("begin", 0.5), recorded(1.0), cue("flush", 2.0), cue("deaf", 35.0)]
    batches = list(replay([*stream, cue("refused", 36.0, _reason="x")], pipeline, 10.0))

    assert [10.0, 20.0, 30.0, 40.0, 50.0] == [batch.time - START for batch in batches]
    assert 35.0 == pipeline.times("deaf")[0]
    assert 1 == pipeline.ledger.bad["x"]


def test_a_pace_is_kept() -> None:
    """So many times as fast as the stream, and never faster; nothing is left out."""
    began = time.monotonic()
    found = list(paced([recorded(0.0), recorded(5.0), recorded(4.0), recorded(10.0)], 50.0))

    assert 4 == len(found)
    assert 0.2 <= time.monotonic() - began < 5.0


def test_a_farewell_does_not_hide_what_the_gauges_were() -> None:
    """The totals have the last value before everything was set to 0."""
    beat = {"type": "worker-heartbeat", "freq": 2.0, "active": 0, "processed": 0}
    message = Recorded(START + 1, json.dumps(row(1, 1.0, **beat)).encode())
    totals = Totals()
    stream = [cue("begin", 0.0), message, cue("flush", 2.0), cue("end", 3.0)]
    for batch in follow(stream, Pipeline()):
        totals.take(batch)

    values = {(r["family"], r["entity"], r["metric"]): r["value"] for r in totals.rows()}
    assert 1 == values["worker", "w@h", "up"]
