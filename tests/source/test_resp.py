"""What Redis says to a subscriber, however it is cut up on the way."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import NoPermissionError, ResponseError

from celery_statsd.source.resp import Subscriber
from tests.test_names import patiently

PATTERN = b"/0.celeryev/*"
TEXTS = st.binary(max_size=40)


def text(value: bytes) -> bytes:
    """A text of known length, as Redis writes it."""
    return b"$%d\r\n%b\r\n" % (len(value), value)


def message(channel: bytes, payload: bytes, lead: bytes = b"*") -> bytes:
    """A message of the pattern."""
    return lead + b"4\r\n" + text(b"pmessage") + text(PATTERN) + text(channel) + text(payload)


def plain(channel: bytes, payload: bytes) -> bytes:
    """A message of a channel."""
    return b"*3\r\n" + text(b"message") + text(channel) + text(payload)


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, Subscriber]]:
    """The server's end, and a subscriber at the other."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield theirs, Subscriber(ours)


def heard(parts: list[bytes]) -> list[Any]:
    """What a subscriber hears that gets `parts`, one a read."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        subscriber = Subscriber(ours)
        found: list[Any] = []
        for part in filter(None, parts):
            theirs.sendall(part)
            assert subscriber.wait(1)
            found += subscriber.replies()
        return found


@patiently
@given(
    st.lists(st.tuples(st.sampled_from([message, plain]), TEXTS, TEXTS), max_size=8),
    st.sampled_from([b"*", b">"]),
    st.data(),
)
def test_it_is_whole_wherever_it_is_cut(said: Any, lead: bytes, data: st.DataObject) -> None:
    """Each channel and payload, in its order, among what is not of the pattern."""
    wires = [
        make(channel, payload, lead) if make is message else make(channel, payload)
        for make, channel, payload in said
    ]
    stream = b"+PONG\r\n".join(wires)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))
    parts = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    found = [reply for reply in heard(parts) if reply != b"PONG"]

    assert [(channel, payload) for _, channel, payload in said] == [
        (reply[-2], reply[-1]) for reply in found
    ]
    kinds = [b"pmessage" if make is message else b"message" for make, _, _ in said]
    assert kinds == [reply[0] for reply in found]


def test_other_replies_are_what_they_are(ends: tuple[socket.socket, Subscriber]) -> None:
    """Numbers, nothing, nested lists, errors by their kind."""
    theirs, subscriber = ends
    theirs.sendall(b"*3\r\n" + text(b"psubscribe") + text(PATTERN) + b":1\r\n")
    theirs.sendall(b"*2\r\n*1\r\n$-1\r\n*-1\r\n-NOPERM no\r\n-ERR what\r\n")
    confirmed, nested, refused, error = subscriber.replies()

    assert [b"psubscribe", PATTERN, b"1"] == confirmed
    assert [[None], None] == nested
    assert isinstance(refused, NoPermissionError)
    assert type(error) is ResponseError


@pytest.mark.parametrize("wire", [b"?\r\n", b"$x\r\n", b"*1\r\n" * 20, b"$999999999999\r\n"])
def test_what_no_redis_says_is_refused(wire: bytes, ends: tuple[socket.socket, Subscriber]) -> None:
    """The source then connects anew."""
    ends[0].sendall(wire)
    with pytest.raises(ValueError, match=r"."):
        ends[1].replies()


def test_an_end_is_told(ends: tuple[socket.socket, Subscriber]) -> None:
    """Nothing to read is not the end of it."""
    theirs, subscriber = ends
    assert not subscriber.wait(0)
    theirs.close()
    assert subscriber.wait(1)
    with pytest.raises(OSError, match="hung up"):
        subscriber.replies()


def test_a_length_that_is_cut_leads_nowhere_else() -> None:
    """The digits so far are a length, too: of something that stands at the beginning."""
    first, second = message(b"c", b"p"), message(b"c" * 17, b"q")
    cut = second.index(b"$17\r") + len(b"$17")
    found = heard([first + first + second[:cut], second[cut:]])
    assert [b"p", b"p", b"q"] == [reply[-1] for reply in found]


def test_lengths_that_are_none_are_refused(ends: tuple[socket.socket, Subscriber]) -> None:
    """Also where a message begins like all others."""
    server, subscriber = ends
    server.sendall(message(b"c", b"p"))
    assert subscriber.wait(1)
    assert 1 == len(subscriber.replies())
    server.sendall(message(b"c", b"p").replace(b"$1\r\np", b"$x\r\np"))
    assert subscriber.wait(1)
    with pytest.raises(ValueError, match="x"):
        subscriber.replies()
