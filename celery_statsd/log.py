"""The agent's log: one line an event, an event is a word with fields.

`text` lines read `level event key=value ...` (systemd adds the time), `json` lines are one
object each. No line ever holds a task's arguments, a message's body or a password.
"""

import json
import math
import re
import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

LEVELS = ("debug", "info", "warning", "error")

MASK = "***"
"""What stands where a password stood."""

# Every repetition before a fixed text is bounded: a long hostile text costs linear time.
_SCHEME = r"[A-Za-z][A-Za-z0-9+.\-]{0,30}://"
_URL = re.compile(rf"{_SCHEME}(?:(?![;,|]\W{{0,2}}{_SCHEME})\S)*", re.ASCII)
_BARE = re.compile(r"(?<=:)[^:@/\s]*(?=@)", re.ASCII)
_NAME = r"(?:passw(?:or)?d|passphrase|pwd|secret|token|credential|api_?key|access_?key)[\w\-]{0,30}"
_SECRET_NAME = re.compile(_NAME, re.ASCII | re.IGNORECASE)
_PAIR = re.compile(
    rf"""{_NAME}(?:\s{{0,3}}=\s{{0,3}}|["']\s{{0,3}}:\s{{0,3}})("[^"]*"|'[^']*'|[^&\s]*)""",
    re.ASCII | re.IGNORECASE,
)
_PLAIN = re.compile(r"[!#-<>-~]+")


def redact(text: str) -> str:
    """`text` with the password of every URL in it masked, and the value of every `password=`.

    When a URL can be read in two ways the longer reading is masked: a password may hold `@`,
    `:`, `/` and `?`, so it ends at the last `@` before white space or the next URL of a list.
    """
    if "@" in text:
        text = _URL.sub(_without_password, text)
        text = _BARE.sub(MASK, text)
    return _PAIR.sub(_without_value, text)


def masked(value: Any) -> Any:
    """`value` fit to be shown: plain data, each text redacted, whatever a secret name names hidden.

    Mappings come back as dicts, lists and tuples as tuples; what is no plain data becomes text.
    """
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, float) and math.isfinite(value):  # JSON has no word for the others
        return value
    if isinstance(value, Mapping):
        return {redact(str(name)): _named(str(name), item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return tuple(map(masked, value))
    return redact(str(value))


class Log:
    """Writes events at or above a level to a stream (stderr by default); safe between threads.

    A line that cannot be written (a full disk, a closed pipe) never stops the agent: it is
    counted in `dropped`.
    """

    def __init__(
        self, level: str = "info", form: str = "text", stream: TextIO | None = None
    ) -> None:
        self.dropped = 0
        self._floor = LEVELS.index(level)
        self._line = _LINES[form]
        self._stream = stream or sys.stderr

    def turn_to(self, level: str, form: str) -> None:
        """From now on log at or above `level`, in that form."""
        self._floor, self._line = LEVELS.index(level), _LINES[form]

    def debug(self, event: str, **fields: Any) -> None:
        """Tell what only somebody looking for a fault wants to know."""
        self._write(0, event, fields)

    def info(self, event: str, **fields: Any) -> None:
        """Tell a step of the agent's life."""
        self._write(1, event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """Tell what the agent answered by itself."""
        self._write(2, event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """Tell what a person has to mend."""
        self._write(3, event, fields)

    def _write(self, level: int, event: str, fields: dict[str, Any]) -> None:
        if level < self._floor:
            return
        line = self._line(LEVELS[level], event, masked(fields))
        try:
            # One call a line, so that the lines of two threads never mix.
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            self.dropped += 1


def _without_password(url: re.Match[str]) -> str:
    text = url[0]
    start, at = text.index("://") + 3, text.rfind("@")
    colon = text.find(":", start)
    if not start <= colon < at:
        return text
    # The secret of a query string may hold an `@` too: then both readings are masked as one.
    inside = [pair for pair in _PAIR.finditer(text) if pair.start(1) <= at < pair.end(1)]
    rest = text[max((pair.end(1) for pair in inside), default=at) :]
    return f"{text[: colon + 1]}{MASK}{rest}"


def _without_value(pair: re.Match[str]) -> str:
    return pair[0][: pair.start(1) - pair.start()] + MASK


def _named(name: str, item: Any) -> Any:
    return MASK if item is not None and _SECRET_NAME.search(name) else masked(item)


def _text(level: str, event: str, fields: dict[str, Any]) -> str:
    return " ".join([level, event, *(f"{key}={_quoted(value)}" for key, value in fields.items())])


def _quoted(value: Any) -> str:
    """`value` as one word; what could break the line or a terminal is escaped as JSON does."""
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)


def _json(level: str, event: str, fields: dict[str, Any]) -> str:
    row = {"time": round(time.time(), 3), "level": level, "event": event, **fields}
    return json.dumps(row)


_LINES = {"text": _text, "json": _json}
