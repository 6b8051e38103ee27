"""What a body may hold, and what is made of it."""

import json
import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from celery_statsd import events
from celery_statsd.events import (
    KNOWN_TYPES,
    LONGEST_BODY,
    LONGEST_NAME,
    MOST_PARTS,
    OUTCOMES,
    Failed,
    Heartbeat,
    Moment,
    Received,
    Sent,
    Succeeded,
    decode,
    epoch,
    exception_class,
    shortened,
)
from tests.bodies import NOON, Process, body, client, patiently

WORKER = Process()
TOLD = (
    client().sent("a", NOON),
    WORKER.received("a", NOON),
    WORKER.started("a", NOON),
    WORKER.succeeded("a", NOON),
    WORKER.failed("a", NOON),
    WORKER.retried("a", NOON),
    WORKER.revoked("a", NOON),
    WORKER.rejected("a", NOON),
    WORKER.cancelled("a", NOON),
    WORKER.online(NOON),
    WORKER.beat(NOON),
    WORKER.offline(NOON),
    WORKER.echo(NOON),
)
"""An event of each type."""


@pytest.mark.parametrize("told", TOLD, ids=lambda told: told["type"])
def test_each_type_becomes_its_class(told):
    """The class is the type; what the class knows is what was told."""
    (event,) = decode(body(told)).events
    assert told["type"] == type(event).__struct_config__.tag
    fields = msgspec.structs.asdict(event)
    loadavg = {"loadavg": tuple(told["loadavg"])} if told.get("loadavg") else {}
    assert fields == {name: told.get(name) for name in fields} | loadavg


def test_every_known_type_is_told_here():
    """No type of the decoder is left out above."""
    assert {told["type"] for told in TOLD} == KNOWN_TYPES


def test_a_body_is_one_event_or_a_list_of_them():
    """The shape is told by the body alone; the order stays."""
    for raw in (body(*TOLD), json.dumps(list(TOLD), indent=1).encode()):
        assert [told["type"] for told in TOLD] == [
            type(event).__struct_config__.tag for event in decode(raw).events
        ]
    assert 1 == len(decode(b"[" + body(TOLD[0]) + b"]").events)
    assert ([], (), 0) == msgspec.structs.astuple(decode(b"[]"))


def test_custom_events_are_counted_and_cost_nobody():
    """A task may send events of its own: they are not ours, their neighbours are."""
    custom = WORKER.says("task-progress", NOON, uuid="a", name=3, retries="many")
    decoded = decode(body(TOLD[0], custom, TOLD[1]))
    assert ([Sent, Received], (), 1) == (
        [type(event) for event in decoded.events], decoded.bad, decoded.custom,
    )  # fmt: skip
    assert 1 == decode(body(custom)).custom


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "not_json"),
        (b"\x80\x04\x95.", "not_json"),
        (b"{", "not_json"),
        (b"[" * 100_000, "not_json"),
        (b"1" * 5000, "no_event"),
        (b"-" + b"1" * 5000, "no_event"),
        (b"null", "no_event"),
        (b'"task-sent"', "no_event"),
        (b"{}", "no_event"),
        (b'{"type": null}', "no_event"),
        (b'{"type": ["task-sent"]}', "no_event"),
        (b'{"type": "task-started"}', "bad_field"),
        (body({**TOLD[2], "uuid": 7}), "bad_field"),
        (body({**TOLD[2], "uuid": None}), "bad_field"),
        (body({**TOLD[2], "hostname": ["w1"]}), "bad_field"),
        (body({**TOLD[2], "timestamp": "now"}), "bad_field"),
        (body({**TOLD[2], "timestamp": -1.0}), "bad_field"),
        (body({**TOLD[2], "timestamp": 1e308}), "bad_field"),
        (body({**TOLD[2], "timestamp": float("nan")}), "bad_field"),
        (body({**TOLD[2], "timestamp": float("inf")}), "bad_field"),
        (body({**TOLD[3], "runtime": float("inf")}), "bad_value"),
        (body({**TOLD[2], "uuid": "\ud800"}), "bad_value"),
        (body({**TOLD[10], "active": "\ud800"}), "bad_field"),
        (body({**TOLD[10], "processed": -1}), "bad_field"),
        (body({**TOLD[10], "processed": 2**60}), "bad_field"),
        (body({**TOLD[10], "loadavg": [1e308]}), "bad_field"),
        (body({**TOLD[10], "freq": -2.0}), "bad_field"),
        (b" " * (LONGEST_BODY + 1), "too_long"),
    ],
    ids=lambda value: value[:60] if isinstance(value, bytes) else value,
)
def test_what_is_bad_is_told_by_its_reason(raw, reason):
    """No event can be made of it: one bad event, with one word for why."""
    assert ([], (reason,), 0) == msgspec.structs.astuple(decode(raw))


def test_a_bad_event_costs_none_of_its_neighbours():
    """In a list each stands for itself."""
    huge = body({**TOLD[2], "timestamp": 0}).replace(
        b'"timestamp": 0', b'"timestamp": ' + b"9" * 5000
    )
    rows = (body(TOLD[0]), b'{"type": "task-started"}', b"3", huge, body(TOLD[3]))
    decoded = decode(b"[" + b",".join(rows) + b"]")
    assert [Sent, Succeeded] == [type(event) for event in decoded.events]
    assert ("bad_field", "no_event", "bad_field") == decoded.bad


def test_what_no_metric_needs_is_not_looked_at():
    """args, kwargs and results may hold what they like."""
    odd = {"args": float("nan"), "kwargs": {"a": [{}]}, "result": "\ud800", "root_id": 7}
    assert 1 == len(decode(body({**TOLD[1], **odd})).events)


def test_timestamps_are_left_as_they_are():
    """`utcoffset` shifts nothing."""
    (event,) = decode(body({**TOLD[2], "utcoffset": -5.5})).events
    assert NOON == event.timestamp


def test_each_moment_has_a_bit_of_its_own():
    """Sets of moments are sums of bits."""
    bits = [moment.bit for moment in Moment]
    assert sum(bits) == 2 ** len(bits) - 1
    assert len(OUTCOMES) == len(set(OUTCOMES)) == 8


HARD = (
    'Traceback (most recent call last):\n  File "/opt/request.py", line 728, in on_timeout\n'
    "    raise TimeLimitExceeded(task.time_limit)\n"
    "billiard.exceptions.TimeLimitExceeded: TimeLimitExceeded(1,)\n"
)
CHAINED = (
    'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    g()\nKeyError: 1\n\n'
    "During handling of the above exception, another exception occurred:\n\n"
    'Traceback (most recent call last):\n  File "a.py", line 3, in f\n    h()\n'
    "shop.errors.OutOfStock: none: left\nand a second line\n"
)


@pytest.mark.parametrize(
    ("exception", "traceback", "expected"),
    [
        ("ValueError('boom')", "", "ValueError"),
        ("ValueError('boom',)", "", "ValueError"),
        ("shop.errors.OutOfStock(3)", "", "OutOfStock"),
        ("SoftTimeLimitExceeded()", "", "SoftTimeLimitExceeded"),
        (
            "WorkerLostError('Worker exited prematurely: signal 9 (SIGKILL).')",
            HARD,
            "WorkerLostError",
        ),
        ("ExceptionWithTraceback()", HARD, "TimeLimitExceeded"),
        ("ExceptionWithTraceback()", CHAINED, "OutOfStock"),
        ("reject requeue=False: not for me", "celery.exceptions.Reject: (not for me)", "Reject"),
        ("reject requeue=False: not (for) me", "celery.exceptions.Reject: x", "Reject"),
        ("None", HARD, "TimeLimitExceeded"),
        ("None", "", "unknown"),
        ("ExceptionWithTraceback()", "", "unknown"),
        ("", "KeyboardInterrupt", "KeyboardInterrupt"),
        ("<weird object at 0x7f>", "???", "unknown"),
        ("NotRegistered('shop.gone')", "", "NotRegistered"),
        ("Größe('x')", "", "Größe"),
        ("Øre('x')", "", "Øre"),
        ("shop.(1)", "", "unknown"),
        ("1st(1)", "", "unknown"),
    ],
)
def test_the_class_of_an_exception(exception, traceback, expected):
    """`repr` text tells the class, else the last words of the traceback do, else nothing."""
    assert expected == exception_class(exception, traceback)


@patiently
@given(st.text(), st.text())
def test_a_class_is_one_plain_word(exception, traceback):
    """Whatever the texts are, a name without dots comes of them."""
    word = exception_class(exception, traceback)
    assert word
    assert "." not in word
    assert all(c.isalnum() or c == "_" for c in word)


def test_an_unregistered_name_stands_in_the_exception_only():
    """A task that no worker knows fails without receipt and without name."""
    assert (
        "shop.gone"
        == Failed("w", NOON, uuid="a", exception="NotRegistered('shop.gone')").unregistered
    )
    assert None is Failed("w", NOON, uuid="a", exception="KeyError('shop.gone')").unregistered
    assert "unknown" == Failed("w", NOON, uuid="a").error


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2023-11-14T22:13:20+00:00", NOON),
        ("2023-11-14T22:13:20", NOON),
        ("2023-11-14T22:13:20.500000Z", NOON + 0.5),
        ("2023-11-15T03:43:20+05:30", NOON),
        (None, None),
        ("", None),
        ("soon", None),
        ("9" * 10_000, None),
        ("2023-11-14T22:13:61", None),
    ],
)
def test_times_in_text(text, expected):
    """ISO 8601, UTC where no zone is named; what is none is no time."""
    assert expected == epoch(text)


def test_a_time_without_a_zone_is_utc(monkeypatch):
    """Wherever the agent itself runs."""
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        assert NOON == epoch("2023-11-14T22:13:20")
    finally:
        monkeypatch.undo()
        time.tzset()


@patiently
@given(st.binary())
def test_decoding_never_raises(raw):
    """Any bytes: as many events, bad and custom ones as it has rows."""
    decoded = decode(raw)
    assert isinstance(decoded.events, list)


def test_a_remote_heartbeat_has_no_numbers():
    """It is a heartbeat all the same; what it does not say is None."""
    (event,) = decode(body(WORKER.echo(NOON))).events
    assert (Heartbeat, None, None) == (type(event), event.processed, event.active)
    assert events.Heartbeat is type(event)


@pytest.mark.parametrize("field", ["hostname", "uuid", "name", "queue"])
def test_a_long_name_is_cut_and_stays_itself(field):
    """Whatever is beyond the bound tells it from others by a hash."""
    found = []
    for end in ("a", "b"):
        told = {**WORKER.sent("a", NOON), field: "\u00e9" * 10_000 + end}
        (event,) = decode(body(told)).events
        found.append(getattr(event, field))
    assert found[0] != found[1]
    assert {LONGEST_NAME} == set(map(len, found))
    assert all(name.startswith("\u00e9" * 200) for name in found)


def test_a_name_within_the_bound_is_left_alone():
    """To the last character."""
    assert ["x" * LONGEST_NAME, "y"] == [shortened("x" * LONGEST_NAME), shortened("y")]
    assert LONGEST_NAME == len(shortened("x" * (LONGEST_NAME + 1)))


@pytest.mark.parametrize("part", ["[],", "{},", "1,", '{"type":"a"},'])
def test_a_body_of_very_many_parts_is_not_looked_at(part):
    """It would take some hundred MiB to refuse each of them."""
    raw = f"[{part * MOST_PARTS}0]".encode()
    assert ("too_many_parts",) == decode(raw).bad


@pytest.mark.parametrize(
    ("field", "value"),
    [("pid", 2**64), ("clock", -(2**64)), ("processed", 10**13), ("loadavg", [0.1] * 4)],
)
def test_numbers_no_worker_could_mean_are_bad(field, value):
    """They would not fit where they have to be written."""
    assert ("bad_field",) == decode(body({**WORKER.beat(NOON), field: value})).bad


@pytest.mark.parametrize("text", ["a" * 10**6, "a." * 10**6, "\n " * 10**6, "a\nb" * 10**6])
def test_an_exception_of_any_length_has_a_short_class(text):
    """A name is told only where one shows."""
    for exception, traceback in ((text, ""), (f"{text}()", ""), ("", text), ("", f" {text}")):
        assert LONGEST_NAME >= len(exception_class(exception, traceback)) > 0
