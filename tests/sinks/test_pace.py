"""The pace of datagrams: how much goes out before a look, and when it is given up."""

import socket
import sys
import time
from contextlib import closing, suppress

import pytest

from celery_statsd.sinks.base import Tally
from celery_statsd.sinks.pace import LEAST, PORTION, Full, Pace, room_of
from celery_statsd.sinks.places import Place, aimed
from celery_statsd.sinks.receiver import Receiver

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what waits")

SIZE = 1432
"""Bytes of each datagram here."""

IN_A_PORTION = PORTION // room_of(SIZE)


class Line:
    """A paced sender to `port`; `sent` datagrams so far."""

    def __init__(self, port: int) -> None:
        self.tally = Tally()
        self.sent = 0
        self._sock = aimed(Place(socket.AF_INET, ("127.0.0.1", port)))
        self._receiver = Receiver(self._sock, self.tally)
        self.pace = Pace(self._receiver)

    def flush(self, datagrams: int, patience: float = 0.1) -> None:
        """Send so many. Raises Full."""
        self.pace.begin(patience)
        for _ in range(datagrams):
            self.pace.make_room(SIZE)
            self._sock.send(b"x" * SIZE)
            self.sent += 1

    def close(self) -> None:
        self._receiver.close()
        self._sock.close()


@pytest.fixture
def line():
    """Makes paced senders, and closes them at the end."""
    made: list[Line] = []

    def make(port: int) -> Line:
        made.append(Line(port))
        return made[-1]

    yield make
    for one in made:
        one.close()


@linux
@pytest.mark.parametrize("size", [1, 64, 200, 512, 700, 1432, 1700, 4000, 8192, 8932, 65_000])
def test_a_datagram_takes_no_more_room_than_thought(datagrams, size):
    """The kernel's own books, beside the estimate."""
    receiver = datagrams()
    with (
        aimed(Place(socket.AF_INET, ("127.0.0.1", receiver.port))) as sock,
        closing(Receiver(sock, Tally())) as told,
    ):
        sock.send(b"x" * size)
        assert size < told.look() <= room_of(size)


@linux
def test_a_receiver_that_takes_nothing_gets_two_portions_and_no_more(datagrams, line):
    """The first without a look, the second because the first leaves room for it."""
    receiver = datagrams()
    to = line(receiver.port)
    for _ in range(3):
        with pytest.raises(Full):
            to.flush(1000)
    assert IN_A_PORTION <= to.sent < 92
    assert to.sent == len(receiver.take_all())
    assert 0 == to.tally.overrun


@linux
def test_a_receiver_that_is_slow_gets_a_portion_a_flush(datagrams, line, monkeypatch):
    """It is behind all the time, but was seen to read: it is not left out."""
    receiver = datagrams()
    to = line(receiver.port)
    with pytest.raises(Full):
        to.flush(1000)
    before = to.sent

    def nap(seconds: float, real=time.sleep) -> None:
        """Meanwhile the receiver reads one datagram, and then no other."""
        if len(taken) == 0:
            taken.append(receiver.take_one())
        real(seconds)

    taken: list[str] = []
    monkeypatch.setattr("celery_statsd.sinks.pace.time.sleep", nap)
    with pytest.raises(Full):
        to.flush(1000)
    assert before + IN_A_PORTION == to.sent
    assert to.sent == len(taken) + len(receiver.take_all())


@linux
def test_portions_shrink_while_datagrams_are_lost_and_grow_again(datagrams, line):
    """Halved after each flush that lost some, until none does; then doubled."""
    receiver = datagrams(room=4096)
    to = line(receiver.port)
    portions, lost = [], [1]
    while lost[-1]:
        with suppress(Full):
            to.flush(IN_A_PORTION)
        portions.append(to.pace._portion)
        before = to.tally.overrun
        to.pace._receiver.look()
        lost.append(to.tally.overrun - before)
        receiver.take_all()
    to.flush(0)
    assert [PORTION // 2**n for n in range(len(portions))] == portions
    assert 2 < len(portions)
    assert 2 * portions[-1] == to.pace._portion
    assert LEAST <= portions[-1]


def test_elsewhere_a_pause_follows_each_portion(datagrams, line, monkeypatch, tmp_path):
    """Where nothing can be seen, as many pauses as portions are complete, within its patience."""
    monkeypatch.setattr("celery_statsd.sinks.receiver.TABLES", tmp_path)
    monkeypatch.setattr("celery_statsd.sinks.diagnosis._SOCK_DIAG", 31)  # nobody answers
    naps: list[float] = []
    monkeypatch.setattr("celery_statsd.sinks.pace.time.sleep", naps.append)
    receiver = datagrams()
    to = line(receiver.port)
    to.flush(IN_A_PORTION)
    assert [] == naps
    to.flush(3 * IN_A_PORTION, patience=60)
    assert [0.005, 0.005] == naps
    to.flush(3 * IN_A_PORTION, patience=0)
    assert [0.0, 0.0] == naps[2:]
