"""StatsD's wire, to the byte, on real sockets; outages, and the return from them."""

import os
import socket

import pytest

from celery_statsd.errors import ConfigError, SinkDown
from celery_statsd.sinks import sink_from
from celery_statsd.sinks.statsd import StatsdSink
from tests.conftest import running
from tests.servers.process import wait_until
from tests.servers.statsd import StatsD


@pytest.fixture
def sink_at():
    """Makes StatsD sinks, and closes them at the end."""
    made: list[StatsdSink] = []

    def make_sink(address: str) -> StatsdSink:
        made.append(sink_from(address))
        return made[-1]

    yield make_sink
    for sink in made:
        sink.close()


@pytest.fixture
def small(make):
    """A batch with a line of every kind, and `WIRE`, how it is written."""
    return make.batch(
        {"cluster.all.sent": 3, "task.add.sent": 0},
        {"queue.q1.length": 7, "worker.w1.clock_skew_ms": -2.5},
        {"task.add.runtime": make.timing([1.5, 20.0], count=8), "task.add.wait": [0.0625]},
    )


WIRE = (
    "cluster.all.sent:3|c\n"
    "task.add.sent:0|c\n"
    "queue.q1.length:7|g\n"
    "worker.w1.clock_skew_ms:0|g\n"
    "worker.w1.clock_skew_ms:-2.5|g\n"
    "task.add.runtime:1.5|ms|@0.25\n"
    "task.add.runtime:20|ms|@0.25\n"
    "task.add.wait:0.062|ms"
)


def counted(text: str) -> dict[str, int]:
    """The sum of each counter in `text`."""
    sums: dict[str, int] = {}
    for line in text.split("\n"):
        name, _, value = line.partition(":")
        if value.endswith("|c"):
            sums[name] = sums.get(name, 0) + int(value[:-2])
    return sums


def free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class TestUdp:
    def test_a_small_batch_is_one_datagram(self, datagrams, sink_at, small):
        """Zeros included, a negative gauge as two lines, samples with their rate."""
        receiver = datagrams()
        sink = sink_at(f"statsd://127.0.0.1:{receiver.port}")
        sink.send(small)
        assert [WIRE] == receiver.take(1)
        tally = sink.tally
        assert (1, len(WIRE), 0, 0) == (tally.packets, tally.bytes, tally.errors, tally.dropped)

    def test_datagrams_are_filled_to_the_mtu_and_no_further(self, datagrams, sink_at, make):
        """Lines of 16 bytes, newline included: four fill 64 bytes but for the last newline."""
        receiver = datagrams()
        counters = {f"t.number{n:02}.s": n % 10 for n in range(10)}
        sink_at(f"statsd://127.0.0.1:{receiver.port}?mtu=67").send(make.batch(counters))
        lines = [f"{path}:{count}|c" for path, count in counters.items()]
        assert ["\n".join(lines[at : at + 4]) for at in (0, 4, 8)] == receiver.take(3)

    def test_a_datagram_may_be_exactly_the_mtu(self, datagrams, sink_at, make):
        """The last byte of the frame is used too; one byte less, and it takes two."""
        receiver = datagrams()
        batch = make.batch({"t." + "a" * 27 + ".s": 1, "t." + "b" * 26 + ".s": 1})
        for mtu, sizes in ((70, [70]), (69, [35, 34])):
            sink_at(f"statsd://127.0.0.1:{receiver.port}?mtu={mtu}").send(batch)
            assert sizes == [len(datagram) for datagram in receiver.take(len(sizes))]

    def test_the_whole_cluster_travels_in_one_datagram(self, datagrams, sink_at, make):
        """At the default size all its stage counters arrive together, or not at all."""
        stages = (
            "sent received on_arrival started succeeded failed retried revoked "
            "rejected returned unreported lost found expired"
        )
        cluster = {f"celery.default.cluster.all.{stage}.all": 10**6 for stage in stages.split()}
        tasks = {f"celery.default.task.shop-tasks-{n}.sent.all": n for n in range(100)}
        receiver = datagrams()
        sink = sink_at(f"statsd://127.0.0.1:{receiver.port}")
        sink.send(make.batch(cluster | tasks))
        first, *rest = receiver.take(sink.tally.packets)
        assert cluster == {n: v for n, v in counted(first).items() if ".cluster." in n}
        assert [] == [datagram for datagram in rest if ".cluster." in datagram]

    @pytest.mark.parametrize("width", range(1, 40))
    def test_no_packet_parts_a_negative_gauge(self, datagrams, sink_at, make, width):
        """Wherever the end of a datagram falls, `0|g` and the value stay together."""
        receiver = datagrams()
        gauges = {"q." + "a" * width + ".length": 1.0, "w.b.skew": -5.0, "w.c.skew": -6.0}
        sink = sink_at(f"statsd://127.0.0.1:{receiver.port}?mtu=64")
        sink.send(make.batch(gauges=gauges))
        text = receiver.take(sink.tally.packets)
        for pair in ("w.b.skew:0|g\nw.b.skew:-5|g", "w.c.skew:0|g\nw.c.skew:-6|g"):
            assert 1 == sum(pair in datagram for datagram in text)

    def test_a_line_no_datagram_can_hold_is_dropped_and_counted(self, datagrams, sink_at, make):
        """It is never cut; the others go out."""
        receiver = datagrams()
        sink = sink_at(f"statsd://127.0.0.1:{receiver.port}?mtu=64")
        sink.send(make.batch({"t.a.s": 1, "t." + "x" * 64 + ".s": 1, "t.b.s": 2}))
        assert ["t.a.s:1|c", "t.b.s:2|c"] == receiver.take(2)
        assert 1 == sink.tally.dropped

    def test_no_statsd_is_told_and_its_lines_come_later(self, datagrams, sink_at, make):
        """Three refused flushes arrive as one sum in the fourth, nothing lost, nothing twice."""
        port = free_udp_port()
        sink = sink_at(f"statsd://127.0.0.1:{port}")
        batch = make.batch({"t.a.s": 5}, {"q.a.length": 3}, {"t.a.runtime": [7]})
        for _ in range(3):
            with pytest.raises(SinkDown, match=f"127.0.0.1:{port}: Connection refused"):
                sink.send(batch)
        assert (3, 0, 0) == (sink.tally.errors, sink.tally.packets, sink.tally.dropped)
        receiver = datagrams(port)
        sink.send(batch)
        expected = "t.a.s:20|c\nq.a.length:3|g" + "\nt.a.runtime:7|ms" * 4
        assert [expected] == receiver.take(1)

    def test_a_refusal_in_the_middle_takes_the_whole_flush_back(self, datagrams, sink_at, make):
        """All of a refused flush's many datagrams come again, each line once."""
        port = free_udp_port()
        sink = sink_at(f"statsd://127.0.0.1:{port}?mtu=64")
        counters = {f"t.a{n}.s": n for n in range(50)}
        with pytest.raises(SinkDown):
            sink.send(make.batch(counters))
        receiver = datagrams(port)
        sink.send(make.batch())
        assert counters == counted("\n".join(receiver.take(sink.tally.packets)))

    def test_a_late_refusal_brings_the_last_flush_back(self, datagrams, sink_at, make):
        """Word that nobody was there may come after the flush, as it does from another host."""
        first = datagrams()
        sink = sink_at(f"statsd://127.0.0.1:{first.port}")
        sink.send(make.batch({"t.a.s": 5}))
        first.stop()
        sink._client._sock.send(b"")  # leaves the kernel's word unheard, as a late one would be
        second = datagrams(first.port)
        sink.send(make.batch({"t.a.s": 1}))
        assert ["t.a.s:6|c"] == second.take(1)
        assert 1 == sink.tally.errors

    def test_an_address_the_kernel_refuses_keeps_the_lines(self, sink_at, make):
        """Broadcast is not permitted: the sink is down, and leaves no socket open."""
        sink = sink_at("statsd://255.255.255.255")
        with pytest.raises(SinkDown, match="Permission denied"):
            sink.send(make.batch({"t.a.s": 5}))
        sink.close()
        assert 1 == sink.tally.dropped

    def test_what_is_kept_leaves_at_close(self, datagrams, sink_at, make):
        """Closing tries once more."""
        port = free_udp_port()
        sink = sink_at(f"statsd://127.0.0.1:{port}")
        with pytest.raises(SinkDown):
            sink.send(make.batch({"t.a.s": 5}))
        receiver = datagrams(port)
        sink.close()
        assert ["t.a.s:5|c"] == receiver.take(1)
        assert 0 == sink.tally.dropped

    def test_what_cannot_leave_at_close_is_counted(self, sink_at, make):
        """Three lines given up are three dropped, and only once."""
        sink = sink_at(f"statsd://127.0.0.1:{free_udp_port()}")
        with pytest.raises(SinkDown):
            sink.send(make.batch({"t.a.s": 5}, {"w.a.skew": -1.0}))
        sink.close()
        sink.close()
        assert (2, 3) == (sink.tally.errors, sink.tally.dropped)

    def test_a_name_that_does_not_resolve_keeps_the_lines(self, sink_at, make):
        """It is no crash, at the start or later, and the resolver is not asked for each flush."""
        sink = sink_at("statsd://no-such-host.invalid")
        with pytest.raises(SinkDown, match=r"no-such-host\.invalid"):
            sink.send(make.batch({"t.a.s": 5}))
        with pytest.raises(SinkDown, match="asked again every 30 s"):
            sink.send(make.batch({"t.a.s": 5}))
        sink.close()
        assert (3, 1) == (sink.tally.errors, sink.tally.dropped)

    def test_the_check_resolves_the_name(self, datagrams, sink_at):
        """A name that resolves is all UDP can tell; nothing is sent to find out more."""
        receiver = datagrams()
        sink_at(f"statsd://127.0.0.1:{receiver.port}").check()
        assert [] == receiver.take(0)
        with pytest.raises(SinkDown, match="mend the name"):
            sink_at("statsd://no-such-host.invalid").check()

    def test_ipv6(self, make, sink_at):
        """An address that is IPv6 alone is used as such."""
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as receiver:
            try:
                receiver.bind(("::1", 0))
            except OSError:
                pytest.skip("this machine has no IPv6 loopback")
            receiver.settimeout(10)
            sink_at(f"statsd://[::1]:{receiver.getsockname()[1]}").send(make.batch({"t.a.s": 1}))
            assert b"t.a.s:1|c" == receiver.recv(100)

    @pytest.mark.parametrize("mtu", ["0", "63", "65508", "-1", "x", ""])
    def test_an_impossible_mtu_is_refused(self, mtu):
        """Too small for a line, or too large for UDP."""
        with pytest.raises(ConfigError, match="mtu"):
            sink_from(f"statsd://127.0.0.1?mtu={mtu}")


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
        sink.send(make.batch())
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
        deaf.listen_again()
        sink.send(make.batch({"t.b.s": 4}))
        heard = deaf.wait_for_lines(len(many) + 1)
        assert sorted([*(f"{path}:1|c" for path in many), "t.b.s:7|c"]) == sorted(heard)
        assert (0, 3) == (sink.tally.dropped, sink.tally.errors)

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
        sink.send(make.batch({"t.b.s": 4}))
        sink.close()
        wait_until(lambda: len(server.counters()) > len(many), 20, "all counters are there")
        heard = server.counters()
    assert 7 == heard["t.b.s"]
    assert {1} == {heard[path] for path in many}
