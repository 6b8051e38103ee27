"""The format of recordings: messages, cues, gaps, packed files, and files that are none."""

import gzip
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from celery_statsd.config import load
from celery_statsd.errors import ConfigError
from celery_statsd.recording import Cue, Recorded, adopted, carried, entries

START = 1_700_000_000.0


def row(batch: int, received: float, **fields: Any) -> dict[str, Any]:
    """One line of a recording, `received` seconds after START."""
    event = {"type": "task-received", "hostname": "w@h", "pid": 7, "uuid": f"u{batch}", "name": "t"}
    recorder = {"_batch": batch, "_received": START + received, "_routing_key": "task.received"}
    return {**event, "clock": batch, "timestamp": START + received, **recorder, **fields}


def written(path: Path, rows: Iterable[Any]) -> str:
    """A recording of `rows`; what is text stands there as it is."""
    lines = [line if isinstance(line, str) else json.dumps(line) for line in rows]
    path.write_text("".join(f"{line}\n" for line in lines))
    return str(path)


def test_rows_of_one_batch_are_one_message(tmp_path: Path) -> None:
    """A list stays a list, a single event single; the recorder's fields are gone."""
    multi = {"_routing_key": "task.multi"}
    rows = [row(1, 0.0), row(2, 1.0, **multi), row(2, 1.0, **multi), row(3, 2.0, **multi)]
    found = list(entries([written(tmp_path / "a", rows)]))

    bodies = [json.loads(message.body) for message in found]
    assert [dict, list, list] == [type(body) for body in bodies]
    assert [2, 1] == [len(body) for body in bodies[1:]]
    assert not [key for body in bodies[1] for key in body if key.startswith("_")]
    assert [START, START + 1, START + 2] == [message.received for message in found]


def test_a_list_under_any_key_is_not_cut(tmp_path: Path) -> None:
    """Several events of one message are all fed, whatever its routing key says."""
    rows = [row(1, 0.0, uuid="a"), row(1, 0.0, uuid="b")]
    (found,) = entries([written(tmp_path / "a", rows)])

    assert ["a", "b"] == [event["uuid"] for event in json.loads(found.body)]


def test_a_falling_ordinal_is_a_gap(tmp_path: Path) -> None:
    """Only where `_batch` falls was the recorder away."""
    rows = [row(n, 0.0) for n in (1, 2, 5, 1, 2, 0, -1)]
    found = entries([written(tmp_path / "a", rows)])

    assert [False, False, False, True, False, True, True] == [one.after_gap for one in found]


def test_two_files_are_one_stream(tmp_path: Path) -> None:
    """Cut anywhere, also within a message, the parts give what the whole gives; a second
    recording comes after a gap."""
    rows = [row(1, 0.0), row(2, 1.0), row(2, 1.0), row(3, 2.0)]
    whole = written(tmp_path / "whole", rows)
    parts = [written(tmp_path / "one", rows[:2]), written(tmp_path / "two", rows[2:])]

    assert list(entries([whole])) == list(entries(parts))
    assert [False] * 3 + [True, False, False] == [m.after_gap for m in entries([whole, whole])]


def test_gz_is_unpacked(tmp_path: Path) -> None:
    """A packed recording is read as the plain one; empty lines are nothing."""
    plain = written(tmp_path / "a.ndjson", [row(1, 0.0), "", row(2, 1.0)])
    packed = tmp_path / "a.ndjson.gz"
    packed.write_bytes(gzip.compress(Path(plain).read_bytes()))

    assert 2 == len(list(entries([plain])))
    assert list(entries([plain])) == list(entries([str(packed)]))


BROKEN = {
    "missing": (None, "cannot be read (No such file or directory)"),
    "not-json": (b'{"_batch": 1\n', "line 1 is not JSON"),
    "deep": (b"[" * 100_000 + b"\n", "line 1 is not JSON"),
    "binary": (b"\xff\xfe\x00", "cannot be read ('utf-8' codec"),
    "list": (b"[1, 2]\n", "line 1 has no sound _batch"),
    "number": (b"17\n", "line 1 has no sound _batch"),
    "no-recorder": (b'{"type": "task-sent"}\n', "line 1 has no sound _batch"),
    "text-time": (b'{"_batch": 1, "_received": "x", "_routing_key": ""}\n', "line 1 has no sound"),
    "nan-time": (b'{"_batch": 1, "_received": NaN, "_routing_key": ""}\n', "line 1 has no sound"),
    "ms-time": (b'{"_batch": 1, "_received": 17e11, "_routing_key": ""}\n', "line 1 has no sound"),
    "old-time": (b'{"_batch": 1, "_received": -1, "_routing_key": ""}\n', "line 1 has no sound"),
    "batch": (b'{"_batch": [], "_received": 1, "_routing_key": ""}\n', "line 1 has no sound"),
    "key": (b'{"_batch": 1, "_received": 1, "_routing_key": {}}\n', "line 1 has no sound"),
    "no-gzip.gz": (b"plain text", "cannot be read (Not a gzipped file"),
    "cut.gz": (gzip.compress(b"x" * 9999)[:-20], "cannot be read (Compressed file ended"),
    "spoilt.gz": (gzip.compress(b"")[:10] + b"\xff" * 40, "cannot be read (Error -3"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_told(tmp_path: Path, name: str) -> None:
    """One sentence: the file, what is wrong with it and where, and the cure."""
    content, problem = BROKEN[name]
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        list(entries([str(path)]))

    assert str(caught.value).startswith(f"{path}: {problem}")
    assert "; " in str(caught.value)
    assert str(path) == caught.value.key


def cue(what: str, received: float, **facts: Any) -> dict[str, Any]:
    """The line of a cue, `received` seconds after START."""
    return {"_cue": what, "_received": START + received, **facts}


def test_cues_stand_between_the_messages(tmp_path: Path) -> None:
    """In their order, with their facts; they part no message and make no gap."""
    rows = [cue("begin", 0.0, _format=1), row(1, 0.5), cue("tick", 1.0), cue("flush", 2.0)]
    found = list(entries([written(tmp_path / "a", [*rows, row(2, 2.5), cue("end", 3.0)])]))

    cues = [entry for entry in found if isinstance(entry, Cue)]
    assert ["begin", "tick", "flush", "end"] == [one.what for one in cues]
    assert [0.0, 1.0, 2.0, 3.0] == [one.received - START for one in cues]
    assert 1 == cues[0].facts["_format"]
    assert [0.5, 2.5] == [m.received - START for m in found if isinstance(m, Recorded)]
    assert not any(m.after_gap for m in found if isinstance(m, Recorded))


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (cue("dance", 0.0), "line 1 has no sound _batch"),
        (cue("tick", 1e12), "line 1 has no sound _batch"),
        ({"_cue": ["tick"], "_received": 1.0}, "line 1 has no sound _batch"),
        (cue("begin", 0.0, _format=2), "line 1 says format 2, known is 1"),
        (cue("begin", 0.0, _format=[9] * 99), "line 1 says format [9, 9, 9"),
    ],
)
def test_a_cue_that_is_none_is_told(tmp_path: Path, line: dict[str, Any], problem: str) -> None:
    """As any other broken line, and so is a later version of the format."""
    with pytest.raises(ConfigError) as caught:
        list(entries([written(tmp_path / "a", [line])]))

    assert problem in str(caught.value)


def test_packed_is_known_by_its_bytes(tmp_path: Path) -> None:
    """Whatever its name is."""
    path = tmp_path / "stream"
    path.write_bytes(gzip.compress(json.dumps(row(1, 0.0)).encode() + b"\n"))

    assert 1 == len(list(entries([str(path)])))


def test_what_was_cut_off_is_taken_up_to_there(tmp_path: Path) -> None:
    """The file of a recorder that was killed, plain or packed, wherever it ends."""
    lines = b"".join(json.dumps(row(n, n)).encode() + b"\n" for n in range(1, 500))
    packed = gzip.compress(lines, mtime=0)
    for ordinal, content in enumerate((lines[:-20], packed[:-300])):
        path = tmp_path / str(ordinal)
        path.write_bytes(content)
        told: list[tuple[str, int]] = []
        found = list(entries([str(path)], lambda *facts, told=told: told.append(facts)))

        ((name, sound),) = told
        assert (str(path), len(found)) == (name, sound)
        assert 100 < sound < 499


def test_settings_travel_with_a_recording() -> None:
    """What the recorder was set to holds where nobody sets anything else."""
    recorder = load({"app": "shop", "flush_interval": "5", "prefix": "c"}, {}, None, no_app, "")
    told = json.loads(json.dumps(carried(recorder, "web1")))
    mine = load({"prefix": "mine"}, {}, None, no_app, "")
    found = adopted(mine, told)

    assert ("mine", "shop", 5.0, "web1") == (
        found.prefix, found.app, found.flush_interval, found.host,
    )  # fmt: skip
    assert ("flag", "recording") == (found.origins["prefix"], found.origins["app"])


def no_app(path: str) -> dict[str, Any]:
    """No Celery app is asked."""
    raise AssertionError(path)


def test_a_setting_that_cannot_be_is_told() -> None:
    """One sentence: the key, the cause, the cure."""
    with pytest.raises(ConfigError, match=r"flush_interval: its value in .*; set it"):
        adopted(load({}, {}, None, no_app, ""), {"flush_interval": "soon"})
