"""A recording being written: whatever comes, its replay does to a pipeline what the message did."""

import gzip
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celery_statsd.errors import ConfigError
from celery_statsd.pipeline import Pipeline
from celery_statsd.recording import entries
from celery_statsd.replay import follow
from celery_statsd.source.base import Facts, Message
from celery_statsd.tape import Tape
from tests.bodies import NOON, patiently

SOUND = {
    "type": "task-succeeded", "hostname": "w@h", "pid": 7, "clock": 1, "timestamp": NOON,
    "uuid": "u", "runtime": 1.5, "result": "secret",
}  # fmt: skip
TEXT = json.dumps(SOUND).encode()

HOSTILE = {
    "sound": TEXT,
    "listed": b"[" + TEXT + b"]",
    "empty list": b"[]",
    "no json": b"{",
    "empty": b"",
    "number": b"17",
    "mixed": b'[17, null, {"type": "task-new", "hostname": "w"}, ' + TEXT + b"]",
    "custom": b'{"type": "task-progress", "hostname": "w", "timestamp": 1, "clock": 1, "pid": 1}',
    "no utf-8": TEXT.replace(b"secret", b"\xff\xfe"),
    "no utf-8 in a name": TEXT.replace(b'"u"', b'"\xff"'),
    "surrogate": TEXT.replace(b"secret", b"\\ud800"),
    "surrogate in a name": TEXT.replace(b'"u"', b'"\\ud800"'),
    "huge number": TEXT.replace(b'"secret"', b"9" * 5000),
    "infinite": TEXT.replace(b'"secret"', b"1e999"),
    "infinite runtime": TEXT.replace(b"1.5", b"1e999"),
    "not a number": TEXT.replace(b"1.5", b"NaN"),
    "deep": TEXT.replace(b'"secret"', b"[" * 900 + b"]" * 900),
    "too deep": b"[" * 5000 + b"]" * 5000,
    "twice": TEXT[:-1] + b', "runtime": 2.5}',
    "underscored": TEXT[:-1] + b', "_batch": 99, "_cue": "end"}',
    "too long": b'"' + b"x" * (8 * 1024 * 1024) + b'"',
    "too many parts": b"[17" + b", 17" * 200_000 + b"]",
}


def effect(pipeline: Pipeline) -> tuple[Any, ...]:
    """What a pipeline has come to."""
    ledger = pipeline.ledger
    return ledger.events, ledger.counted, ledger.bad, ledger.dropped, pipeline.flush(NOON + 9)


def taped(path: Path, whole: bool, *bodies: bytes) -> list[str]:
    """The lines of a new tape with these messages."""
    tape = Tape(str(path), packed=False, whole=whole)
    tape.begin(NOON, {"app": "shop"})
    for body in bodies:
        tape.message(Message(body, Facts(hostname="w@h"), "task.multi"), NOON + 1)
    tape.cue("flush", NOON + 9)
    tape.close()
    return path.read_text().splitlines()


def same(path: Path, whole: bool, *bodies: bytes) -> None:
    """Assert that a pipeline cannot tell the replay from what was recorded."""
    live, again = Pipeline(), Pipeline()
    live.begin(NOON)
    for body in bodies:
        live.feed(body, NOON + 1)
    taped(path, whole, *bodies)
    stream = follow(entries([str(path)]), again)
    (batch, *_) = stream
    *known, flushed = effect(live)

    assert flushed == batch
    ledger = again.ledger
    assert known == [ledger.events, ledger.counted, ledger.bad, ledger.dropped]


@pytest.mark.parametrize("whole", [False, True], ids=["redacted", "whole"])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_replay_does_what_the_message_did(tmp_path: Path, name: str, whole: bool) -> None:
    """Sound, bad, custom, or hostile."""
    same(tmp_path / "a", whole, HOSTILE[name])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
FIELDS = st.dictionaries(st.sampled_from([*SOUND, "exception", "traceback", "name"]), JSON)


@patiently
@given(st.lists(FIELDS.map(lambda fields: SOUND | fields) | JSON, max_size=4), st.booleans())
def test_whatever_an_event_holds(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Any], whole: bool
) -> None:
    """Any field may be anything."""
    same(tmp_path_factory.mktemp("tape") / "a", whole, json.dumps(rows).encode())


def test_a_line_has_the_documented_fields(tmp_path: Path) -> None:
    """A header with the version and the settings, then events with the recorder's fields."""
    lines = taped(tmp_path / "a", False, HOSTILE["mixed"], HOSTILE["no json"])
    begin, *events, refused, flush = map(json.loads, lines)

    assert {"_cue": "begin", "_received": NOON, "_format": 1, "_settings": {"app": "shop"}} == begin
    recorder = {
        "_batch": 1, "_hostname": "w@h", "_received": NOON + 1, "_routing_key": "task.multi",
        "_size": 4,
    }  # fmt: skip
    assert [recorder] * 2 == events[:2]
    assert recorder.items() <= events[3].items()
    assert "secret" not in "".join(lines)
    assert {"_cue": "refused", "_received": NOON + 1, "_reason": "not_json", "_size": 1} == refused
    assert {"_cue": "flush", "_received": NOON + 9} == flush


def test_a_sender_cannot_forge_what_the_recorder_says(tmp_path: Path) -> None:
    """A field with an underscore of its own is left out."""
    _, event, _ = map(json.loads, taped(tmp_path / "a", True, HOSTILE["underscored"]))

    assert (1, False) == (event["_batch"], "_cue" in event)


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    """Names of tasks and hosts are nobody else's business, either."""
    taped(tmp_path / "a", False)

    assert 0o600 == stat.S_IMODE((tmp_path / "a").stat().st_mode)


def test_a_packed_tape_is_there_up_to_each_flush(tmp_path: Path) -> None:
    """What was brought to the file can be unpacked, though the tape is not closed."""
    path = tmp_path / "a"
    tape = Tape(str(path), packed=True, whole=False)
    tape.begin(NOON, {})
    tape.message(Message(TEXT, Facts()), NOON)
    tape.sync()
    told: list[int] = []
    found = list(entries([str(path)], lambda _, lines: told.append(lines)))
    tape.close()

    assert (2, [2]) == (len(found), told)
    assert 2 == len(gzip.decompress(path.read_bytes()).splitlines())


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """One sentence: the file, the cause, the cure; also while it is being written."""
    (tmp_path / "mine").write_text("x")
    cases = {"mine": "is there already", "no/such": "cannot be written (No such file or directory)"}
    for name, problem in cases.items():
        with pytest.raises(ConfigError) as caught:
            Tape(str(tmp_path / name), packed=False, whole=False).begin(NOON, {})
        assert str(caught.value).startswith(f"{tmp_path / name}: {problem}; ")
    full = Tape("/dev/full", packed=False, whole=False)
    full._file = open("/dev/full", "wb", buffering=0)  # noqa: SIM115
    with pytest.raises(ConfigError, match=r"/dev/full: cannot be written \(No space left"):
        full.cue("tick", NOON)
    full._file.close()
