"""What a setting may be: the kinds of values, each with what it is called and how it is read."""

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from celery_statsd.folding import SHAPES, folder

_DEEPEST = 16  # levels of a mapping
_DAY = 86_400.0  # seconds
_MANY = 1_000_000_000
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://\S*")
_ON = dict.fromkeys(("true", "yes", "on", "1"), True)
_OFF = dict.fromkeys(("false", "no", "off", "0"), False)
_SWITCHES = _ON | _OFF


def is_address(text: str) -> bool:
    """Whether `text` is one scheme://..., without white space or control characters."""
    return bool(_ADDRESS.fullmatch(text)) and text.isprintable()


@dataclass(frozen=True, slots=True)
class Kind:
    """What a value may be: `wanted` tells people, `read` makes it or raises ValueError(reason)."""

    wanted: str
    read: Callable[[Any], Any]
    repeatable: bool = False
    flag: str = "--{0}"


def _text(raw: Any) -> str:
    if not isinstance(raw, str):
        raise ValueError("is not text")
    if not raw.strip() or not raw.isprintable():
        raise ValueError("is empty or holds control characters")
    return raw.strip()


def _addresses(raw: Any) -> tuple[str, ...]:
    items = [raw] if isinstance(raw, str) else raw
    if not isinstance(items, list | tuple) or not all(isinstance(item, str) for item in items):
        raise ValueError("is neither an address nor a list of addresses")
    found = tuple(address for item in items for address in item.split())
    if not found:
        raise ValueError("names no address")
    if not all(map(is_address, found)):
        raise ValueError("holds something that is no address")
    return found


def _address(raw: Any) -> str:
    text = _text(raw)
    if not is_address(text):
        raise ValueError("is no address")
    return text


def _place(raw: Any) -> str:
    host, colon, port = str(raw).strip().rpartition(":")
    if not (isinstance(raw, str) and colon and port.isdecimal() and host.isprintable()):
        raise ValueError("is no host:port")
    return raw.strip()


def _names(raw: Any) -> tuple[str, ...]:
    items = [raw] if isinstance(raw, str) else raw
    if not isinstance(items, list | tuple) or not all(isinstance(item, str) for item in items):
        raise ValueError("is neither a name nor a list of names")
    split = re.compile(r"[,\s]" if isinstance(raw, str) else ",").split
    found = tuple(name.strip() for item in items for name in split(item) if name.strip())
    if not all(map(str.isprintable, found)):
        raise ValueError("holds control characters")
    return tuple(dict.fromkeys(found))


def _levels(raw: Any) -> dict[str, list[int]]:
    return {queue: _three(some) for queue, some in _mapping(raw).items()}


def _three(raw: Any) -> list[int]:
    if not isinstance(raw, list | tuple) or len(raw) != 3 or {type(one) for one in raw} != {int}:
        raise ValueError("does not give each queue three whole numbers")
    if not 0 < raw[0] < raw[1] < raw[2]:
        raise ValueError("holds numbers that do not rise")
    return list(raw)


def _switch(raw: Any) -> bool:
    try:
        return _SWITCHES[str(raw).strip().lower()]
    except KeyError:
        raise ValueError("is neither true nor false") from None


def _file(raw: Any) -> str:
    path = _text(raw)
    if not os.path.isfile(path):
        raise ValueError("does not exist")
    if not os.access(path, os.R_OK):
        raise ValueError("may not be read by this user")
    return path


def _mapping(raw: Any) -> dict[str, Any]:
    try:
        value = json.loads(raw) if isinstance(raw, str) else raw
    except (ValueError, RecursionError):
        raise ValueError("is not JSON") from None
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise ValueError("is not a mapping of names to values")
    if not _shallow(value, _DEEPEST):
        raise ValueError("is nested too deeply")
    return dict(value)


def _shallow(value: Any, left: int) -> bool:
    if not isinstance(value, Mapping | list | tuple):
        return True
    inner = value.values() if isinstance(value, Mapping) else value
    return left > 0 and all(_shallow(item, left - 1) for item in inner)


def number(least: float, most: float, unit: str) -> Kind:
    """A number, of so many of `unit`."""

    def read(raw: Any) -> float:
        if isinstance(raw, bool) or not isinstance(raw, int | float | str):
            raise ValueError("is not a number")
        try:
            value = float(raw)
        except (ValueError, OverflowError):
            raise ValueError("is not a number") from None
        if not least <= value <= most:
            raise ValueError("is out of range")
        return value

    return Kind(f"{unit}, from {least:g} to {most:g}", read)


def whole(least: int, most: int) -> Kind:
    """A whole number."""

    def read(raw: Any) -> int:
        if isinstance(raw, bool) or not isinstance(raw, int | str):
            raise ValueError("is not a whole number")
        try:
            value = int(raw)
        except ValueError:
            raise ValueError("is not a whole number") from None
        if not least <= value <= most:
            raise ValueError("is out of range")
        return value

    return Kind(f"a whole number, from {least} to {most}", read)


def choice(*words: str) -> Kind:
    """One of `words`."""

    def read(raw: Any) -> str:
        if raw not in words:
            raise ValueError("is not among the choices")
        return str(raw)

    return Kind(f"one of {', '.join(words)}", read)


def _template(raw: Any) -> str:
    text = _text(raw)
    folder(text)
    return text


TEMPLATE = Kind(f"one of {', '.join(SHAPES)}, or a regular expression with a group", _template)
TEXT = Kind("text (in quotes, if it looks like a number or a switch)", _text)
ADDRESSES = Kind("one or more scheme://host:port", _addresses, repeatable=True)
SWITCH = Kind("true or false", _switch, flag="--{0}/--no-{0}")
FILE = Kind("the path of a file this user may read", _file)
NAMES = Kind("one or more names, separated by commas", _names, repeatable=True)
LEVELS = Kind("a mapping of queues to three rising numbers (JSON in flags and variables)", _levels)
ADDRESS = Kind("http://user:password@host:port", _address)
PLACE = Kind("host:port, as 127.0.0.1:9808", _place)
MAPPING = Kind("a mapping (JSON in flags and variables)", _mapping)
SECONDS = number(0.1, _DAY, "a number of seconds")
COUNT = whole(1, _MANY)
