"""Carbon's protocols, StatsD's names and sums, and the backlog with its own timestamps."""

import pickle
import socket
import struct
import time
from contextlib import suppress
from math import inf
from types import SimpleNamespace

import pytest

from celery_statsd.errors import ConfigError, SinkDown
from celery_statsd.sinks import sink_from, stream
from celery_statsd.sinks.graphite import FRAME, FRAMES_AT_ONCE
from tests.servers.process import wait_until

NOW = 1_700_000_000


@pytest.fixture
def port():
    """A port nobody listens on yet."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


def unpickled(wire: bytes) -> list[list[tuple[str, tuple[int, float]]]]:
    """The lists in `wire`, each behind its length of four bytes."""
    frames = []
    while wire:
        (length,) = struct.unpack_from("!L", wire)
        frames.append(pickle.loads(wire[4 : 4 + length]))
        wire = wire[4 + length :]
    return frames


def whole_frames(wire: bytes) -> bool:
    """Whether `wire` ends where a frame ends."""
    while len(wire) >= 4:
        wire = wire[4 + struct.unpack_from("!L", wire)[0] :]
    return not wire


def lines_of(wire: bytes) -> list[tuple[str, float, int]]:
    rows = (line.split(" ") for line in wire.decode().splitlines())
    return [(path, float(value), int(when)) for path, value, when in rows]


def test_the_line_protocol_to_the_byte(listen, port, sink_at, make):
    """StatsD's names; the time is the flush's, in whole seconds."""
    server = listen(port)
    sink = sink_at(f"graphite://127.0.0.1:{port}")
    batch = make.batch(
        {"task.add.sent": 5, "task.add.failed": 0},
        {"worker.w1.clock_skew_ms": -2.5},
        {"task.add.runtime": [300, 100]},
        time=NOW + 0.9,
    )
    sink.send(batch)
    wire = (
        f"stats.counters.task.add.sent.count 5 {NOW}\n"
        f"stats.counters.task.add.sent.rate 0.5 {NOW}\n"
        f"stats.counters.task.add.failed.count 0 {NOW}\n"
        f"stats.counters.task.add.failed.rate 0 {NOW}\n"
        f"stats.gauges.worker.w1.clock_skew_ms -2.5 {NOW}\n"
        f"stats.timers.task.add.runtime.count 2 {NOW}\n"
        f"stats.timers.task.add.runtime.count_ps 0.2 {NOW}\n"
        f"stats.timers.task.add.runtime.sum 400 {NOW}\n"
        f"stats.timers.task.add.runtime.mean 200 {NOW}\n"
        f"stats.timers.task.add.runtime.lower 100 {NOW}\n"
        f"stats.timers.task.add.runtime.upper 300 {NOW}\n"
        f"stats.timers.task.add.runtime.median 200 {NOW}\n"
        f"stats.timers.task.add.runtime.upper_90 300 {NOW}\n"
        f"stats.timers.task.add.runtime.upper_95 300 {NOW}\n"
        f"stats.timers.task.add.runtime.upper_99 300 {NOW}\n"
    ).encode()
    assert wire == server.wait(wire)
    assert (1, len(wire), 0) == (sink.tally.packets, sink.tally.bytes, sink.tally.errors)


def test_the_pickle_protocol(listen, port, sink_at, make):
    """The same points, in lists carbon can load, each behind its length."""
    server = listen(port)
    sink_at(f"graphite+pickle://127.0.0.1:{port}").send(
        make.batch({"task.add.sent": 5}, {"queue.q.length": 7.25}, time=NOW)
    )
    expected = [
        ("stats.counters.task.add.sent.count", (NOW, 5)),
        ("stats.counters.task.add.sent.rate", (NOW, 0.5)),
        ("stats.gauges.queue.q.length", (NOW, 7.25)),
    ]
    assert [expected] == unpickled(server.wait_until(lambda wire: wire and whole_frames(wire)))


def test_a_large_flush_is_several_frames(listen, port, sink_at, make):
    """None holds more than 500 points, and none is missing."""
    server = listen(port)
    gauges = {f"queue.q{n}.length": n for n in range(2 * FRAME + 1)}
    sink = sink_at(f"graphite+pickle://127.0.0.1:{port}")
    sink.send(make.batch(gauges=gauges, time=NOW))
    sent = sink.tally.bytes
    frames = unpickled(server.wait_until(lambda wire: len(wire) >= sent))
    assert [FRAME, FRAME, 1] == [len(frame) for frame in frames]
    points = dict(point for frame in frames for point in frame)
    assert {f"stats.gauges.{path}": (NOW, n) for path, n in gauges.items()} == points


def test_a_sample_tells_percentiles_and_the_rest_is_exact(listen, port, sink_at, make):
    """Of 1000 measured, 3 kept: count, sum, mean and bounds are those of the 1000."""
    server = listen(port)
    timing = make.timing([20.0, 10.0, 30.0], count=1000)
    exact = type(timing)(1000, 50_000.0, 1.0, 900.0, timing.values)
    sink = sink_at(f"graphite://127.0.0.1:{port}?percentiles=50,99.9&prefix=stats.prod")
    sink.send(make.batch(timers={"a.b.c": exact}, time=NOW))
    wire = server.wait_until(lambda heard: b"upper_99_9 30 " in heard)
    found = {path.removeprefix("stats.prod.timers.a.b.c."): v for path, v, _ in lines_of(wire)}
    assert {
        "count": 1000,
        "count_ps": 100,
        "sum": 50_000,
        "mean": 50,
        "lower": 1,
        "upper": 900,
        "median": 20,
        "upper_50": 20,
        "upper_99_9": 30,
    } == found


def test_what_is_no_number_is_left_out_and_counted(listen, port, sink_at, make):
    """No nan or inf reaches carbon."""
    server = listen(port)
    timing = type(make.timing([1.0]))(1, inf, 1.0, 1.0, (1.0,))
    sink = sink_at(f"graphite://127.0.0.1:{port}")
    sink.send(make.batch({}, {"q.a.x": inf, "q.b.x": 1}, {"a.b.c": timing}))
    wire = server.wait_until(lambda heard: b"upper_99 " in heard)
    assert b"inf" not in wire
    assert 3 == sink.tally.dropped  # the gauge, and the timer's sum and mean


@pytest.mark.parametrize("scheme", ["graphite", "graphite+pickle"])
def test_an_outage_leaves_no_gap(listen, port, sink_at, make, scheme):
    """Each flush arrives with its own time, also those from before the server was there."""
    sink = sink_at(f"{scheme}://127.0.0.1:{port}")

    def flush(number: int) -> None:
        sink.send(make.batch({"t.a.s": number}, time=NOW + 10 * number))

    for number in (0, 1):
        with pytest.raises(SinkDown, match=rf"127.0.0.1:{port}: .*; {2 * number + 2} points"):
            flush(number)
    first = listen(port)
    flush(2)
    first.wait_until(lambda wire: sink.tally.bytes <= len(wire))
    first.stop()
    with pytest.raises(SinkDown):
        flush(3)
    second = listen(port)
    flush(4)
    second.wait_until(lambda wire: sink.tally.bytes <= len(first.heard + wire))
    assert {(NOW + 10 * n, n) for n in range(5)} == counts(scheme, first.heard + second.heard)
    assert 0 == sink.tally.dropped


def counts(scheme: str, wire: bytes) -> set[tuple[int, float]]:
    """The times and values of all counts in `wire`."""
    if scheme == "graphite":
        return {(when, value) for path, value, when in lines_of(wire) if path.endswith("count")}
    points = (point for frame in unpickled(wire) for point in frame)
    return {(when, value) for path, (when, value) in points if path.endswith("count")}


def test_what_a_lost_connection_carried_last_is_sent_again(listen, port, sink_at, make):
    """The server took it and ended without reading: twice the same point is one in Graphite."""
    deaf = listen(port, deaf=True)
    sink = sink_at(f"graphite://127.0.0.1:{port}")
    sink.send(make.batch({"t.a.s": 1}, time=NOW))
    deaf.stop()
    server = listen(port)
    sink.send(make.batch({"t.a.s": 2}, time=NOW + 10))
    wire = server.wait_until(lambda heard: f"rate 0.2 {NOW + 10}\n".encode() in heard)
    assert {(NOW, 1), (NOW + 10, 2)} == counts("graphite", wire)
    assert (0, 0) == (sink.tally.errors, sink.tally.dropped)


def test_a_replay_longer_than_the_timeout_is_not_delivered_yet(
    listen, port, sink_at, make, monkeypatch
):
    """It goes on with the next flush, over the same connection, oldest first; only then is it
    delivered, and the flushes that came meanwhile stand behind it."""
    late = 0.0
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + late)
    monkeypatch.setattr("celery_statsd.sinks.graphite.time", clock)
    real = stream.deliver

    def deliver(*args):
        nonlocal late
        real(*args)
        late += 20.0  # seconds that twenty frames took

    monkeypatch.setattr(stream, "deliver", deliver)
    sink = sink_at(f"graphite://127.0.0.1:{port}?timeout=30")
    old = {f"queue.q{n}.length": n for n in range(3 * FRAMES_AT_ONCE * FRAME)}
    with pytest.raises(SinkDown, match="30000 points are kept"):
        sink.send(make.batch(gauges=old, time=NOW))
    server = listen(port)
    with pytest.raises(SinkDown, match="more than fits one flush; 10002 points are kept"):
        sink.send(make.batch({"t.a.s": 1}, time=NOW + 10))
    sink.send(make.batch({"t.a.s": 2}, time=NOW + 20))
    heard = [line.split(" ") for line in server.wait_for_lines(30_004)]
    assert [NOW] * 30_000 + [NOW + 10] * 2 + [NOW + 20] * 2 == [int(when) for *_, when in heard]
    assert {f"stats.gauges.{p}": str(n) for p, n in old.items()} == dict(
        line[:2] for line in heard[:30_000]
    )
    assert 1 == server.connections
    assert (1, 0) == (sink.tally.errors, sink.tally.dropped)


def test_past_the_backlog_the_oldest_go_and_are_counted(listen, port, sink_at, make):
    """Room for four points: of three flushes of two, the first is given up."""
    sink = sink_at(f"graphite://127.0.0.1:{port}?backlog=4")
    for number in range(3):
        with pytest.raises(SinkDown):
            sink.send(make.batch({"t.a.s": number}, time=NOW + number))
    assert 2 == sink.tally.dropped
    server = listen(port)
    sink.close()
    wire = server.wait_until(lambda heard: len(lines_of(heard)) >= 4)
    assert {(NOW + 1, 1), (NOW + 2, 2)} == counts("graphite", wire)


def test_what_cannot_leave_at_close_is_counted(port, sink_at, make):
    """Two points given up are two dropped, and only once."""
    sink = sink_at(f"graphite://127.0.0.1:{port}")
    with pytest.raises(SinkDown):
        sink.send(make.batch({"t.a.s": 1}))
    sink.close()
    sink.close()
    assert 2 == sink.tally.dropped


def test_a_carbon_that_stops_reading_holds_nothing_up(listen, port, sink_at, make):
    """The timeout bounds the flush; once it reads again every point is there."""
    deaf = listen(port, deaf=True)
    sink = sink_at(f"graphite://127.0.0.1:{port}?timeout=0.3")
    gauges = {f"queue.{'q' * 60}{n}.length": n for n in range(100_000)}
    with pytest.raises(SinkDown, match="timed out"):
        sink.send(make.batch(gauges=gauges, time=NOW))
    deaf.listen_again()
    for _ in range(20):
        with suppress(SinkDown):
            sink.send(make.batch())
    expected = {f"stats.gauges.{path} {n} {NOW}" for path, n in gauges.items()}
    assert expected == set(deaf.wait_for_lines(len(expected)))
    assert 0 == sink.tally.dropped


def test_the_check_connects(listen, port, sink_at):
    """It says where nobody listens, and what to do."""
    sink = sink_at(f"graphite://127.0.0.1:{port}")
    with pytest.raises(SinkDown, match=f"127.0.0.1:{port}: Connection refused; start a carbon"):
        sink.check()
    listen(port)
    sink.check()


@pytest.mark.parametrize(
    ("options", "blamed"),
    [
        ("percentiles=", "percentiles"),
        ("percentiles=90,x", "percentiles"),
        ("percentiles=0", "percentiles"),
        ("percentiles=101", "percentiles"),
        ("percentiles=nan", "percentiles"),
        ("prefix=a..b", "prefix"),
        ("prefix=a%20b", "prefix"),
        ("timeout=0", "timeout"),
        ("timeout=inf", "timeout"),
        ("backlog=-1", "backlog"),
        ("mtu=1432", "mtu"),
    ],
)
def test_an_impossible_option_is_refused(options, blamed):
    """The sentence names it."""
    with pytest.raises(ConfigError, match=blamed):
        sink_from(f"graphite://h?{options}")


def test_the_ports_are_carbon_s_own_by_default(sink_at):
    """2003 for lines, 2004 for pickles."""
    assert (2003, 2004) == (sink_at("graphite://h")._port, sink_at("graphite+pickle://h")._port)


@pytest.mark.e2e
@pytest.mark.parametrize("scheme", ["graphite", "graphite+pickle"])
def test_a_real_carbon_that_stood_still_has_every_point(graphite, make, scheme):
    """Suspended over four flushes and reset after each; each point is there in the end, with
    its own time and value."""
    first, flushes, names = int(time.time()) - 60, 4, range(800)
    port = {"graphite": graphite.line_port, "graphite+pickle": graphite.pickle_port}[scheme]
    head = f"stood_still.{scheme.replace('+', '_')}"
    sink = sink_from(f"{scheme}://127.0.0.1:{port}?timeout=0.5&prefix={head}")

    def gauges(flush: int) -> dict[str, float]:
        return {f"{'q' * 200}.e{name}.length": 10_000 * flush + name for name in names}

    def stored() -> dict[str, list[tuple[float, int]]]:
        return graphite.render(f"{head}.gauges.*.*.length")

    with graphite.suspended():
        for flush in range(flushes):
            with pytest.raises(SinkDown):
                sink.send(make.batch(gauges=gauges(flush), time=first + flush))
    wait_until(lambda: _delivered(sink, make), 30, "all is sent")
    sink.close()
    expected = {
        f"{head}.gauges.{path}": [(10_000 * n + name, first + n) for n in range(flushes)]
        for name, path in enumerate(gauges(0))
    }
    with suppress(TimeoutError):
        wait_until(lambda: stored() == expected, 60, "all is stored", poll=0.5)
    assert expected == stored()
    assert 0 == sink.tally.dropped


def _delivered(sink, make) -> bool:
    """Whether all that was kept is out now."""
    try:
        sink.send(make.batch())
    except SinkDown:
        return False
    return True
