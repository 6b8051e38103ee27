"""The built-in StatsD: the wire as the agent writes it, and what is no line of it."""

import socket
from collections.abc import Iterator
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celery_statsd.demo.statsd import RECENT, Line, Received, Receiver, Sums
from celery_statsd.metric import Timing
from celery_statsd.sinks.base import Address
from celery_statsd.sinks.datagram import UdpSink
from celery_statsd.top.facts import percentile
from tests.sinks.conftest import Make

PATHS = st.from_regex(r"[a-z]{1,8}\.[A-Za-z0-9_-]{1,12}\.[a-z_]{1,8}", fullmatch=True)
COUNTS = st.integers(0, 10**9)
VALUES = st.floats(0, 1e7).map(lambda value: round(value, 3))
GAUGES = st.floats(-1e9, 1e9).map(lambda value: round(value, 6))


def took(*datagrams: bytes) -> Received:
    sums = Sums()
    for datagram in datagrams:
        sums.take(datagram)
    return sums.read()


def received_of(*batches: object) -> Received:
    """What a receiver has after the agent's own sink has sent `batches`."""
    receiver = Receiver()
    sink = UdpSink(Address.parse(f"statsd://127.0.0.1:{receiver.port}"))
    receiver.start()
    for batch in batches:
        sink.send(batch)
    sink.close()
    receiver.close()
    assert sink.tally.packets == receiver.read().datagrams
    return receiver.read()


@settings(deadline=None, max_examples=15)
@given(
    st.lists(st.dictionaries(PATHS, COUNTS, max_size=20), min_size=1, max_size=3),
    st.dictionaries(PATHS, GAUGES, max_size=20),
    st.dictionaries(PATHS, st.lists(VALUES, min_size=1, max_size=20), max_size=10),
)
def test_what_the_sink_sends_is_what_adds_up(
    counters: list[dict[str, int]], gauges: dict[str, float], timers: dict[str, list[float]]
) -> None:
    """Counters as sums over the batches, gauges as they were last, each value of each timer."""
    received = received_of(*(Make.batch(counters=one) for one in counters))
    sums = {path: sum(one.get(path, 0) for one in counters) for one in counters for path in one}
    assert sums == received.counters

    received = received_of(Make.batch(gauges=gauges, timers=timers))
    assert gauges == pytest.approx(received.gauges)
    assert timers.keys() == received.timers.keys()
    for path, values in timers.items():
        assert len(values) == received.timers[path].count
        assert sum(values) == pytest.approx(received.timers[path].total)
        found = percentile([received.timers[path]], 90)
        assert sorted(values)[ceil(0.9 * len(values)) - 1] == found
    assert 0 == received.bad


@settings(deadline=None, max_examples=10)
@given(st.lists(VALUES, min_size=1, max_size=10), st.integers(10, 10**6))
def test_a_sampled_timer_arrives_with_its_true_count(values: list[float], count: int) -> None:
    """The sample rate is undone, to a thousandth of a value."""
    timing = Timing(count, sum(values), min(values), max(values), tuple(values))
    received = received_of(Make.batch(timers={"task.a.run": timing}))
    assert count == pytest.approx(received.timers["task.a.run"].count, abs=0.001)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a.b:1|c", Line("a.b", 1.0, "c")),
        ("a:-2|c|@0.5", Line("a", -2.0, "c", rate=0.5)),
        ("a:1.5|ms", Line("a", 1.5, "ms")),
        ("a:7|g", Line("a", 7.0, "g")),
        ("a:+7|g", Line("a", 7.0, "g", relative=True)),
        ("a:-7|g", Line("a", -7.0, "g", relative=True)),
    ],
)
def test_a_line_is_taken_apart(text: str, line: Line) -> None:
    """Path, value, kind, and the sample rate where there is one."""
    assert line == Line.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", ":", "a", "a:", "a:1", "a:1|", ":1|c", "a:|c", "a:x|c", "a:1|x", "a:1|s", "a|c"),
        *("a:nan|g", "a:inf|c", "a:1_0|c", "a: 1|c", "a:1|c|0.5", "a:1|c|@", "a:1|c|@0"),
        *("a:1|c|@2", "a:1|c|@-1", "a:1|c|@0.5|#tag", "a:1|c|", "\ufffd:\ufffd|c"),
    ],
)
def test_what_is_no_line_is_refused(text: str) -> None:
    """Whatever is not one of the agent's three kinds, whole and finite."""
    with pytest.raises(ValueError, match=r".*"):
        Line.parse(text)


def test_bad_lines_are_counted_and_cost_nothing_else() -> None:
    """The good lines around them are taken; bytes that are no ASCII are a bad line."""
    received = took(b"a:1|c\nrubbish\n\xff\xfe:1|q\na:2|c\n", b"\n")
    assert {"a": 3.0} == received.counters
    assert (2, 4, 2) == (received.datagrams, received.lines, received.bad)


def test_a_signed_gauge_moves_it_and_an_unsigned_one_sets_it() -> None:
    """As StatsD does; a gauge never seen stands at 0."""
    assert {"a": 3.0, "b": -4.0} == took(b"a:5|g\na:-2|g\nb:1|g\nb:0|g\nb:-4|g").gauges


def test_a_timer_forgets_old_values_but_not_their_count() -> None:
    """Its values are the last thousand; count, sum and extremes are of all."""
    lines = [b"a:1000|ms"] * 1000 + [b"a:2|ms"] * RECENT
    timed = took(*lines).timers["a"]
    total = 1000 * 1000 + 2 * RECENT
    assert Timing(1000 + RECENT, total, 2.0, 1000.0, (2.0,) * RECENT) == timed


@pytest.fixture
def client() -> Iterator[socket.socket]:
    """A socket to send datagrams with."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        yield sock


def test_what_was_sent_before_the_close_is_read(client: socket.socket) -> None:
    """What waits in the kernel is taken in, then the socket is gone."""
    receiver = Receiver()
    port = receiver.port
    for _ in range(50):
        client.sendto(b"a:1|c", ("127.0.0.1", port))
    receiver.start()
    receiver.close()
    assert {"a": 50.0} == receiver.read().counters
    assert not receiver.is_alive()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", port))


def test_one_never_started_can_be_closed() -> None:
    """Closing lets go of the socket."""
    receiver = Receiver()
    port = receiver.port
    receiver.close()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", port))
