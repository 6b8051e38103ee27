"""What the kernel answers of one socket, beside its own tables and what the socket has read."""

import os
import socket
import sys
from collections.abc import Iterator

import pytest

from celery_statsd.sinks.diagnosis import Diagnosis

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")


@pytest.fixture
def receiver() -> Iterator[socket.socket]:
    """A receiver with room for a few datagrams."""
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.bind(("127.0.0.1", 0))
        yield sock


@pytest.fixture
def sender(receiver: socket.socket) -> Iterator[socket.socket]:
    """What sends to it."""
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.connect(receiver.getsockname())
        yield sock


@pytest.fixture
def diagnosis(sender: socket.socket) -> Iterator[Diagnosis]:
    """Asks for it."""
    made = Diagnosis(sender)
    if not made.works:
        pytest.skip("this kernel has no udp_diag")
    yield made
    made.close()


def test_what_waits_and_what_was_lost_is_told(receiver, sender, diagnosis):
    """Its inode, too; what is read does not wait any more."""
    inode = os.fstat(receiver.fileno()).st_ino
    assert (inode, 0, 0) == diagnosis.row()
    for _ in range(200):
        sender.send(b"x" * 100)
    row = diagnosis.row()
    assert row.inode == inode
    assert row.waiting > 0
    read = 0
    while diagnosis.row().waiting:
        receiver.recv(200)
        read += 1
    assert (inode, 0, 200 - read) == diagnosis.row()


def test_a_receiver_that_is_gone_is_not_there(receiver, diagnosis):
    """That is known, and the kernel still answers."""
    receiver.close()
    assert diagnosis.row() is None
    assert diagnosis.works


def test_it_is_the_one_that_gets_what_we_send(sender):
    """Of several that share an address the kernel has chosen one for us."""
    shared = [socket.socket(type=socket.SOCK_DGRAM) for _ in range(4)]
    for sock in shared:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(shared[0].getsockname() if sock is not shared[0] else ("127.0.0.1", 0))
    sender.connect(shared[0].getsockname())
    diagnosis = Diagnosis(sender)
    sender.send(b"x")
    told = diagnosis.row().inode
    for sock in shared:
        sock.setblocking(False)
    got = [sock for sock in shared if _reads(sock)]
    assert [told] == [os.fstat(sock.fileno()).st_ino for sock in got]
    for sock in shared:
        sock.close()
    diagnosis.close()


def _reads(sock: socket.socket) -> bool:
    try:
        return bool(sock.recv(10))
    except BlockingIOError:
        return False


def test_where_nobody_answers_nothing_is_known(sender, monkeypatch):
    """On a kernel without such questions; and after the last of them."""
    monkeypatch.setattr("celery_statsd.sinks.diagnosis._SOCK_DIAG", 31)
    diagnosis = Diagnosis(sender)
    assert not diagnosis.works
    assert diagnosis.row() is None
    diagnosis.close()
    assert diagnosis.row() is None
