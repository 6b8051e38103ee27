"""What the kernel tells of the socket that datagrams go to, beside what that socket knows."""

import socket
import sys
from collections.abc import Callable, Iterator

import pytest

from celery_statsd.sinks.base import Tally
from celery_statsd.sinks.places import Place, aimed
from celery_statsd.sinks.receiver import Receiver
from tests.sinks.conftest import Datagrams

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")

SMALL = 4096
"""Bytes of a receive buffer: a few datagrams fill it."""


class Sender:
    """A socket aimed at a port of this host, and what the kernel tells of the other end."""

    def __init__(self, host: str, port: int, family: int = socket.AF_INET) -> None:
        self.tally = Tally()
        self.sock = aimed(Place(family, (host, port)))
        self.receiver = Receiver(self.sock, self.tally)

    def send(self, count: int) -> None:
        """Send so many datagrams of 100 bytes."""
        for _ in range(count):
            self.sock.send(b"x" * 100)


@pytest.fixture(autouse=True, params=["asked", "tables"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The kernel is asked for the one socket or, where it does not answer, its tables are read."""
    if request.param == "tables":
        monkeypatch.setattr("celery_statsd.sinks.diagnosis._SOCK_DIAG", 31)  # there is no such one
    return str(request.param)


@pytest.fixture
def sender() -> Iterator[Callable[..., Sender]]:
    """Makes senders, and closes them at the end."""
    made: list[Sender] = []

    def make(*where: str | int) -> Sender:
        made.append(Sender(*where))
        return made[-1]

    yield make
    for one in made:
        one.receiver.close()
        one.sock.close()


@pytest.fixture
def bound(datagrams: Callable[..., Datagrams]) -> Callable[..., Datagrams]:
    """Binds receivers with a small buffer to an address."""

    def start(address: str, family: int = socket.AF_INET, port: int = 0) -> Datagrams:
        return datagrams((address, port), SMALL, family)

    return start


def test_what_waits_is_told(datagrams, sender):
    """Nothing, then something, then nothing again."""
    receiver = datagrams()
    to = sender("127.0.0.1", receiver.port)
    assert 0 == to.receiver.look()
    to.send(3)
    assert 300 < to.receiver.look()
    assert 3 == len(receiver.take_all())
    assert 0 == to.receiver.look()


@pytest.mark.parametrize(
    ("family", "address", "host"),
    [
        (socket.AF_INET, "127.0.0.1", "127.0.0.1"),
        (socket.AF_INET, "0.0.0.0", "127.0.0.1"),
        (socket.AF_INET, "127.0.0.9", "127.0.0.9"),
        (socket.AF_INET6, "::", "127.0.0.1"),
        (socket.AF_INET6, "::1", "::1"),
        (socket.AF_INET6, "::", "::1"),
    ],
)
def test_overruns_are_exact_however_it_is_bound(sender, bound, family, address, host):
    """Sent is read and overrun, to the unit."""
    try:
        receiver = bound(address, family)
    except OSError:
        pytest.skip("this machine has no IPv6")
    kind = socket.AF_INET6 if ":" in host else socket.AF_INET
    to = sender(host, receiver.port, kind)
    to.send(200)
    assert to.receiver.look() > 0
    read = len(receiver.take_all())
    assert 0 < read < 200
    assert 200 == read + to.tally.overrun


def test_the_growth_is_counted_once(sender, bound):
    """What was lost before, and what was told already, is not told again."""
    receiver = bound("127.0.0.1")
    first = sender("127.0.0.1", receiver.port)
    first.send(200)
    first.receiver.look()
    lost = first.tally.overrun
    second = sender("127.0.0.1", receiver.port)
    second.receiver.look()
    first.receiver.look()
    assert (lost, 0) == (first.tally.overrun, second.tally.overrun)
    second.send(7)
    second.receiver.look()
    assert 7 == second.tally.overrun


def test_a_receiver_that_comes_later_is_told_of_whole(sender, bound):
    """A new socket on the port has lost nothing before it was there."""
    receiver = bound("127.0.0.1")
    to = sender("127.0.0.1", receiver.port)
    receiver.stop()
    assert to.receiver.look() is None
    again = bound("127.0.0.1", port=receiver.port)
    to.send(200)
    to.receiver.look()
    read = len(again.take_all())
    assert 200 == read + to.tally.overrun


def test_another_socket_on_the_port_is_not_confused_with_it(sender, bound):
    """One bound to any address gets nothing while there is one bound to this very one."""
    receiver = bound("127.0.0.1")
    bound("0.0.0.0", port=receiver.port)
    full = sender("127.0.0.2", receiver.port)
    full.send(200)
    to = sender("127.0.0.1", receiver.port)
    assert 0 == to.receiver.look()
    to.send(1)
    to.receiver.look()
    assert 1 == len(receiver.take_all())
    assert 0 == to.tally.overrun


def test_nothing_is_known_of_another_host(bound):
    """Not even when a socket of this host has the same port."""
    receiver = bound("0.0.0.0")
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("192.0.2.1", receiver.port))  # sends nothing
        except OSError:
            pytest.skip("this machine has no way out")
        receiver = Receiver(sock, Tally())
        assert receiver.look() is None
        receiver.close()


def test_nothing_is_known_without_the_tables(way, sender, bound, monkeypatch, tmp_path):
    """Where there is no such file, and nobody answers, as on other systems."""
    monkeypatch.setattr("celery_statsd.sinks.receiver.TABLES", tmp_path)
    receiver = bound("127.0.0.1")
    to = sender("127.0.0.1", receiver.port)
    to.send(200)
    assert (way == "asked") == (to.receiver.look() is not None)
    assert (way == "asked") == bool(to.tally.overrun)
