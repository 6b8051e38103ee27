"""StatsD over TCP and Unix streams, to the byte; outages, and the return from them."""

import os
import socket
from contextlib import suppress

import pytest

from celery_statsd.errors import ConfigError, SinkDown
from celery_statsd.sinks import sink_from, stream
from tests.conftest import running
from tests.servers.process import wait_until
from tests.servers.statsd import StatsD
from tests.sinks.conftest import WIRE


@pytest.fixture(params=["tcp", "unix"])
def place(request, tmp_path):
    """Where a stream server can be started, and started again: (where, address of it)."""
    if request.param == "unix":
        path = str(tmp_path / "statsd.sock")
        return path, f"statsd+unix://{path}"
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    return port, f"statsd+tcp://127.0.0.1:{port}"


class TestStreams:
    def test_each_line_ends_with_a_newline(self, listen, place, sink_at, small):
        """The same lines as over UDP, over one connection, each terminated."""
        where, address = place
        server = listen(where)
        sink = sink_at(address)
        sink.send(small)
        sink.send(small)
        wire = 2 * (WIRE + "\n").encode()
        assert wire == server.wait(wire)
        assert (1, 2, len(wire)) == (server.connections, sink.tally.packets, sink.tally.bytes)

    def test_after_an_outage_the_sums_arrive_once(self, listen, place, sink_at, make):
        """Before, while away, after: what was sent has arrived, no flush lost or doubled."""
        where, address = place
        server = listen(where)
        sink = sink_at(address)
        sink.send(make.batch({"t.a.s": 1}))
        assert b"t.a.s:1|c\n" == server.wait(b"t.a.s:1|c\n")
        server.stop()
        for _ in range(3):
            with pytest.raises(SinkDown):
                sink.send(make.batch({"t.a.s": 10, "t.b.s": 0}))
        assert (3, 0) == (sink.tally.errors, sink.tally.dropped)
        if isinstance(where, str):
            os.unlink(where)
        again = listen(where)
        sink.send(make.batch({"t.a.s": 100}))
        assert b"t.a.s:130|c\nt.b.s:0|c\n" == again.wait(b"t.a.s:130|c\nt.b.s:0|c\n")

    def test_a_restart_between_two_flushes_loses_nothing(self, listen, place, sink_at, make):
        """The next flush does not fall into the socket of the server that is gone."""
        where, address = place
        sink = sink_at(address)
        for flush in range(3):
            server = listen(where)
            sink.send(make.batch({"t.a.s": flush}))
            wire = f"t.a.s:{flush}|c\n".encode()
            assert wire == server.wait(wire)
            server.stop()
            if isinstance(where, str):
                os.unlink(where)
        assert 0 == sink.tally.errors

    def test_what_is_kept_leaves_at_close(self, listen, place, sink_at, make):
        """Closing tries once more."""
        where, address = place
        sink = sink_at(address)
        with pytest.raises(SinkDown):
            sink.send(make.batch({"t.a.s": 5}))
        server = listen(where)
        sink.close()
        assert b"t.a.s:5|c\n" == server.wait(b"t.a.s:5|c\n")

    def test_past_the_backlog_series_are_given_up_and_counted(self, listen, place, sink_at, make):
        """Room for two: the one only the older flush knew goes."""
        where, address = place
        sink = sink_at(f"{address}?backlog=2")
        for counters in ({"t.old.s": 1}, {"t.a.s": 1, "t.b.s": 1}):
            with pytest.raises(SinkDown):
                sink.send(make.batch(counters))
        server = listen(where)
        sink.send(make.batch({"t.a.s": 1}))
        assert b"t.a.s:2|c\nt.b.s:1|c\n" == server.wait(b"t.a.s:2|c\nt.b.s:1|c\n")
        assert 1 == sink.tally.dropped

    def test_the_check_connects(self, listen, place, sink_at):
        """It says where nobody listens, and what to do; to a server it says nothing."""
        where, address = place
        sink = sink_at(address)
        with pytest.raises(SinkDown, match="start a StatsD"):
            sink.check()
        server = listen(where)
        sink.check()
        server.stop()
        assert b"" == server.heard

    def test_the_timeout_bounds_a_flush_and_nothing_is_lost(self, listen, place, sink_at, make):
        """A server that stops reading keeps the flush only so long; each line arrives once."""
        where, address = place
        deaf = listen(where, deaf=True)
        sink = sink_at(f"{address}?timeout=1")
        many = {f"task.{'a' * 80}{n}.s": 1 for n in range(60_000)}
        with pytest.raises(SinkDown, match="timed out"):
            sink.send(make.batch(many))
        deaf.listen_again()
        wait_until(lambda: _delivered(sink, make), 20, "the rest is sent")
        assert sorted(f"{path}:1|c" for path in many) == sorted(deaf.wait_for_lines(len(many)))
        assert 1 == deaf.connections

    def test_a_slow_peer_gets_nothing_new_before_it_has_the_old(self, listen, place, sink_at, make):
        """Flushes meant for a server that stands still add up, and arrive when it goes on."""
        where, address = place
        deaf = listen(where, deaf=True)
        sink = sink_at(f"{address}?timeout=0.3")
        many = {f"task.{'a' * 80}{n}.s": 1 for n in range(60_000)}
        for counters in (many, {"t.b.s": 1}, {"t.b.s": 2}):
            with pytest.raises(SinkDown, match="timed out"):
                sink.send(make.batch(counters))
        assert 3 == sink.tally.errors
        deaf.listen_again()
        with suppress(SinkDown):
            sink.send(make.batch({"t.b.s": 4}))
        wait_until(lambda: _delivered(sink, make), 20, "the rest is sent")
        heard = deaf.wait_for_lines(len(many) + 1)
        assert sorted([*(f"{path}:1|c" for path in many), "t.b.s:7|c"]) == sorted(heard)
        assert 0 == sink.tally.dropped

    def test_what_a_slow_peer_never_took_is_sent_to_the_next(self, listen, place, sink_at, make):
        """A server that stands still and then goes away leaves the rest to its successor."""
        where, address = place
        deaf = listen(where, deaf=True)
        sink = sink_at(f"{address}?timeout=0.3")
        many = {f"task.{'a' * 80}{n}.s": 1 for n in range(60_000)}
        with pytest.raises(SinkDown, match="timed out"):
            sink.send(make.batch(many))
        deaf.stop()
        with pytest.raises(SinkDown, match="kept as sums"):
            sink.send(make.batch({"t.b.s": 1}))
        if isinstance(where, str):
            os.unlink(where)
        successor = listen(where)
        sink.send(make.batch({"t.b.s": 2}))
        heard = successor.wait_for_lines(1)
        assert "t.b.s:3|c" in heard
        assert 0 == sink.tally.dropped

    def test_closing_waits_once_more_and_counts_what_stays(self, listen, place, sink_at, make):
        """What a server that stands still has not taken by then is counted as dropped."""
        where, address = place
        listen(where, deaf=True)
        sink = sink_at(f"{address}?timeout=0.3")
        many = {f"task.{'a' * 80}{n}.s": 1 for n in range(60_000)}
        with pytest.raises(SinkDown, match="timed out"):
            sink.send(make.batch(many))
        sink.close()
        assert 0 < sink.tally.dropped < len(many)


def test_a_peer_that_never_goes_on_is_given_up_in_the_end(listen, sink_at, make, monkeypatch):
    """The kernel ends the connection; what was not acknowledged comes over the next one, once."""
    monkeypatch.setattr(stream, "UNANSWERED", 2.0)
    deaf = listen(deaf=True)
    sink = sink_at(f"statsd+tcp://127.0.0.1:{deaf.port}?timeout=0.3")
    many = {f"task.{'a' * 80}{n}.s": 1 for n in range(60_000)}
    with pytest.raises(SinkDown, match="timed out"):
        sink.send(make.batch(many))
    wait_until(lambda: _given_up(sink, make), 30, "the kernel gives up")
    deaf.listen_again()
    wait_until(lambda: _delivered(sink, make), 20, "the rest is sent")
    heard = deaf.wait_for_lines(len(many))
    assert 1 < deaf.connections
    assert sorted(f"{path}:1|c" for path in many) == sorted(heard)
    assert 0 == sink.tally.dropped


def _given_up(sink, make) -> bool:
    """Whether the connection has ended in this flush."""
    try:
        sink.send(make.batch())
    except SinkDown as error:
        return "Connection timed out; what it had not taken" in str(error)
    return False


def _delivered(sink, make) -> bool:
    """Whether all that was kept is out now."""
    try:
        sink.send(make.batch())
    except SinkDown:
        return False
    return True


class TestAddresses:
    @pytest.mark.parametrize(
        "address",
        [
            "statsd+unix://run/x.sock",
            "statsd+unix://",
            "statsd+unix:///",
            "statsd://",
            "statsd://:1",
        ],
    )
    def test_an_address_without_a_place_is_refused(self, address):
        """A socket needs its whole path, the others a host."""
        with pytest.raises(ConfigError, match="names no"):
            sink_from(address)

    def test_the_port_is_statsd_s_own_by_default(self, sink_at):
        """8125, over UDP and TCP."""
        assert (8125, 8125) == (sink_at("statsd://h")._port, sink_at("statsd+tcp://h")._port)


@pytest.mark.e2e
def test_a_real_statsd_survives_standing_still(tmp_path, make):
    """A suspended StatsD is neither ended by us nor told anything twice."""
    many = {f"task.{'a' * 80}{n}.s": 1 for n in range(60_000)}
    with running(lambda: StatsD(tmp_path, 3600)) as server:
        sink = sink_from(f"statsd+tcp://127.0.0.1:{server.port}?timeout=0.5")
        with server.suspended():
            for counters in (many, {"t.b.s": 1}, {"t.b.s": 2}):
                with pytest.raises(SinkDown):
                    sink.send(make.batch(counters))
        with suppress(SinkDown):
            sink.send(make.batch({"t.b.s": 4}))
        wait_until(lambda: _delivered(sink, make), 30, "the rest is sent")
        sink.close()
        wait_until(lambda: len(server.counters()) > len(many), 20, "all counters are there")
        heard = server.counters()
    assert 7 == heard["t.b.s"]
    assert {1} == {heard[path] for path in many}
