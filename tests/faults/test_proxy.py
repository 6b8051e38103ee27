"""The proxy itself, by plain sockets: it does what its table says, and nothing else."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.faults.proxy import Proxy
from tests.servers.process import answers, wait_until


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that sends back what it gets."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve(peer: socket.socket) -> None:
        try:
            while data := peer.recv(65536):
                peer.sendall(data)
        except OSError:
            pass
        peer.close()

    def accept() -> None:
        while True:
            try:
                peer, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(peer,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    server.close()


@pytest.fixture
def proxy(echo: int) -> Iterator[Proxy]:
    """A proxy before the echo."""
    with Proxy(echo) as found:
        yield found


def _connect(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), 5)


def _echoed(peer: socket.socket, data: bytes) -> bytes:
    peer.sendall(data)
    back = b""
    while len(back) < len(data) and (got := peer.recv(65536)):
        back += got
    return back


@pytest.mark.parametrize("mode", ["pass", "slice"])
def test_all_is_forwarded(proxy: Proxy, mode: str) -> None:
    """Whole, or byte after byte."""
    proxy.set(mode)
    with _connect(proxy) as peer:
        assert b"x" * 3000 == _echoed(peer, b"x" * 3000)
    assert 6000 == proxy.passed


def test_a_black_hole_acknowledges_and_forwards_nothing(proxy: Proxy) -> None:
    """The open connection and the new one stay open and silent; later ones are well."""
    with _connect(proxy) as old:
        assert b"a" == _echoed(old, b"a")
        proxy.set("blackhole")
        with _connect(proxy) as new:
            for peer in (old, new):
                peer.sendall(b"x" * 1_000_000)
                peer.settimeout(0.2)
                with pytest.raises(TimeoutError):
                    peer.recv(1)
            proxy.set("pass")
            with pytest.raises(TimeoutError):
                old.recv(1)
    with _connect(proxy) as later:
        assert b"b" == _echoed(later, b"b")
    assert 4 == proxy.passed


def test_reset_and_refuse(proxy: Proxy) -> None:
    """What is open ends in a reset; then nobody listens; then all is well again."""
    for mode, listening in (("reset", True), ("refuse", False)):
        with _connect(proxy) as peer:
            assert b"a" == _echoed(peer, b"a")
            proxy.set(mode)
            with pytest.raises(ConnectionResetError):
                peer.recv(1)
        wait_until(lambda want=listening: want == answers(proxy.port), 10, mode)  # type: ignore[misc]
        proxy.set("pass")
        wait_until(lambda: answers(proxy.port), 10, "it listens")


def test_a_slow_line_takes_its_time(proxy: Proxy) -> None:
    """2000 bytes there and back, at 10,000 a second."""
    proxy.set("slow", rate=10_000)
    with _connect(proxy) as peer:
        began = time.monotonic()
        assert b"x" * 2000 == _echoed(peer, b"x" * 2000)
        assert time.monotonic() - began > 0.2


def test_each_connection_is_cut_where_it_was_told(proxy: Proxy) -> None:
    """After so many bytes to the client, to the byte; when no limits are left, not at all."""
    proxy.set("cut", limits=[1, 7])
    for limit in (1, 7, 10):
        with _connect(proxy) as peer:
            assert b"x" * limit == _echoed(peer, b"x" * 10)
