"""Delivery up to the acknowledgement, on real sockets."""

import socket
import time

import pytest

from celery_statsd.sinks import stream


def soon(seconds: float = 10.0) -> float:
    return time.monotonic() + seconds


@pytest.fixture
def connect():
    """Connects to loopback ports; a small send buffer makes a full one quick."""
    made = []

    def start(port: int) -> socket.socket:
        made.append(socket.create_connection(("127.0.0.1", port)))
        return made[-1]

    yield start
    for sock in made:
        sock.close()


def test_what_is_delivered_has_arrived(listen, connect):
    """After `deliver` every byte lies with the peer's kernel."""
    server = listen(deaf=True)
    stream.deliver(connect(server.port), b"x" * 5000, soon())
    server.listen_again()
    assert b"x" * 5000 == server.wait(b"x" * 5000)


def test_a_peer_that_stops_reading_is_told_to_the_byte(listen, connect):
    """Cut says what the peer's kernel took: exactly this much can be read there afterwards."""
    server = listen(deaf=True)
    sock = connect(server.port)
    with pytest.raises(stream.Cut) as cut:
        stream.deliver(sock, b"x" * 30_000_000, soon(0.3))
    assert cut.value.slow
    assert 0 < cut.value.taken < 30_000_000
    server.listen_again()
    assert cut.value.taken == len(server.wait(b"x" * cut.value.taken))


def test_a_peer_that_left_is_noticed(listen, connect):
    """A connection is gone once the peer has closed it, not before."""
    server = listen()
    sock = connect(server.port)
    assert not stream.gone(sock)
    server.stop()
    assert stream.gone(sock)


def test_a_peer_that_left_takes_nothing(connect):
    """The first bytes after the end of the peer find nobody: taken is 0, though `send` succeeds."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        sock = connect(server.getsockname()[1])
        server.accept()[0].close()
    with pytest.raises(stream.Cut) as cut:
        stream.deliver(sock, b"into the void", soon())
    assert (0, False) == (cut.value.taken, cut.value.slow)


def test_a_refused_datagram_is_raised_once():
    """The kernel's word about a socket is told, and then forgotten."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        closed.bind(("127.0.0.1", 0))
        where = closed.getsockname()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(where)
        sock.send(b"x")
        with pytest.raises(ConnectionRefusedError):
            stream.raise_pending(sock)
        stream.raise_pending(sock)
