"""What is private goes; what a metric is made of stays."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celery_statsd.events import KNOWN_TYPES, decode
from celery_statsd.redaction import redacted
from tests.bodies import NOON, Process, patiently
from tests.traces import NAMES, messages

HEAD = {"hostname": "w@h", "pid": 7, "clock": 1, "timestamp": NOON, "uuid": "u"}


def event(kind: str, **fields: Any) -> dict[str, Any]:
    """An event of a type, with what every event has."""
    return {"type": kind, **HEAD, **fields}


@pytest.mark.parametrize("name", NAMES)
def test_of_a_real_stream_only_private_things_go(name: str) -> None:
    """Each field of real workers' own events, Celery 3.1 to 5.7, stays but these."""
    gone = {
        key
        for message in messages(name)
        for event in message.events
        if event["type"] in KNOWN_TYPES
        for key in event.keys() - redacted(event).keys()
    }
    assert gone <= {"args", "kwargs", "result", "traceback", "exception", "chain"}


@pytest.mark.parametrize("name", NAMES)
def test_real_events_mean_the_same(name: str) -> None:
    """Each event of a real stream decodes to the same, but for the texts of exceptions."""
    for message in messages(name):
        before = decode(message.body).events
        after = decode(json.dumps([redacted(one) for one in message.events]).encode()).events
        assert [meaning(one) for one in before] == [meaning(one) for one in after]


def meaning(event: Any) -> Any:
    """All that a metric can be made of."""
    fields = {key: getattr(event, key) for key in event.__struct_fields__}
    fields.pop("exception", None), fields.pop("traceback", None)
    return type(event), fields, getattr(event, "error", None), getattr(event, "unregistered", None)


TEXTS = st.one_of(
    st.none(),
    st.text(max_size=40),
    st.sampled_from(["ValueError('secret')", "a.b.C(1)", "NotRegistered('x.y')", "Q", "x.1b("]),
    st.sampled_from(
        ["ExceptionWithTraceback()", 'T\n  File "x"\nmod.Error: secret', "\ud800", "("]
    ),
    st.builds("{}({!r})".format, st.text("aBc._1é(", min_size=1, max_size=9), st.text(max_size=9)),
    st.builds("\n  x\n{}: {}".format, st.text("aBc._1:", max_size=9), st.text(max_size=9)),
    st.integers(),
    st.sampled_from(["E" * 5000, "E" * 4095 + "(", "E" * 300 + "()"]),
)


@patiently
@given(st.sampled_from(["task-failed", "task-retried"]), TEXTS, TEXTS)
def test_whatever_an_exception_says_its_class_stays(kind: str, said: Any, told: Any) -> None:
    """Whatever texts an event carries, what is counted of it is the same, bad ones included."""
    whole = event(kind, exception=said, traceback=told)
    before = decode(json.dumps(whole).encode())
    after = decode(json.dumps(redacted(whole)).encode())

    assert before.bad == after.bad
    assert [meaning(one) for one in before.events] == [meaning(one) for one in after.events]


@pytest.mark.parametrize(
    ("said", "told", "left"),
    [
        ("ValueError('my secret')", None, {"exception": "ValueError()"}),
        ("shop.Sold(secret=1)", "...", {"exception": "shop.Sold()"}),
        ("ExceptionWithTraceback()", "x\n  y\nBoom: secret", {"exception": "Boom()"}),
        ("NotRegistered('shop.pay')", None, {"exception": "NotRegistered('shop.pay')"}),
        ("secret words", "secret", {"exception": "secret()"}),
        (None, None, {"exception": ""}),
    ],
)
def test_of_an_exception_only_its_class_stays(said: Any, told: Any, left: dict[str, Any]) -> None:
    """A traceback's last line is taken for a class when it can be one, as the metrics do."""
    found = redacted(event("task-failed", exception=said, traceback=told))

    assert left == {key: found[key] for key in ("exception", "traceback") if key in found}


def test_of_events_of_others_only_the_envelope_stays() -> None:
    """What somebody sends under a type of his own may hold anything."""
    custom = event("task-progress", card="4111", args="(1,)")

    assert {"type", *HEAD} - {"uuid"} == redacted(custom).keys()


@pytest.mark.parametrize("kind", [None, 7, ["secret"]])
def test_what_is_no_event_is_left_empty(kind: Any) -> None:
    """Its fields could not be told apart."""
    assert {} == redacted({**HEAD, "type": kind, "args": "secret"})


def test_what_a_worker_says_of_itself_stays() -> None:
    """A heartbeat is not private."""
    beat = Process().beat(NOON, 7, active=1)

    assert beat == redacted(beat)
