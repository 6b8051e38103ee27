"""The agent's log: one line an event, an event is a word with fields.

`text` lines read `level event key=value ...` (systemd adds the time), `json` lines are one
object each. No line ever holds a task's arguments, a message's body or a password.
"""

import json
import re
import sys
import time
from typing import Any, TextIO

LEVELS = ("debug", "info", "warning", "error")

_PASSWORD = re.compile(r"(?<=:)[^:@/\s]*(?=@)")


def redact(text: str) -> str:
    """`text` with the password of every URL in it masked."""
    return _PASSWORD.sub("***", text) if "@" in text else text


class Log:
    """Writes events at or above a level to a stream (stderr by default)."""

    def __init__(
        self, level: str = "info", form: str = "text", stream: TextIO | None = None
    ) -> None:
        self._floor = LEVELS.index(level)
        self._line = _LINES[form]
        self._stream = stream or sys.stderr

    def debug(self, event: str, **fields: Any) -> None:
        self._write(0, event, fields)

    def info(self, event: str, **fields: Any) -> None:
        self._write(1, event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        self._write(2, event, fields)

    def error(self, event: str, **fields: Any) -> None:
        self._write(3, event, fields)

    def _write(self, level: int, event: str, fields: dict[str, Any]) -> None:
        if level < self._floor:
            return
        print(redact(self._line(LEVELS[level], event, fields)), file=self._stream, flush=True)


def _text(level: str, event: str, fields: dict[str, Any]) -> str:
    return " ".join([level, event, *(f"{key}={_quoted(value)}" for key, value in fields.items())])


def _quoted(value: Any) -> str:
    text = str(value)
    return json.dumps(text) if re.search(r"[\s\"=]", text) or not text else text


def _json(level: str, event: str, fields: dict[str, Any]) -> str:
    row = {"time": round(time.time(), 3), "level": level, "event": event, **fields}
    return json.dumps(row, default=str)


_LINES = {"text": _text, "json": _json}
