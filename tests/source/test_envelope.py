"""kombu's envelopes: what comes out of them, whatever they look like, and however it is read."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celery_statsd.source.base import Facts, Message
from celery_statsd.source.envelope import BAD_ENVELOPE, MOST_KNOWN, Unwrapper, unwrapped
from tests.bodies import patiently

TAG = "c52d078b-8bfc-40a5-8d17-873d54394308"


def envelope(body: str, encoding: Any = "base64", **changes: Any) -> bytes:
    """An envelope as kombu makes it, changed."""
    properties = {"body_encoding": encoding, "delivery_info": {"routing_key": "task.sent"}}
    parts = {
        "body": body,
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {"hostname": "h"},
        "properties": {name: value for name, value in properties.items() if value != "absent"},
    }
    return json.dumps(parts | changes).encode()


@pytest.mark.parametrize(
    ("body", "encoding"),
    [("eyJhIjoxfQ==", "base64"), ('{"a":1}', "utf-8"), ('{"a":1}', None), ('{"a":1}', "absent")],
)
def test_bodies_of_any_encoding_are_unwrapped(body: str, encoding: Any) -> None:
    """base64 is what kombu does; plain text is what `body_encoding` can be set to."""
    expected = Message(b'{"a":1}', Facts("application/json", "utf-8", "h"), "task.sent")
    assert expected == unwrapped(envelope(body, encoding))


def test_what_an_envelope_lacks_is_empty() -> None:
    """Headers, properties and types may be missing."""
    assert Message(b"x", Facts()) == unwrapped(b'{"body": "x"}')


BAD = {
    "empty": b"",
    "no JSON": b"\xff\xfe",
    "null": b"null",
    "list": b"[]",
    "no body": b"{}",
    "number as body": b'{"body": 1}',
    "bad base64": envelope("%%%"),
    "unknown encoding": envelope("x", "rot13"),
    "encoding of a wrong type": envelope("x", 7),
    "lone surrogate": b'{"body": "\\ud800"}',
    "invalid UTF-8": b'{"body": "\xff"}',
    "properties of a wrong type": envelope("eA==", properties=[]),
    "headers of a wrong type": envelope("eA==", headers=7),
    "hostname of a wrong type": envelope("eA==", headers={"hostname": {}}),
    "deep": b'{"headers":' + b"[" * 100_000 + b"]" * 100_000 + b', "body": "x"}',
    "deep and unknown": b'{"zzz":' + b"[" * 100_000 + b"]" * 100_000 + b', "body": "x"}',
}


@pytest.mark.parametrize("raw", BAD.values(), ids=BAD)
def test_a_broken_envelope_is_handed_on_as_such(raw: bytes) -> None:
    """It is never raised: the pipeline counts it as one bad message."""
    assert Message(raw, Facts(BAD_ENVELOPE)) == unwrapped(raw)
    assert Message(raw, Facts(BAD_ENVELOPE)) == Unwrapper().message(raw)


def of_kombu(body: bytes, hostname: str = "h", tag: str = TAG, **more: Any) -> bytes:
    """An envelope with its parts in the order in which kombu 5 writes them."""
    properties = {
        "delivery_mode": 1,
        "delivery_info": {"exchange": "celeryev", "routing_key": "task.multi"},
        "priority": 0,
        "body_encoding": "base64",
        **more,
        "delivery_tag": tag,
    }
    told = {
        "body": base64.b64encode(body).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"hostname": hostname},
        "properties": properties,
    }
    return json.dumps(told).encode()


def test_what_looks_alike_is_read_by_its_looks() -> None:
    """Each body is its own; what the messages have in common is one object."""
    unwrapper = Unwrapper()
    first, second = (unwrapper.message(of_kombu(body)) for body in (b"[1]", b"{}"))
    assert Message(b"[1]", Facts("application/json", "utf-8", "h"), "task.multi") == first
    assert b"{}" == second.body
    assert first.facts is second.facts


SPOILT = {
    "another tag": lambda raw: raw.replace(TAG.encode(), b"1"),
    "a shorter end": lambda raw: raw[:-1],
    "more behind": lambda raw: raw + b" ",
    "an escaped body": lambda raw: raw.replace(b'"body": "', b'"body": "\\u0065\\/'),
    "a body that is no base64": lambda raw: raw.replace(b'"body": "', b'"body": "%'),
    "another body behind": lambda raw: raw.replace(TAG.encode(), b'x", "body": "eA=='.ljust(36)),
    "another encoding": lambda raw: raw.replace(b'"base64"', b'"utf-8"'),
    "an escaped host": lambda raw: raw.replace(b'"h"', b'"\\u0068"'),
    "two encodings": lambda raw: raw.replace(b'"base64"', b'"base64", "body_encoding": "utf-8"'),
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_what_only_looks_alike_is_read_whole(spoil: Any) -> None:
    """Before and after one that is what it looks like."""
    raw = spoil(of_kombu(b"[1]"))
    unwrapper = Unwrapper()
    for _ in range(2):
        assert unwrapped(raw) == unwrapper.message(raw)
        unwrapper.message(of_kombu(b"[2]"))


envelopes = st.builds(
    of_kombu,
    st.binary(max_size=40),
    st.sampled_from(["h", "web1", '"', "\\", "h\u00e9"]),
    st.sampled_from([TAG, "x" * 36, "", 'a"b']),
)


@patiently
@given(st.lists(st.tuples(envelopes, st.integers(0, 300), st.binary(max_size=3)), max_size=12))
def test_an_unwrapper_finds_what_the_long_way_finds(
    some: list[tuple[bytes, int, bytes]],
) -> None:
    """In whole envelopes, and in such as were spoilt anywhere."""
    unwrapper = Unwrapper()
    for raw, place, instead in some:
        for one in (raw, raw[:place] + instead + raw[place + len(instead) :]):
            assert unwrapped(one) == unwrapper.message(one)


def test_what_is_remembered_is_bounded() -> None:
    """In number and in size."""
    unwrapper = Unwrapper()
    for number in range(MOST_KNOWN + 5):
        unwrapper.message(of_kombu(b"", hostname=str(number)))
    assert 5 == len(unwrapper._known)
    unwrapper.message(of_kombu(b"", hostname="h" * 5000))
    assert 5 == len(unwrapper._known)
