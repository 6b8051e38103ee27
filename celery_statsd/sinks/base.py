"""What a sink is: an address, `send`, `check`, `close`, and a tally of what it did.

A sink is configured by one address, `scheme://host:port?option=value`, so a new sink changes
no other file than its own and the table in `sinks/__init__`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any, Self, TypeVar
from urllib.parse import SplitResult, parse_qsl, urlsplit

from celery_statsd.errors import ConfigError
from celery_statsd.metric import Batch

Number = TypeVar("Number", int, float)

KEY = "sinks"
"""The configuration key every bad address is blamed on."""


@dataclass(slots=True)
class Tally:
    """What a sink has done since it was made; the agent sends the growth at each flush.

    `dropped` counts what was given up for good: lines (StatsD) or points (Graphite); `overrun`
    the datagrams a receiver on this host had no room for (see `receiver`).
    """

    packets: int = 0
    bytes: int = 0
    errors: int = 0
    dropped: int = 0
    overrun: int = 0


@dataclass(frozen=True, slots=True)
class Address:
    """A sink's address, taken apart: `statsd://127.0.0.1:8125?mtu=1432`."""

    text: str
    scheme: str
    host: str
    port: int | None
    path: str
    options: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Take `text` apart. Raises ConfigError when it has no scheme, or no such port can be."""
        try:
            parts = urlsplit(text)
        except ValueError as error:
            raise ConfigError(
                KEY, f"{text!r} is no address ({error})", "write scheme://host:port"
            ) from None
        if not parts.scheme or "://" not in text:
            raise ConfigError(KEY, f"{text!r} is no address", "write scheme://host:port")
        port = cls._port(text, parts)
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        return cls(text, parts.scheme, parts.hostname or "", port, parts.path, options)

    @staticmethod
    def _port(text: str, parts: SplitResult) -> int | None:
        try:
            port = parts.port
        except ValueError:
            port = 0
        if port == 0:
            raise ConfigError(KEY, f"{text!r} has no valid port", "take one from 1 to 65535")
        return port

    def endpoint(self, default_port: int) -> tuple[str, int]:
        """The host and the port to talk to. Raises ConfigError without a host, or with a path."""
        if not self._names_a_host():
            raise ConfigError(KEY, f"{self.text!r} names no host", "write scheme://host:port")
        if self.path not in ("", "/"):
            raise ConfigError(
                KEY,
                f"{self.text!r} has a path, {self.path!r}",
                "end it after the port; options follow a question mark",
            )
        return self.host, self.port or default_port

    def _names_a_host(self) -> bool:
        """Whether there is a host at all, and one the resolver can be asked for."""
        try:
            return bool(self.host.encode("idna"))
        except UnicodeError:
            return False

    def option(self, key: str, kind: Callable[[str], Any], default: Any) -> Any:
        """The option `key` as `kind` makes it, or `default`. Raises ConfigError on a bad value."""
        value = self.options.get(key)
        if value is None:
            return default
        try:
            return kind(value)
        except ValueError:
            raise ConfigError(
                KEY,
                f"{self.text!r}: option {key}={value!r} is not {kind.__name__}",
                f"the default is {default!r}",
            ) from None

    def only(self, *known: str) -> None:
        """Raise ConfigError when there is an option that is not among `known`."""
        for key in self.options:
            if key not in known:
                raise ConfigError(
                    KEY,
                    f"{self.text!r} has an unknown option {key!r}",
                    f"known here: {', '.join(known) or 'none'}",
                )


def yes_or_no(text: str) -> bool:
    """A kind of option: `yes` or `no`. Raises ValueError."""
    if text not in ("yes", "no"):
        raise ValueError(text)
    return text == "yes"


def positive_int(text: str) -> int:
    """A kind of option: a whole number above 0. Raises ValueError."""
    return _positive(int(text))


def positive_seconds(text: str) -> float:
    """A kind of option: a length of time in seconds, above 0. Raises ValueError."""
    return _positive(float(text))


def _positive(value: Number) -> Number:
    """`value`, if it is finite and above 0."""
    if not 0 < value < inf:
        raise ValueError(value)
    return value


class Sink(ABC):
    """Where batches go. One thread uses it; it never blocks longer than its timeout."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.tally = Tally()

    @abstractmethod
    def send(self, batch: Batch) -> None:
        """Deliver `batch`, and first what an outage left behind.

        Raises SinkDown when it could not; what the sink may keep (within its bound) it has kept,
        what it had to give up it has counted in `tally.dropped`.
        """

    def keep(self, batch: Batch) -> None:
        """Take `batch` without trying to deliver it: the next `send` does, as far as it can.

        For a sink that is down and behind, so that its timeout is not waited for again and again.
        One that keeps nothing sends it.
        """
        self.send(batch)

    @abstractmethod
    def check(self) -> None:
        """Raise SinkDown, with a sentence a person can act on, when nobody would receive."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the socket; try once more to deliver what is still kept."""
