"""What can be set: one table of keys, each with its kind, its default and its spellings.

The file, the environment, the command line and their help are all made from `KEYS`; `Settings`
is the shape in which the values reach the agent.
"""

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from celery_statsd.log import LEVELS, masked

VARIABLE_HEAD = "CELERY_STATSD_"
"""What the name of each environment variable begins with."""

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


def _number(least: float, most: float, unit: str) -> Kind:
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


def _whole(least: int, most: int) -> Kind:
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


def _choice(*words: str) -> Kind:
    def read(raw: Any) -> str:
        if raw not in words:
            raise ValueError("is not among the choices")
        return str(raw)

    return Kind(f"one of {', '.join(words)}", read)


TEXT = Kind("text (in quotes, if it looks like a number or a switch)", _text)
ADDRESSES = Kind("one or more scheme://host:port", _addresses, repeatable=True)
SWITCH = Kind("true or false", _switch, flag="--{0}/--no-{0}")
FILE = Kind("the path of a file this user may read", _file)
MAPPING = Kind("a mapping (JSON in flags and variables)", _mapping)
SECONDS = _number(0.1, _DAY, "a number of seconds")
COUNT = _whole(1, _MANY)


@dataclass(frozen=True, slots=True)
class Key:
    """One setting: a row of `KEYS`. `help` has the unit and the meaning.

    A `rival` says the same thing in another way: the stronger layer's wins, and one layer may not
    use both. A key and its `partner` mean something together only.
    """

    name: str
    kind: Kind
    default: Any
    help: str
    aliases: tuple[str, ...] = ()
    secret: bool = False
    rival: str | None = None
    partner: str | None = None

    @property
    def flags(self) -> tuple[str, ...]:
        """How the command line spells it, the long form last; click understands each.

        Give click `default=None` too, or a switch that is not given reads as false.
        """
        return self.aliases or (self.kind.flag.format(self.name.replace("_", "-")),)

    @property
    def repeatable(self) -> bool:
        """Whether the flag may be given several times."""
        return self.kind.repeatable

    @property
    def variable(self) -> str:
        """How the environment spells it."""
        return VARIABLE_HEAD + self.name.upper()


KEYS = (
    Key(
        "broker",
        ADDRESSES,
        ("amqp://guest:guest@127.0.0.1:5672//",),
        "The broker's URLs, tried in their order. A password in the flag is moved out of the "
        "process list; broker_file keeps it out of the environment too.",
        ("-b", "--broker"),
        secret=True,
        rival="broker_file",
    ),
    Key(
        "broker_file",
        TEXT,
        None,
        "A file that holds the broker's URLs, one a line; nobody else may be able to read it.",
        rival="broker",
    ),
    Key(
        "celery_app",
        TEXT,
        None,
        "Your Celery app (package.module:app): the broker settings not given here come from it.",
        ("-A", "--celery-app"),
    ),
    Key("tls", SWITCH, False, "Speak TLS with the broker; amqps:// and rediss:// imply it."),
    Key("tls_verify", SWITCH, True, "Verify the broker's certificate and its name."),
    Key("tls_ca_file", FILE, None, "The authorities to trust (PEM); the system's when not set."),
    Key(
        "tls_cert_file",
        FILE,
        None,
        "Our certificate (PEM), for a broker that asks for one.",
        partner="tls_key_file",
    ),
    Key(
        "tls_key_file",
        FILE,
        None,
        "The private key of tls_cert_file (PEM).",
        partner="tls_cert_file",
    ),
    Key("tls_server_name", TEXT, None, "The name to expect in the certificate, if not the host's."),
    Key(
        "transport_options",
        MAPPING,
        {},
        "Options of kombu's transport, as in Celery's broker_transport_options.",
        secret=True,
    ),
    Key("event_exchange", TEXT, "celeryev", "The exchange of the events (event_exchange)."),
    Key("event_queue_prefix", TEXT, "celeryev", "The head of the event queue's name."),
    Key(
        "group",
        TEXT,
        None,
        "On RabbitMQ: agents of one group share one queue and count each event once; two groups "
        "each get every event. The value of app when not set.",
    ),
    Key(
        "event_queue_type",
        _choice("quorum", "classic", "transient"),
        "quorum",
        "On RabbitMQ: quorum outlives the agent and the broker, classic the agent alone, "
        "transient neither.",
    ),
    Key(
        "large_reads",
        SWITCH,
        True,
        "On RabbitMQ: take many messages off the socket at once; off: one by one, by py-amqp, at "
        "many times the cost.",
    ),
    Key(
        "scope",
        _choice("cluster", "host"),
        "cluster",
        "What this agent counts: the cluster (of several agents on RabbitMQ or Redis one speaks), "
        "or what the workers and clients of its own host say.",
    ),
    Key(
        "partitions",
        _whole(1, 1000),
        1,
        "On RabbitMQ: the workers are shared out among so many agents, by a consistent hash of "
        "their names. The same for all of them.",
    ),
    Key(
        "partition",
        _whole(1, 1000),
        None,
        "The number of this agent's part, from 1; several of one number stand by for each other.",
    ),
    Key(
        "sinks",
        ADDRESSES,
        ("statsd://127.0.0.1:8125",),
        "Where the metrics go, one address a sink.",
        ("--sink",),
    ),
    Key("prefix", TEXT, "celery", "The first node of every metric's name."),
    Key("app", TEXT, "default", "The name of this Celery cluster in the metrics: the second node."),
    Key("flush_interval", SECONDS, 10.0, "Seconds between two flushes."),
    Key(
        "host",
        TEXT,
        None,
        "The agent's own name in the agent family; this machine's short name when not set.",
    ),
    Key(
        "state_dir",
        TEXT,
        None,
        "A folder for what must survive a restart; none, unless systemd gives one "
        "(STATE_DIRECTORY).",
    ),
    Key("max_attempts", COUNT, 100_000, "Task attempts remembered at once."),
    Key("max_series", COUNT, 100_000, "Series kept at once; the rest is folded into one."),
    Key("max_workers", COUNT, 5_000, "Workers remembered at once."),
    Key("reservoir", COUNT, 1_000, "Timer values kept for each series and flush."),
    Key(
        "lost_after",
        SECONDS,
        30.0,
        "Seconds from knowing that a worker is gone to counting what it held as lost.",
    ),
    Key(
        "worker_silence",
        _number(1, 1000, "a number of heartbeat intervals"),
        2.0,
        "How many of its own heartbeat intervals a worker may be silent before it is down.",
    ),
    Key(
        "unreported_after",
        SECONDS,
        60.0,
        "Seconds a living worker may deny a task before the task is counted as unreported.",
    ),
    Key("log_level", _choice(*LEVELS), "info", "The least grave events to log."),
    Key("log_format", _choice("text", "json"), "text", "How a log line looks."),
)
"""Every setting: the one truth for the file, the environment, the flags and their help."""


@dataclass(frozen=True, slots=True, repr=False)
class Settings:
    """What the agent shall do: an attribute for each of `KEYS`, which has meanings and units.

    `broker` holds the URLs of `broker_file` when that is in force. `origins` tells of each key
    where its value comes from, `file` which file was read.
    """

    broker: tuple[str, ...]
    broker_file: str | None
    celery_app: str | None
    tls: bool
    tls_verify: bool
    tls_ca_file: str | None
    tls_cert_file: str | None
    tls_key_file: str | None
    tls_server_name: str | None
    transport_options: Mapping[str, Any]
    event_exchange: str
    event_queue_prefix: str
    group: str | None
    event_queue_type: str
    large_reads: bool
    scope: str
    partitions: int
    partition: int | None
    sinks: tuple[str, ...]
    prefix: str
    app: str
    flush_interval: float
    host: str | None
    state_dir: str | None
    max_attempts: int
    max_series: int
    max_workers: int
    reservoir: int
    lost_after: float
    worker_silence: float
    unreported_after: float
    log_level: str
    log_format: str
    origins: Mapping[str, str]
    file: str | None

    def shown(self) -> list[tuple[str, Any, str]]:
        """Each key, its value without secrets, and its origin."""
        return [(key.name, masked(getattr(self, key.name)), self.origins[key.name]) for key in KEYS]

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{name}={value!r}' for name, value, _ in self.shown())})"
