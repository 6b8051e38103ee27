"""The settings: read from each layer, joined by strength, judged by the table in `keys`.

Strength: flag > environment > credential > file > the user's Celery app > default. Only the
strongest value of a key is judged; a name nobody knows is an error wherever it stands.

In flags, in the environment and in credentials a list is separated by white space or new lines
(addresses may hold commas and semicolons), a mapping is JSON, and an empty variable is one that is
not set. In the file a null is a key that is not set.
"""

import difflib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import yaml

from celery_statsd.credentials import credentials
from celery_statsd.document import content, parsed, plain
from celery_statsd.errors import CeleryStatsdError, ConfigError
from celery_statsd.keys import KEYS, VARIABLE_HEAD, Key, Settings
from celery_statsd.kinds import is_address
from celery_statsd.log import MASK, masked, redact

__all__ = ["CONFIG_VARIABLE", "DEFAULT_FILE", "KEYS", "Misconfigured", "Settings", "load"]

DEFAULT_FILE = "/etc/celery-statsd/celery-statsd.yml"
"""The file that is read when none is named, if it exists."""

CONFIG_VARIABLE = VARIABLE_HEAD + "CONFIG"
"""The environment's way to name the file (the flag is `--config`)."""

_BY_NAME = {key.name: key for key in KEYS}
_BY_VARIABLE = {key.variable: key for key in KEYS}

# Kubernetes sets these in every pod beside a Service whose name begins with celery-statsd.
_SERVICE_LINK = re.compile(
    VARIABLE_HEAD + r"(\w+_)?(SERVICE_(HOST|PORT(_\w+)?)=.*"
    r"|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?=.*|PORT=(tcp|udp|sctp)://.*)"
)


class Misconfigured(ConfigError):
    """Several settings are wrong: one sentence a line. `key` is the first one's."""

    def __init__(self, errors: Sequence[ConfigError]) -> None:
        CeleryStatsdError.__init__(self, "\n".join(map(str, errors)))
        self.key = errors[0].key
        self.errors = tuple(errors)


@dataclass(frozen=True, slots=True)
class _Given:
    """A value as a layer has it; `place` tells people where to mend it."""

    raw: Any
    origin: str
    place: str


_Layer = dict[str, _Given]


class _Problems(list[ConfigError]):
    """Gathers what is wrong, so that all of it is told at once."""

    @contextmanager
    def gathered(self) -> Iterator[None]:
        try:
            yield
        except Misconfigured as error:
            self.extend(error.errors)
        except ConfigError as error:
            self.append(error)

    def unless_none(self) -> None:
        if len(self) > 1:
            raise Misconfigured(self)
        if self:
            raise self[0]


def load(
    flags: Mapping[str, Any],
    environ: Mapping[str, str],
    path: str | None,
    app_layer: Callable[[str], Mapping[str, Any]],
    default_file: str = DEFAULT_FILE,
) -> Settings:
    """The settings in force, from all layers.

    `flags` has the values of the command line by key name (None and () are not given), `path` is
    the file's (else `CELERY_STATSD_CONFIG`, else `default_file` if it exists), and `app_layer`
    finds the settings of the Celery app that `celery_app` names; it is called for nothing else.

    Raises ConfigError; when several settings are wrong, Misconfigured tells them all.
    """
    problems = _Problems()
    file = path or environ.get(CONFIG_VARIABLE) or _if_there(default_file)
    layers = [
        _flag_layer(flags, problems),
        _environment_layer(environ, problems),
        _credential_layer(environ, problems),
        _file_layer(file, problems) if file else {},
    ]
    given: _Layer = {}
    for layer in layers:
        _refuse_rivals(layer, problems)
        given = _over(given, layer)
    if "celery_app" in given:
        given = _over(given, _app_layer(given["celery_app"], app_layer, problems))
    values = _values(given, problems)
    problems.unless_none()
    return Settings(**values, origins=_origins(given), file=file)


def _if_there(path: str) -> str | None:
    return path if os.path.exists(path) else None


def _flag_layer(flags: Mapping[str, Any], problems: _Problems) -> _Layer:
    layer: _Layer = {}
    for name, raw in flags.items():
        if name not in _BY_NAME:
            problems.append(_unknown(name, "the command line"))
        elif raw is not None and raw != ():
            layer[name] = _Given(raw, "flag", f"the flag {_BY_NAME[name].flags[-1]}")
    return layer


def _environment_layer(environ: Mapping[str, str], problems: _Problems) -> _Layer:
    layer: _Layer = {}
    for variable, text in environ.items():
        key = _BY_VARIABLE.get(variable)
        if key and text.strip():
            layer[key.name] = _Given(text, f"environment {variable}", f"the variable {variable}")
        elif not key and _is_ours(variable, text):
            problems.append(_unknown(variable, "the environment", "variable"))
    return layer


def _credential_layer(environ: Mapping[str, str], problems: _Problems) -> _Layer:
    layer: _Layer = {}
    with problems.gathered():
        for name, text in credentials(environ).items():
            if name in _BY_NAME:
                layer[name] = _Given(text, f"credential {name}", f"the credential {name}")
            else:
                problems.append(_unknown(name, "the credentials"))
    return layer


def _is_ours(variable: str, text: str) -> bool:
    if not variable.startswith(VARIABLE_HEAD) or variable == CONFIG_VARIABLE:
        return False
    return not _SERVICE_LINK.fullmatch(f"{variable}={text}")


def _app_layer(
    app: _Given, app_layer: Callable[[str], Mapping[str, Any]], problems: _Problems
) -> _Layer:
    if not isinstance(app.raw, str):
        return {}  # told when the key itself is judged
    origin = f"app {app.raw.strip()}"
    with problems.gathered():
        found = app_layer(app.raw.strip()).items()
        return {name: _Given(raw, origin, origin) for name, raw in found if raw is not None}
    return {}


def _refuse_rivals(layer: _Layer, problems: _Problems) -> None:
    for name, given in layer.items():
        rival = _BY_NAME[name].rival
        if rival in layer and name < rival:  # told once
            problem = f"{rival} is set beside it ({given.origin})"
            problems.append(ConfigError(name, problem, "keep one of the two"))


def _over(stronger: _Layer, weaker: _Layer) -> _Layer:
    """Both layers in one; a rival of what the stronger one sets is as good as set."""
    left = {name: item for name, item in weaker.items() if _BY_NAME[name].rival not in stronger}
    return left | stronger


def _values(given: _Layer, problems: _Problems) -> dict[str, Any]:
    """The value of each key; a key whose value is wrong is missing, and told in `problems`."""
    values: dict[str, Any] = {}
    for key in KEYS:
        with problems.gathered():
            values[key.name] = _judged(key, given.get(key.name))
    if values.get("broker_file"):
        with problems.gathered():
            values["broker"] = _broker_of(values["broker_file"])
    for name in given:
        partner = _BY_NAME[name].partner
        if partner and partner not in given:
            problem = f"it is set, but {partner} is not"
            problems.append(ConfigError(name, problem, "set both or none"))
    return values


def _judged(key: Key, given: _Given | None) -> Any:
    if given is None:
        return None if key.default is None else key.kind.read(key.default)
    try:
        return key.kind.read(given.raw)
    except ValueError as error:
        problem = f"{_told(key, given.raw)} from {given.place} {error}"
        raise ConfigError(key.name, problem, f"write {key.kind.wanted}") from None


def _told(key: Key, raw: Any) -> str:
    """`raw` for an error: no secret, and not too much of it."""
    if key.secret and not (isinstance(raw, str) and is_address(raw)):
        return MASK
    alone = raw[0] if isinstance(raw, tuple) and len(raw) == 1 else raw  # a flag given once
    return _clipped(repr(masked(alone)))


def _clipped(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."


def _origins(given: _Layer) -> dict[str, str]:
    origins = {key.name: "default" for key in KEYS}
    origins |= {name: item.origin for name, item in given.items()}
    if "broker_file" in given:
        origins["broker"] = f"broker_file {str(given['broker_file'].raw).strip()}"
    return origins


def _unknown(name: str, place: str, spelling: str = "name") -> ConfigError:
    """The error for a name no key has; `spelling` is the attribute of Key that spells it there."""
    shown = _clipped(redact(name))
    bare = shown.upper().removeprefix(VARIABLE_HEAD).lower().replace("-", "_")
    near = difflib.get_close_matches(bare, _BY_NAME, 1) or list(_BY_NAME)
    known = ", ".join(getattr(_BY_NAME[name], spelling) for name in near)
    cure = f"did you mean {known}?" if len(near) == 1 else f"known are {known}"
    return ConfigError(
        shown if shown.isprintable() else repr(shown), f"no such setting ({place})", cure
    )


def _broker_of(path: str) -> Any:
    """The URLs in the broker file, one a line; `#` begins a comment line."""
    lines = (line.strip() for line in content("broker_file", path, private=True).splitlines())
    urls = [line for line in lines if line and not line.startswith("#")]
    return _judged(_BY_NAME["broker"], _Given(urls, "", f"broker_file {path}"))


def _file_layer(path: str, problems: _Problems) -> _Layer:
    layer: _Layer = {}
    lines: dict[str, int] = {}
    with problems.gathered():
        for name, line, node in _rows(path):
            with problems.gathered():
                raw = _row(name, f"{path}, line {line}", node, lines.get(name))
                if raw is not None:
                    layer[name] = _Given(raw, f"file {path}", f"{path}, line {line}")
            lines.setdefault(name, line)
    return layer


def _row(name: str, place: str, node: yaml.Node, before: int | None) -> Any:
    if name not in _BY_NAME:
        raise _unknown(name, place)
    if before is not None:
        raise ConfigError(name, f"set again in {place}, after line {before}", "keep one")
    try:
        return plain(node)
    except ValueError as error:
        raise ConfigError(
            name, f"its value in {place} {error}", "write it plainly, text in quotes"
        ) from None


def _rows(path: str) -> list[tuple[str, int, yaml.Node]]:
    """Each key of the file, with its line and the node of its value."""
    root = parsed("config", path)
    if root is None:
        return []
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError("config", f"{path} holds no keys", "write one `key: value` a line")
    return [
        (key.value if isinstance(key, yaml.ScalarNode) else "?", key.start_mark.line + 1, node)
        for key, node in root.value
    ]
