"""`alerts.yml`: from rows to rules; a wrong row is told in one sentence that names it, its key and
the cure.
"""

import re
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from celery_statsd.alerts.rule import AGENT, NO_DATA, PAST, REDUCERS, AlertRule, Bound
from celery_statsd.alerts.target import mentions
from celery_statsd.document import parsed, plain
from celery_statsd.errors import ConfigError
from celery_statsd.rules import CATALOGUE

SETTING = "rules"
"""The option that names the file."""

KNOWN = frozenset(
    (rule.kind, family, rule.metric) for rule in CATALOGUE for family in rule.families
)
"""The catalogue: kind, family and metric; behind a `%` the family is not looked at."""

_UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(rf"(\d+)({'|'.join(_UNITS)})")
_NUMBER = r"(-?\d+(?:\.\d+)?)"
_SIGN = f"([{''.join(PAST)}])"
_BOUND = re.compile(rf"{_SIGN} *{_NUMBER}(?: +until +{_SIGN} *{_NUMBER})?")
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


class _Key(NamedTuple):
    """One key of a row: the field it fills, how its value is made (ValueError), what is wanted."""

    field: str
    read: Callable[[Any], Any]
    wanted: str
    needed: bool = False


def shipped() -> Path:
    """The file that comes with the program."""
    try:
        return Path(str(files("celery_statsd.shipped.config") / "alerts.yml"))
    except ModuleNotFoundError:  # a checkout that nobody installed
        return Path(__file__).parents[2] / "config" / "alerts.yml"


def load(path: str | None = None) -> tuple[AlertRule, ...]:
    """The rules of a file (the shipped one's), in its order. Raises ConfigError."""
    path = path or str(shipped())
    root = parsed(SETTING, path)
    try:
        rows = plain(root) if root else None
    except ValueError as error:
        raise _wrong(path, f"something in it {error}", "write it plainly") from None
    if not isinstance(rows, list) or not rows:
        raise _wrong(path, "it is no list of rules", "write `- name: ...` and its keys")
    rules = tuple(_rule(path, number, row) for number, row in enumerate(rows, 1))
    names = [rule.name for rule in rules]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise _wrong(f"{path}, rule {twice}", "its name is there twice", "name it otherwise")
    return rules


def chosen(rules: tuple[AlertRule, ...], names: tuple[str, ...]) -> tuple[AlertRule, ...]:
    """Those of `names`, and always the one that tells whether the agent is there; all without
    names. Raises ConfigError."""
    known = [rule.name for rule in rules]
    for name in names:
        if name not in known:
            raise ConfigError("rule", f"there is none called {name}", f"take {', '.join(known)}")
    return tuple(rule for rule in rules if not names or rule.name in (*names, AGENT))


def _rule(path: str, number: int, row: Any) -> AlertRule:
    place = f"{path}, rule {number}"
    if not isinstance(row, Mapping):
        raise _wrong(place, "it is no row", "write `name:` and the other keys below each other")
    if isinstance(row.get("name"), str):
        place = f"{path}, rule {row['name']}"
    for key in row:
        if key not in _KEYS:
            raise _wrong(place, f"{key} is no key", f"take {', '.join(_KEYS)}")
    missing = next((key for key, kind in _KEYS.items() if kind.needed and key not in row), None)
    if missing:
        raise _wrong(place, f"{missing} is not set", f"write {_KEYS[missing].wanted}")
    values = {_KEYS[key].field: _value(place, key, raw) for key, raw in row.items()}
    if values.get("warning") is None and values.get("critical") is None:
        raise _wrong(place, "critical is not set, nor is warning", f"write {_A_BOUND}")
    return AlertRule(**values)


def _value(place: str, key: str, raw: Any) -> Any:
    try:
        return _KEYS[key].read(raw)
    except ValueError as error:
        told = repr(raw) if len(repr(raw)) < 60 else "its value"
        raise _wrong(place, f"{key}: {told} {error}", f"write {_KEYS[key].wanted}") from None


def _wrong(place: str, problem: str, cure: str) -> ConfigError:
    return ConfigError(f"{SETTING}: {place}", problem, cure)


def _text(raw: Any) -> str:
    if not isinstance(raw, str) or not raw.strip():
        raise ValueError("is no text")
    return raw.strip()


def _name(raw: Any) -> str:
    if not isinstance(raw, str) or not _NAME.fullmatch(raw) or len(raw) > 40:
        raise ValueError("is no name")
    return raw


def _target(raw: Any) -> str:
    text = _text(raw)
    if text.count("(") != text.count(")"):
        raise ValueError("has brackets that do not match")
    if re.search(r"['\"]\d+m['\"]", text):
        raise ValueError("has minutes written as m, which Graphite takes for months or refuses")
    named = list(mentions(text))
    if not named:
        raise ValueError("names no metric")
    unknown = next((one for one in named if not _is_known(*one)), None)
    if unknown:
        kind, family, metric = unknown
        raise ValueError(f"names {kind.value} {metric} of {family or 'any family'}: there is none")
    return text


def _is_known(kind: Any, family: str, metric: str) -> bool:
    if family:
        return (kind, family, metric) in KNOWN
    return any((kind, metric) == (some, name) for some, _, name in KNOWN)


def _seconds(raw: Any) -> float:
    match = _DURATION.fullmatch(raw) if isinstance(raw, str) else None
    if not match:
        raise ValueError("is no duration")
    return float(match[1]) * _UNITS[match[2]]


def _window(raw: Any) -> float:
    seconds = _seconds(raw)
    if not seconds:
        raise ValueError("is no time at all")
    return seconds


def _bound(raw: Any) -> Bound | None:
    match = _BOUND.fullmatch(raw.strip()) if isinstance(raw, str) else None
    if not match:
        raise ValueError("is no bound")
    sign, value, back, until = match.groups()
    if until is None:
        return Bound(sign, float(value))
    end = Bound(back, float(until))
    if back == sign or end.passed(float(value)):
        raise ValueError("ends where it begins")
    return Bound(sign, float(value), end)


def _one_of(words: Mapping[str, Any], look_up: bool) -> Callable[[Any], Any]:
    def read(raw: Any) -> Any:
        if not isinstance(raw, str) or raw not in words:
            raise ValueError("is none of them")
        return words[raw] if look_up else raw

    return read


def _switch(raw: Any) -> bool:
    if not isinstance(raw, bool):
        raise ValueError("is neither")
    return raw


_A_BOUND = '"> 5", "< 1", or "> 5 until < 3"'
_A_TIME = "a whole number and s, min, h or d, as in 15min"

_KEYS = {
    "name": _Key("name", _name, "small letters, digits and - (40 at most)", needed=True),
    "text": _Key("text", _text, "what it means when it fires", needed=True),
    "target": _Key("target", _target, "a query with metrics of `celery-statsd metrics`, as in "
                   "sumSeries(counter:cluster.all.lost.*)", needed=True),
    "window": _Key("window", _window, _A_TIME, needed=True),
    "reduce": _Key("reduce", _one_of(REDUCERS, False), ", ".join(REDUCERS), needed=True),
    "warning": _Key("warning", _bound, _A_BOUND),
    "critical": _Key("critical", _bound, _A_BOUND),
    "for": _Key("hold", _seconds, _A_TIME),
    "no_data": _Key("no_data", _one_of(NO_DATA, True), ", ".join(NO_DATA)),
    "may_be_empty": _Key("may_be_empty", _switch, "true or false"),
}  # fmt: skip
