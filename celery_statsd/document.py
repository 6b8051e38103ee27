"""YAML, read plainly and written stably: the one door of its library.

What is read is UTF-8, short, and of mappings, lists, text, numbers and switches alone: no tag,
and no alias, which could make a value endless. What is written has its keys in their order, and the
same data gives the same text.
"""

import os
import re
import stat
from collections.abc import Callable, Iterable
from typing import Any

import yaml

from celery_statsd.errors import ConfigError
from celery_statsd.kinds import SWITCH

LARGEST_FILE = 256 * 1024
"""Characters."""

_Maker = Callable[[Any, set[int]], Any]


def content(key: str, path: str, private: bool = False) -> str:
    """The text of a file, in UTF-8; `key` is the setting that names it. A `private` one may be
    open to nobody else. Raises ConfigError when it cannot be had, or is too long."""
    try:
        with open(path, encoding="utf-8-sig") as stream:
            if private:
                _refuse_readers(key, path, os.fstat(stream.fileno()))
            text = stream.read(LARGEST_FILE + 1)
    except OSError as error:
        problem = f"{path} cannot be read ({error.strerror})"
        raise ConfigError(key, problem, "name a file this user may read") from None
    except ValueError:
        raise ConfigError(key, f"{path} is not UTF-8 text", "save it as UTF-8") from None
    if len(text) > LARGEST_FILE:
        raise ConfigError(key, f"{path} is too long", f"keep it under {LARGEST_FILE} characters")
    return text


def _refuse_readers(key: str, path: str, facts: os.stat_result) -> None:
    # A file of our own can be closed to all others. One that belongs to another user (root, an
    # access list of systemd, a Kubernetes volume) reaches us through its group alone.
    loose = 0o077 if facts.st_uid == os.geteuid() else 0o007
    if facts.st_mode & loose:
        problem = f"{path} is open to other users (mode {stat.S_IMODE(facts.st_mode):04o})"
        raise ConfigError(key, problem, f"run chmod 600 {path}")


def parsed(key: str, path: str) -> yaml.Node | None:
    """The tree of a file, or None when it is empty. Raises ConfigError."""
    text = content(key, path)
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        what = re.sub(r"alias .*", "alias", error.problem or "bad syntax")  # its name is a value
        raise ConfigError(key, f"{path}{where}: {what}", "mend the YAML there") from None
    except (yaml.YAMLError, ValueError, OverflowError):  # the last two: an escape of no character
        raise ConfigError(key, f"{path} holds characters YAML forbids", "remove them") from None
    except RecursionError:
        raise ConfigError(key, f"{path} is nested too deeply", "flatten it") from None


def plain(node: yaml.Node) -> Any:
    """The data of `node`. Raises ValueError with the reason."""
    return _plain(node, set())


def written(data: Any) -> str:
    """`data` as YAML."""
    text: str = yaml.dump(data, Dumper=_Dumper, sort_keys=False, width=100, allow_unicode=True)
    return text


class _Dumper(yaml.SafeDumper):
    """Writes every value where it stands: no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True


def _plain(node: yaml.Node, seen: set[int]) -> Any:
    """An alias is refused."""
    if id(node) in seen:
        raise ValueError("uses an alias")
    seen.add(id(node))
    make = _MAKERS.get(node.tag)
    if make is None:
        raise ValueError("has a tag or a form that no setting takes")
    return make(node.value, seen)


def _list(nodes: Iterable[yaml.Node], seen: set[int]) -> list[Any]:
    return [_plain(node, seen) for node in nodes]


def _dict(rows: Iterable[tuple[yaml.Node, yaml.Node]], seen: set[int]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key_node, node in rows:
        key = _plain(key_node, seen)
        if not isinstance(key, str) or key in found:
            raise ValueError("has a key that is no text, or stands there twice")
        found[key] = _plain(node, seen)
    return found


def _scalar(make: Callable[[str], Any]) -> _Maker:
    def read(text: str, _: set[int]) -> Any:
        try:
            return make(text)
        except ValueError:  # its own message would show the value
            raise ValueError("looks like a number or a switch, but is none") from None

    return read


def _whole(text: str) -> int:
    if len(text) > 40:  # Python refuses to write down a number of thousands of digits
        raise ValueError
    return int(text, 0)


_TAG = "tag:yaml.org,2002:"
_MAKERS: dict[str, _Maker] = {
    _TAG + "str": _scalar(str),
    _TAG + "timestamp": _scalar(str),
    _TAG + "int": _scalar(_whole),
    _TAG + "float": _scalar(float),
    _TAG + "bool": _scalar(SWITCH.read),
    _TAG + "null": _scalar(lambda _: None),
    _TAG + "seq": _list,
    _TAG + "map": _dict,
}
