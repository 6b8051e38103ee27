"""StatsD over datagrams, to the byte, on real sockets: refusals, full buffers, names."""

import json
import os
import shutil
import socket
import subprocess
import sys
from contextlib import suppress
from itertools import islice

import pytest

from celery_statsd.errors import ConfigError, SinkDown
from celery_statsd.sinks import sink_from
from tests.conftest import running
from tests.servers.process import REPOSITORY, wait_until
from tests.servers.statsd import StatsD
from tests.sinks.conftest import WIRE, counted


def free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def test_a_small_batch_is_one_datagram(datagrams, sink_at, small):
    """Zeros included, a negative gauge as two lines, samples with their rate."""
    receiver = datagrams()
    sink = sink_at(f"statsd://127.0.0.1:{receiver.port}")
    sink.send(small)
    assert [WIRE] == receiver.take(1)
    tally = sink.tally
    assert (1, len(WIRE), 0, 0) == (tally.packets, tally.bytes, tally.errors, tally.dropped)


def test_datagrams_are_filled_to_the_mtu_and_no_further(datagrams, sink_at, make):
    """Lines of 16 bytes, newline included: four fill 64 bytes but for the last newline."""
    receiver = datagrams()
    counters = {f"t.number{n:02}.s": n % 10 for n in range(10)}
    sink_at(f"statsd://127.0.0.1:{receiver.port}?mtu=67").send(make.batch(counters))
    lines = [f"{path}:{count}|c" for path, count in counters.items()]
    assert ["\n".join(lines[at : at + 4]) for at in (0, 4, 8)] == receiver.take(3)


def test_a_datagram_may_be_exactly_the_mtu(datagrams, sink_at, make):
    """The last byte of the frame is used too; one byte less, and it takes two."""
    receiver = datagrams()
    batch = make.batch({"t." + "a" * 27 + ".s": 1, "t." + "b" * 26 + ".s": 1})
    for mtu, sizes in ((70, [70]), (69, [35, 34])):
        sink_at(f"statsd://127.0.0.1:{receiver.port}?mtu={mtu}").send(batch)
        assert sizes == [len(datagram) for datagram in receiver.take(len(sizes))]


def test_the_whole_cluster_travels_in_one_datagram(datagrams, sink_at, make):
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
def test_no_packet_parts_a_negative_gauge(datagrams, sink_at, make, width):
    """Wherever the end of a datagram falls, `0|g` and the value stay together."""
    receiver = datagrams()
    gauges = {"q." + "a" * width + ".length": 1.0, "w.b.skew": -5.0, "w.c.skew": -6.0}
    sink = sink_at(f"statsd://127.0.0.1:{receiver.port}?mtu=64")
    sink.send(make.batch(gauges=gauges))
    text = receiver.take(sink.tally.packets)
    for pair in ("w.b.skew:0|g\nw.b.skew:-5|g", "w.c.skew:0|g\nw.c.skew:-6|g"):
        assert 1 == sum(pair in datagram for datagram in text)


def test_a_line_no_datagram_can_hold_is_dropped_and_counted(datagrams, sink_at, make):
    """It is never cut; the others go out."""
    receiver = datagrams()
    sink = sink_at(f"statsd://127.0.0.1:{receiver.port}?mtu=64")
    sink.send(make.batch({"t.a.s": 1, "t." + "x" * 64 + ".s": 1, "t.b.s": 2}))
    assert ["t.a.s:1|c", "t.b.s:2|c"] == receiver.take(2)
    assert 1 == sink.tally.dropped


def test_no_statsd_is_told_and_its_lines_come_later(datagrams, sink_at, make):
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


def test_a_refusal_in_the_middle_takes_the_whole_flush_back(datagrams, sink_at, make):
    """All of a refused flush's many datagrams come again, each line once."""
    port = free_udp_port()
    sink = sink_at(f"statsd://127.0.0.1:{port}?mtu=64")
    counters = {f"t.a{n}.s": n for n in range(50)}
    with pytest.raises(SinkDown):
        sink.send(make.batch(counters))
    receiver = datagrams(port)
    sink.send(make.batch())
    assert counters == counted("\n".join(receiver.take(sink.tally.packets)))


def test_a_late_refusal_brings_the_last_flush_back(datagrams, sink_at, make):
    """Word that nobody was there may come after the flush, as it does from another host."""
    first = datagrams()
    sink = sink_at(f"statsd://127.0.0.1:{first.port}")
    sink.send(make.batch({"t.a.s": 5}))
    first.stop()
    sink._client._sock.send(b"")  # leaves the kernel's word unheard, as a late one would be
    second = datagrams(first.port)
    with pytest.raises(SinkDown, match="refused; what was refused has been sent again"):
        sink.send(make.batch({"t.a.s": 1}))
    assert ["t.a.s:6|c"] == second.take(1)
    sink.send(make.batch({"t.a.s": 2}))
    assert ["t.a.s:2|c"] == second.take(1)
    assert 1 == sink.tally.errors


def test_an_address_the_kernel_refuses_keeps_the_lines(sink_at, make):
    """Broadcast is not permitted: the sink is down, and leaves no socket open."""
    sink = sink_at("statsd://255.255.255.255")
    with pytest.raises(SinkDown, match="Permission denied"):
        sink.send(make.batch({"t.a.s": 5}))
    sink.close()
    assert 1 == sink.tally.dropped


def test_what_is_kept_leaves_at_close(datagrams, sink_at, make):
    """Closing tries once more."""
    port = free_udp_port()
    sink = sink_at(f"statsd://127.0.0.1:{port}")
    with pytest.raises(SinkDown):
        sink.send(make.batch({"t.a.s": 5}))
    receiver = datagrams(port)
    sink.close()
    assert ["t.a.s:5|c"] == receiver.take(1)
    assert 0 == sink.tally.dropped


def test_what_cannot_leave_at_close_is_counted(sink_at, make):
    """Three lines given up are three dropped, and only once."""
    sink = sink_at(f"statsd://127.0.0.1:{free_udp_port()}")
    with pytest.raises(SinkDown):
        sink.send(make.batch({"t.a.s": 5}, {"w.a.skew": -1.0}))
    sink.close()
    sink.close()
    assert (2, 3) == (sink.tally.errors, sink.tally.dropped)


def test_a_name_that_does_not_resolve_keeps_the_lines(sink_at, make):
    """It is no crash, at the start or later, and the resolver is not asked for each flush."""
    sink = sink_at("statsd://no-such-host.invalid")
    with pytest.raises(SinkDown, match=r"no-such-host\.invalid"):
        sink.send(make.batch({"t.a.s": 5}))
    with pytest.raises(SinkDown, match="asked again every 30 s"):
        sink.send(make.batch({"t.a.s": 5}))
    sink.close()
    assert (3, 1) == (sink.tally.errors, sink.tally.dropped)


def test_the_check_resolves_the_name(datagrams, sink_at):
    """A name that resolves is all UDP can tell; nothing is sent to find out more."""
    receiver = datagrams()
    sink_at(f"statsd://127.0.0.1:{receiver.port}").check()
    assert [] == receiver.take(0)
    with pytest.raises(SinkDown, match="mend the name"):
        sink_at("statsd://no-such-host.invalid").check()


def test_ipv6(make, sink_at):
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
def test_an_impossible_mtu_is_refused(mtu):
    """Too small for a line, or too large for UDP."""
    with pytest.raises(ConfigError, match="mtu"):
        sink_from(f"statsd://127.0.0.1?mtu={mtu}")


# --- receivers on this host that do not read --------------------------------------------------


linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of overruns")

MANY = {f"task.{'a' * 80}{n:05}.s": 1 for n in range(20_000)}
"""Some 1200 datagrams: more than ten times what a default buffer holds."""


@linux
def test_what_the_receiver_had_no_room_for_is_counted(datagrams, sink_at, make):
    """A small buffer, never read: what was sent is what lies in it and what is counted."""
    receiver = datagrams(room=4096)
    sink = sink_at(f"statsd://127.0.0.1:{receiver.port}?timeout=0.2")
    for _ in range(3):
        with suppress(SinkDown):
            sink.send(make.batch(dict.fromkeys(islice(MANY, 300), 1), interval=0.2))
    sink._hear()
    tally = sink.tally
    assert 0 < tally.overrun
    assert tally.packets == len(receiver.take_all()) + tally.overrun


@linux
def test_a_receiver_that_stands_still_costs_nothing(datagrams, sink_at, make):
    """What would find its buffer full is kept as sums; when it reads again all has arrived."""
    receiver = datagrams()
    sink = sink_at(f"statsd://127.0.0.1:{receiver.port}?timeout=1")
    for _ in range(3):
        with pytest.raises(SinkDown, match="its buffer is full, and it does not read"):
            sink.send(make.batch(MANY))
    with receiver.read_along() as taken:
        wait_until(lambda: _delivered(sink, make), 20, "the rest is sent")
    assert dict.fromkeys(MANY, 3) == counted("\n".join(taken))
    assert (0, 0) == (sink.tally.overrun, sink.tally.dropped)
    assert sink.tally.packets == len(taken)


def _delivered(sink, make) -> bool:
    """Whether all that was kept is out now."""
    try:
        sink.send(make.batch())
    except SinkDown:
        return False
    return True


@linux
def test_a_flush_larger_than_the_buffer_fits_while_it_is_read(datagrams, sink_at, make):
    """A receiver with the default buffer that reads along gets everything at once."""
    receiver = datagrams()
    sink = sink_at(f"statsd://127.0.0.1:{receiver.port}?timeout=30")
    with receiver.read_along() as taken:
        sink.send(make.batch(MANY))
    assert MANY == counted("\n".join(taken))
    assert (0, 0) == (sink.tally.overrun, sink.tally.errors)


@pytest.mark.e2e
def test_a_real_statsd_that_stood_still_has_all(tmp_path, make):
    """Suspended over three large flushes; it has each of them in the end, and lost no datagram."""
    with running(lambda: StatsD(tmp_path, 3600)) as server:
        sink = sink_from(f"statsd://127.0.0.1:{server.port}?timeout=1")
        with server.suspended():
            for _ in range(3):
                with pytest.raises(SinkDown):
                    sink.send(make.batch(MANY))
        wait_until(lambda: _delivered(sink, make), 30, "the rest is sent")
        wait_until(lambda: len(server.counters()) >= len(MANY), 30, "all counters are there")
        heard = server.counters()
        sink.close()
    assert {3} == {heard[path] for path in MANY}
    assert (0, 0) == (sink.tally.overrun, sink.tally.dropped)


def by_path(timers):
    """The values of each timer, least first."""
    return {path: sorted(values) for path, values in timers.items()}


@pytest.mark.e2e
@pytest.mark.parametrize("sharing", ["", "&share_lines=yes"])
def test_a_real_statsd_reads_each_value(tmp_path, sink_at, make, sharing):
    """Alone on its line, or with others; samples stand for as many as they say."""
    told = {"t.a.runtime": [float(value) for value in range(90)], "t.b.runtime": [0.125]}
    sample = make.timing([1.5, 2.5, 4.0], count=12)
    batch = make.batch(
        counters={"t.a.c": 3}, gauges={"w.g": -3.5}, timers={**told, "t.s.w": sample}
    )
    with running(lambda: StatsD(tmp_path, 3600)) as server:
        sink = sink_at(f"statsd://127.0.0.1:{server.port}?mtu=200{sharing}")
        sink.send(batch)
        wait_until(lambda: len(server.timers()) == 3, 10, "all timers are there")
        assert {**told, "t.s.w": [1.5, 2.5, 4.0]} == by_path(server.timers())
        assert 3 == server.counters()["t.a.c"]
        assert -3.5 == server.gauges()["w.g"]
    assert (sink.tally.packets < 9) == bool(sharing)


def test_values_share_lines_if_they_may(datagrams, sink_at, make):
    """As many as a datagram holds; each line names its path once."""
    receiver = datagrams()
    sink = sink_at(f"statsd://127.0.0.1:{receiver.port}?mtu=64&share_lines=yes")
    sink.send(make.batch(timers={"a.b.c": [1.0] * 20, "a.b.d": make.timing([2, 3], count=8)}))
    taken = receiver.take(sink.tally.packets)

    lines = "\n".join(taken).split("\n")
    assert ["a.b.c:" + ":".join(["1|ms"] * n) for n in (11, 9)] == lines[:2]
    assert ["a.b.d:2|ms|@0.25:3|ms|@0.25"] == lines[2:]


def test_shared_lines_are_counted_by_their_values(sink_at, make):
    """One that no datagram can hold is dropped, with all it has."""
    sink = sink_at(f"statsd://127.0.0.1:{free_udp_port()}?mtu=64&share_lines=yes")
    sink.send(make.batch(timers={"a." + "b" * 80: [1.0, 2.0, 3.0]}))
    assert (3, 0) == (sink.tally.dropped, sink.tally.packets)


@pytest.mark.parametrize("value", ["", "1", "true", "maybe"])
def test_share_lines_is_yes_or_no(value):
    """The error names the option and its default."""
    with pytest.raises(ConfigError, match=r"share_lines='.*' is not yes_or_no.*False"):
        sink_from(f"statsd://127.0.0.1?share_lines={value}")


# --- names ------------------------------------------------------------------------------------


@pytest.fixture
def name(monkeypatch):
    """A name the resolver knows, and where it leads: a list the test may change."""
    addresses: list[str] = []
    real = socket.getaddrinfo

    def resolve(host, port, *args, **kwargs):
        if host != "statsd.test":
            return real(host, port, *args, **kwargs)
        if not addresses:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [row for address in addresses for row in real(address, port, *args, **kwargs)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return addresses


@pytest.fixture
def always(monkeypatch):
    """A name is looked up at each flush."""
    monkeypatch.setattr("celery_statsd.sinks.datagram.LOOK_UP_EVERY", 0.0)


@pytest.mark.usefixtures("always")
def test_a_name_that_leads_elsewhere_is_followed(datagrams, sink_at, make, name):
    """Though nothing was refused."""
    first = datagrams(("127.0.0.2", 0))
    second = datagrams(("127.0.0.3", first.port))
    sink = sink_at(f"statsd://statsd.test:{first.port}")
    name[:] = ["127.0.0.2"]
    sink.send(make.batch({"t.a.s": 1}))
    name[:] = ["127.0.0.3", "127.0.0.2"]  # it still leads to the one in use
    sink.send(make.batch({"t.a.s": 2}))
    name.clear()  # no name server answers
    sink.send(make.batch({"t.a.s": 3}))
    name[:] = ["127.0.0.3"]
    sink.send(make.batch({"t.a.s": 4}))
    assert ["t.a.s:1|c", "t.a.s:2|c", "t.a.s:3|c"] == first.take(3)
    assert ["t.a.s:4|c"] == second.take(1)
    assert 0 == sink.tally.errors


def test_after_a_refusal_the_next_address_is_tried(datagrams, sink_at, make, name):
    """Without asking again; what was refused arrives there."""
    name[:] = ["127.0.0.2", "127.0.0.3"]
    second = datagrams(("127.0.0.3", 0))
    sink = sink_at(f"statsd://statsd.test:{second.port}")
    with pytest.raises(SinkDown, match="refused"):
        sink.send(make.batch({"t.a.s": 1}))
    name.clear()
    sink.send(make.batch({"t.a.s": 2}))
    sink.send(make.batch({"t.a.s": 4}))
    assert ["t.a.s:3|c", "t.a.s:4|c"] == second.take(2)


def test_a_name_is_not_looked_up_for_each_flush(datagrams, sink_at, make, name):
    """Within half a minute what it led to holds."""
    first = datagrams(("127.0.0.2", 0))
    sink = sink_at(f"statsd://statsd.test:{first.port}")
    name[:] = ["127.0.0.2"]
    sink.send(make.batch({"t.a.s": 1}))
    name[:] = ["127.0.0.3"]
    sink.send(make.batch({"t.a.s": 2}))
    assert ["t.a.s:1|c", "t.a.s:2|c"] == first.take(2)


# --- what the kernel refuses ------------------------------------------------------------------


def test_a_datagram_too_large_for_the_way_is_sent_in_smaller_ones(make, sink_at):
    """The kernel says so (EMSGSIZE): nothing is lost, and it does not happen again."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as receiver:
        try:
            receiver.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no IPv6 loopback")
        receiver.settimeout(10)
        sink = sink_at(f"statsd://[::1]:{receiver.getsockname()[1]}?mtu=8000")
        sink.send(make.batch())
        narrow(sink._client._sock, 1280)
        counters = {f"t.{'a' * 80}{n}.s": n for n in range(100)}
        with pytest.raises(SinkDown, match="Message too long"):
            sink.send(make.batch(counters))
        assert sink._mtu == 4000
        sink.send(make.batch(counters))
        taken = [receiver.recv(65536).decode() for _ in range(sink.tally.packets)]
    assert {path: 2 * n for path, n in counters.items()} == counted("\n".join(taken))
    assert 4000 >= max(map(len, taken))
    assert 0 == sink.tally.dropped


def narrow(sock: socket.socket, mtu: int) -> None:
    """Make the way out of an IPv6 socket as narrow as a tunnel that may not split: IPV6_MTU and
    IPV6_MTU_DISCOVER (do) of linux/in6.h."""
    sock.setsockopt(socket.IPPROTO_IPV6, 24, mtu)
    sock.setsockopt(socket.IPPROTO_IPV6, 23, 2)


# --- another host, in a network of its own ----------------------------------------------------


@pytest.mark.e2e
@linux
@pytest.mark.parametrize("play", ["dead_host", "full_queue"])
def test_over_a_real_link_nothing_is_lost(play):
    """A host that is off, and a link too slow for its queue: see `tests.sinks.link`, which tells
    what was sent and what has arrived."""
    command = [sys.executable, "-m", "tests.sinks.link", play]
    apart = ["unshare", "--map-root-user", "--net"]
    if not shutil.which("tc"):
        pytest.skip("iproute2 is not installed")
    try:
        subprocess.run([*apart, "ip", "link", "add", "type", "veth"], check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no network of its own can be made here")
    done = subprocess.run(
        [*apart, *command], check=False, capture_output=True, text=True, cwd=REPOSITORY
    )
    assert 0 == done.returncode, done.stderr
    told = json.loads(done.stdout)
    assert told["sent"] == told["arrived"]
    assert 0 < told["errors"]
    assert 0 == told["dropped"]


# --- Unix datagrams ---------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path):
    """Where a Unix datagram socket may be."""
    return str(tmp_path / "statsd.sock")


def test_unix_datagrams_are_written_as_udp_s(datagrams, sink_at, small, path):
    """The same lines, in datagrams of up to 8192 bytes."""
    receiver = datagrams(path)
    sink = sink_at(f"statsd+unixgram://{path}")
    sink.send(small)
    assert [WIRE] == receiver.take(1)
    assert 8192 == sink._mtu


def test_a_slow_reader_of_unix_datagrams_loses_nothing(datagrams, sink_at, make, path):
    """Its queue is full after some ten: the rest is kept, and comes when it reads."""
    receiver = datagrams(path)
    sink = sink_at(f"statsd+unixgram://{path}?mtu=512&timeout=0.3")
    counters = {f"t.{'a' * 80}{n}.s": 1 for n in range(500)}
    for _ in range(2):
        with pytest.raises(SinkDown, match="timed out"):
            sink.send(make.batch(counters))
    with receiver.read_along() as taken:
        wait_until(lambda: _delivered(sink, make), 20, "the rest is sent")
    assert dict.fromkeys(counters, 2) == counted("\n".join(taken))
    assert sink.tally.packets == len(taken)
    assert 0 == sink.tally.dropped


def test_a_unix_socket_that_goes_and_comes(datagrams, sink_at, make, path):
    """No file, a file nobody is behind, a new socket in its place: no flush is lost or doubled."""
    sink = sink_at(f"statsd+unixgram://{path}")
    with pytest.raises(SinkDown, match="No such file"):
        sink.send(make.batch({"t.a.s": 1}))
    first = datagrams(path)
    sink.send(make.batch({"t.a.s": 2}))
    assert ["t.a.s:3|c"] == first.take(1)
    first.stop()
    with pytest.raises(SinkDown, match="Connection refused"):
        sink.send(make.batch({"t.a.s": 4}))
    os.unlink(path)
    with pytest.raises(SinkDown, match="No such file"):
        sink.send(make.batch({"t.a.s": 8}))
    second = datagrams(path)
    sink.send(make.batch({"t.a.s": 16}))
    assert ["t.a.s:28|c"] == second.take(1)
    assert (3, 0) == (sink.tally.errors, sink.tally.dropped)


def test_a_unix_reader_that_is_replaced_between_two_flushes(datagrams, sink_at, make, path):
    """The next flush goes to the new one, without an error."""
    sink = sink_at(f"statsd+unixgram://{path}")
    for flush in range(3):
        receiver = datagrams(path)
        sink.send(make.batch({"t.a.s": flush}))
        assert [f"t.a.s:{flush}|c"] == receiver.take(1)
        receiver.stop()
        os.unlink(path)
    assert 0 == sink.tally.errors


def test_a_unix_datagram_larger_than_the_send_buffer_is_sent_in_smaller_ones(
    datagrams, sink_at, make, path, monkeypatch
):
    """The kernel's own bound on one datagram, with a small buffer for everybody."""
    receiver = datagrams(path)
    sink = sink_at(f"statsd+unixgram://{path}?mtu=30000&timeout=5")
    real = socket.socket.connect

    def connect(sock, where):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        real(sock, where)

    monkeypatch.setattr(socket.socket, "connect", connect)
    counters = {f"t.{'a' * 80}{n}.s": n for n in range(400)}
    with receiver.read_along() as taken:
        for _ in range(2):
            with suppress(SinkDown):
                sink.send(make.batch(counters))
        wait_until(lambda: _delivered(sink, make), 20, "all is sent")
    assert {path: 2 * n for path, n in counters.items()} == counted("\n".join(taken))
    assert 7500 == sink._mtu
    assert 0 == sink.tally.dropped


def test_the_check_of_a_unix_socket_connects(datagrams, sink_at, path):
    """It says where nobody listens, and sends nothing."""
    sink = sink_at(f"statsd+unixgram://{path}")
    with pytest.raises(SinkDown, match="start something that listens there"):
        sink.check()
    receiver = datagrams(path)
    sink.check()
    assert [] == receiver.take(0)
