"""A recording while it is written: see `recording` for what stands in it.

Each message is on its way to the disk before a pipeline gets it, and each flush brings all before
it there: a recorder that dies leaves what it heard. A file that is there already is left alone,
and nobody else may read a new one.
"""

import gzip
import json
import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import IO, Any, cast

import msgspec

from celery_statsd.errors import ConfigError
from celery_statsd.events import decode, whole_number
from celery_statsd.recording import FORMAT
from celery_statsd.redaction import redacted
from celery_statsd.source.base import Message

PRIVATE = 0o600
"""The mode of a new file."""

CUSTOM = {"type": "custom"}
"""Stands for an event that is not Celery's own and cannot be shown."""


class Tape:
    """A new file at `path`, packed or not; `whole`: with arguments, results and exceptions.

    It is made when it begins. Every call raises ConfigError when it cannot be written.
    """

    def __init__(self, path: str, packed: bool, whole: bool) -> None:
        self.path = path
        self.messages = 0
        self._packed = packed
        self._whole = whole
        self._file: IO[bytes] | None = None
        self._opened: list[IO[bytes]] = []

    def begin(self, now: float, settings: Mapping[str, Any]) -> None:
        """A pipeline of these settings begins at `now` (epoch seconds)."""
        raw = self._tried(lambda: _made(self.path))
        self._file = _packer(raw) if self._packed else raw
        self._opened = [self._file, raw]
        self.cue("begin", now, _format=FORMAT, _settings=dict(settings))

    def cue(self, what: str, now: float, **facts: Any) -> None:
        """The pipeline is asked `what` at `now`."""
        self._write({"_cue": what, "_received": now, **facts})

    def message(self, message: Message, now: float) -> None:
        """`message` has come at `now`. One that holds no event at all is only counted."""
        decoded = decode(message.body)
        if not decoded.events and not decoded.custom and _is_bad_as_a_whole(decoded.bad):
            self.cue("refused", now, _reason=decoded.bad[0], _size=len(message.body))
            return
        rows = _rows(message.body)
        if rows is None:
            known = [cast("dict[str, Any]", msgspec.to_builtins(one)) for one in decoded.events]
            rows = [*known, *({} for _ in decoded.bad), *[CUSTOM] * decoded.custom]
        self.messages += 1
        common = {
            "_batch": self.messages,
            "_hostname": message.facts.hostname,
            "_received": now,
            "_routing_key": message.routing_key,
            "_size": len(rows),
        }
        for row in rows:
            shown = row if self._whole else redacted(row)
            fields = {key: value for key, value in shown.items() if not key.startswith("_")}
            self._write({**fields, **common})

    def sync(self) -> None:
        """Bring what was written so far to the file."""
        if self._file:
            self._tried(self._file.flush)

    def close(self) -> None:
        """The last of it; nothing can be written any more."""
        for file in self._opened:
            self._tried(file.close)

    def _write(self, row: Mapping[str, Any]) -> None:
        assert self._file
        line = json.dumps(row).encode() + b"\n"
        self._tried(partial(self._file.write, line))

    def _tried(self, act: Callable[[], Any]) -> Any:
        try:
            return act()
        except FileExistsError:
            raise ConfigError(self.path, "is there already", "name a new file") from None
        except OSError as error:
            problem = f"cannot be written ({error.strerror or error})"
            raise ConfigError(self.path, problem, "name a file that can") from None


def _made(path: str) -> IO[bytes]:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE), "wb")


def _packer(raw: IO[bytes]) -> IO[bytes]:
    return cast("IO[bytes]", gzip.GzipFile("", "wb", compresslevel=6, fileobj=raw, mtime=0))


def _is_bad_as_a_whole(bad: tuple[str, ...]) -> bool:
    return len(bad) == 1 and bad[0] in ("too_long", "too_many_parts", "not_json")


def _rows(body: bytes) -> list[dict[str, Any]] | None:
    """The events of a body as the wire has them; what is none has no fields. None when it cannot
    be taken apart so."""
    try:
        text = body.decode("utf-8", "surrogateescape")  # what is skipped may be no UTF-8
        found = json.loads(text, parse_int=whole_number)
    except (ValueError, RecursionError):
        return None
    rows = found if isinstance(found, list) else [found]
    return [row if isinstance(row, dict) else {} for row in rows]
