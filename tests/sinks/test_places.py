"""Where a name leads: every address is tried, and each look-up is a new one."""

import socket
import time

import pytest

from celery_statsd.sinks import places
from celery_statsd.sinks.places import Place


@pytest.fixture
def name(monkeypatch):
    """A name, `sink.test`, that leads to the addresses in this list, in their order."""
    addresses: list[str] = []
    real = socket.getaddrinfo

    def resolve(host, port, *args, **kwargs):
        wanted = addresses if host == "sink.test" else [host]
        return [row for address in wanted for row in real(address, port, *args, **kwargs)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return addresses


@pytest.fixture
def full():
    """A listener whose queue is full: connecting to it never ends; its address."""
    with socket.socket() as listener, socket.socket() as one, socket.socket() as two:
        listener.bind(("127.0.0.4", 0))
        listener.listen(0)
        for caller in (one, two):
            caller.setblocking(False)
            caller.connect_ex(listener.getsockname())
        yield listener.getsockname()


def soon(seconds: float = 20.0) -> float:
    return time.monotonic() + seconds


def test_the_real_resolver_knows_localhost():
    """Its addresses, each once; for datagrams those of IPv4 alone."""
    found = places.places("localhost", 8125, socket.SOCK_STREAM)
    assert len(found) == len(set(found))
    plain = Place(socket.AF_INET, ("127.0.0.1", 8125))
    assert plain in found
    assert [plain] == places.places("localhost", 8125, socket.SOCK_DGRAM)


def test_a_name_of_ipv6_alone_is_used_as_such():
    """For datagrams too."""
    found = places.places("::1", 8125, socket.SOCK_DGRAM)
    assert [socket.AF_INET6] == [place.family for place in found]


def test_an_address_that_refuses_leaves_it_to_the_next(listen, name):
    """The first has nobody, the second has."""
    server = listen()
    name[:] = ["127.0.0.2", "127.0.0.1"]
    with places.connected("sink.test", server.port, soon()) as sock:
        assert "127.0.0.1" == sock.getpeername()[0]


def test_an_address_that_does_not_answer_leaves_time_to_the_next(name, full):
    """It has its share of the time, and no more."""
    host, port = full
    with socket.create_server(("127.0.0.1", port)):
        name[:] = [host, "127.0.0.1"]
        with places.connected("sink.test", port, soon(1.0)) as sock:
            assert "127.0.0.1" == sock.getpeername()[0]


def test_the_last_error_is_told(name, full):
    """Where nobody answers: within the time there was."""
    host, port = full
    name[:] = ["127.0.0.2", host]
    with pytest.raises(TimeoutError):
        places.connected("sink.test", port, soon(0.3))
    name[:] = [host, "127.0.0.2"]
    with pytest.raises(ConnectionRefusedError):
        places.connected("sink.test", port, soon(0.3))


@pytest.mark.parametrize("scheme", ["statsd+tcp", "graphite"])
def test_each_new_connection_asks_again(listen, name, sink_at, make, scheme):
    """The name leads elsewhere after an outage: there the next connection goes."""
    first = listen()
    name[:] = ["127.0.0.1"]
    sink = sink_at(f"{scheme}://sink.test:{first.port}")
    sink.send(make.batch({"t.a.s": 1}))
    first.wait_until(lambda heard: heard)
    first.stop()
    with socket.create_server(("127.0.0.2", first.port)) as second:
        name[:] = ["127.0.0.3", "127.0.0.2"]
        sink.send(make.batch({"t.a.s": 2}))
        with second.accept()[0] as link:
            assert b"t.a.s" in link.recv(100)
    assert 0 == sink.tally.errors


def test_an_aimed_socket_hears_a_refusal():
    """The word of the network is told to it."""
    with socket.socket(type=socket.SOCK_DGRAM) as gone:
        gone.bind(("127.0.0.1", 0))
        where = gone.getsockname()
    with places.aimed(Place(socket.AF_INET, where)) as sock:
        sock.send(b"x")
        with pytest.raises(ConnectionRefusedError):
            sock.send(b"x")


def test_a_socket_that_cannot_be_aimed_is_an_error():
    """Broadcast is not permitted."""
    with pytest.raises(PermissionError):
        places.aimed(Place(socket.AF_INET, ("255.255.255.255", 8125)))
