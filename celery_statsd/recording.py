"""The one format of recordings: NDJSON, read as messages and cues (docs/recording.md).

A line is an event with its fields, and the recorder's own fields with a leading underscore:
`_received` (epoch seconds of its arrival), `_batch` (the ordinal of its message; events of one
list share it), `_routing_key` (`task.multi` means a list). Or it is a cue, `_cue`: what the
recorder's pipeline was asked at that moment besides, so that another one can be asked the same.
A recording without cues is whole, too: a `_batch` that falls means that the recorder was away.
Packed files (gzip) are known by their first bytes.
"""

import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

from celery_statsd.errors import ConfigError
from celery_statsd.keys import KEYS, Settings

FORMAT = 1
"""The version of the cues."""

LATEST = 1e11
"""Epoch seconds: a time of arrival is below this (milliseconds are not)."""

CUES = ("begin", "tick", "deaf", "refused", "flush", "end")
"""What a pipeline is asked besides the messages: see `replay`."""

CARRIED = (
    "prefix",
    "app",
    "scope",
    "host",
    "flush_interval",
    "max_attempts",
    "max_series",
    "max_workers",
    "reservoir",
    "lost_after",
    "worker_silence",
    "unreported_after",
)
"""The settings a recording carries: with others the same messages give other metrics."""

GZIP = b"\x1f\x8b"
"""The first bytes of a packed file (RFC 1952)."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One message of a recording. `after_gap`: the recorder had been away just before."""

    received: float
    body: bytes
    after_gap: bool = False


@dataclass(frozen=True, slots=True)
class Cue:
    """What the recorder's pipeline was asked at `received` (epoch seconds): one of CUES."""

    what: str
    received: float
    facts: Mapping[str, Any] = field(default_factory=dict)


Entry = Recorded | Cue


def entries(paths: Iterable[str], cut: Callable[[str, int], None] | None = None) -> Iterator[Entry]:
    """What the files hold, which are parts of one stream. Raises ConfigError.

    A file that ends within a line, as one whose recorder was killed, is taken up to there if `cut`
    is given; it is called with the file's name and the number of its sound lines.
    """
    previous: float = float("-inf")
    every = (row for path in paths for row in _rows(path, cut))
    for batch, rows in groupby(every, key=lambda row: row.get("_batch")):
        if batch is None:
            yield from map(_cue, rows)
        else:
            yield _message(list(rows), after_gap=batch < previous)
            previous = batch


def carried(settings: Settings, host: str) -> dict[str, Any]:
    """What a recording made with `settings` by the agent `host` tells of them."""
    return {name: getattr(settings, name) for name in CARRIED} | {"host": host}


def adopted(settings: Settings, told: Mapping[str, Any]) -> Settings:
    """`settings`, and what a recording has `told` where nobody has set anything else.

    Raises ConfigError for a value that cannot be.
    """
    keys = [key for key in KEYS if key.name in CARRIED and told.get(key.name) is not None]
    values = {}
    for key in keys:
        if settings.origins[key.name] == "default":
            try:
                values[key.name] = key.kind.read(told[key.name])
            except ValueError as error:
                problem = f"its value in the recording {error}"
                raise ConfigError(key.name, problem, "set it yourself") from None
    origins = {**settings.origins, **dict.fromkeys(values, "recording")}
    return replace(settings, **values, origins=origins)


def _rows(path: str, cut: Callable[[str, int], None] | None) -> Iterator[dict[str, Any]]:
    sound = 0
    try:
        with _opened(path) as lines:
            for ordinal, line in enumerate(lines, 1):
                if cut and not line.endswith("\n") and not _is_json(line):
                    raise EOFError("the last line is not whole")
                if line.strip():
                    yield _row(path, ordinal, line)
                sound = ordinal
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        if cut and sound and isinstance(error, EOFError):
            cut(path, sound)
            return
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(path, f"cannot be read ({reason})", "name a recorded stream") from None


def _opened(path: str) -> io.TextIOBase:
    with open(path, "rb") as file:
        packed = path.endswith(".gz") or file.read(len(GZIP)) == GZIP
    opener = gzip.open if packed else io.open
    found: io.TextIOBase = opener(path, "rt", encoding="utf-8")
    return found


def _row(path: str, ordinal: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        cure = "a recording holds one event a line"
        raise ConfigError(path, f"line {ordinal} is not JSON", cure) from None
    if not isinstance(row, dict) or not (_is_recorded(row) or _is_cue(row)):
        problem = f"line {ordinal} has no sound _batch, _received and _routing_key"
        raise ConfigError(path, problem, "record it with `celery-statsd record`")
    if row.get("_format", FORMAT) != FORMAT:
        problem = f"line {ordinal} says format {str(row['_format'])[:20]}, known is {FORMAT}"
        raise ConfigError(path, problem, "replay it with the version that recorded it")
    return row


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _is_recorded(row: dict[str, Any]) -> bool:
    return (
        isinstance(row.get("_batch"), int)
        and isinstance(row.get("_routing_key"), str)
        and _is_time(row.get("_received"))
    )


def _is_cue(row: dict[str, Any]) -> bool:
    return row.get("_cue") in CUES and "_batch" not in row and _is_time(row.get("_received"))


def _is_time(value: Any) -> bool:
    return isinstance(value, int | float) and 0 <= value < LATEST


def _cue(row: dict[str, Any]) -> Cue:
    return Cue(row["_cue"], float(row["_received"]), row)


def _message(rows: list[dict[str, Any]], after_gap: bool) -> Recorded:
    events = [{key: row[key] for key in row if not key.startswith("_")} for row in rows]
    listed = len(rows) > 1 or rows[0]["_routing_key"] == "task.multi"
    body = json.dumps(events if listed else events[0]).encode()
    return Recorded(float(rows[0]["_received"]), body, after_gap)
