"""What a source is: it listens, and it outlives the broker.

Laws, each paid for by a failure seen in the usual receivers:

1. `read` never raises for a lost broker and never returns late by more than the time it was
   given plus one connection attempt.
2. After an error the socket is dropped, never closed politely: a polite close waits for an
   answer from a peer that may be gone.
3. Nothing is ever published on the consuming connection: a broker in a memory alarm stops
   reading from publishers, acknowledgements included.
4. A lost broker is told once when it is lost, once a minute while it stays away, and once when
   it is back; each return is counted.
"""

import random
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import unquote

import msgspec

from celery_statsd.accounts import Account
from celery_statsd.errors import BrokerLost
from celery_statsd.log import MASK, Log

FIRST_WAIT = 0.2
"""Seconds before the first attempt to reconnect; doubled each time, with full jitter."""

LONGEST_WAIT = 4.0
"""Seconds: the ceiling of the back-off, so that a broker that is back is found within 5 s."""

REMIND_EVERY = 60.0
"""Seconds between two log lines about a broker that stays away."""


TLS_SCHEMES = ("amqps://", "rediss://")
"""What a URL begins with that asks for TLS by itself."""


@dataclass(frozen=True, slots=True)
class Tls:
    """How to trust the broker, and how to be trusted. `on` is implied by amqps:// and rediss://."""

    on: bool = False
    verify: bool = True
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    server_name: str | None = None


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the events are: all a source needs to know.

    `urls` are tried in their order, the next one after each failure; `transport_options` are
    kombu's own (Sentinel's `master_name`, Redis's `global_keyprefix`, `fanout_prefix`, ...).
    On RabbitMQ the sources of one `group` share one queue, so that each event reaches one of them;
    `queue_type` is quorum, classic, or transient: then each source hears all, while it listens.
    With `partitions` each hears that part of the workers whose number, from 1, is `partition`.
    Without `large_reads` each frame is read by py-amqp itself.
    On Redis every source hears everything; those of a `chorus` agree on who speaks (see `Mark`).
    `management` is the URL of RabbitMQ's management API, "" for none; `all_vhosts`: it is asked for
    the queues of all.
    """

    urls: tuple[str, ...]
    tls: Tls = field(default_factory=Tls)
    transport_options: Mapping[str, Any] = field(default_factory=dict)
    event_exchange: str = "celeryev"
    event_queue_prefix: str = "celeryev"
    group: str = "default"
    queue_type: str = "quorum"
    partition: int = 1
    partitions: int = 1
    chorus: bool = False
    large_reads: bool = True
    management: str = ""
    all_vhosts: bool = False

    def __post_init__(self) -> None:
        if any(url.startswith(TLS_SCHEMES) for url in self.urls):
            object.__setattr__(self, "tls", replace(self.tls, on=True))


class Facts(NamedTuple):
    """What a message's properties say of it; `hostname` is the header's sender."""

    content_type: str = ""
    content_encoding: str = ""
    hostname: str = ""


LONGEST_FACTS = 2000
"""Bytes or characters of facts that may be remembered, so that many of them stay a few MB."""


class Message(msgspec.Struct, frozen=True, gc=False):
    """One message as the broker had it: `body` is undecoded. Many share their facts."""

    body: bytes
    facts: Facts
    routing_key: str = ""


class Mark(NamedTuple):
    """A place in a stream that every agent of a chorus hears: a flush ends here.

    `cut` names the mark, `stamp` is the flush's time (epoch seconds); `mine`: this agent says it,
    else another one does.
    """

    cut: str
    stamp: float
    mine: bool


class Said(NamedTuple):
    """The speaker has delivered the flush that ended at the mark `cut`, and all before it, to all
    sinks but those that are `lacking` it. `accounts`: what it had accounted for at that mark, of
    each worker."""

    cut: str
    lacking: tuple[str, ...] = ()
    accounts: Mapping[str, Account] = MappingProxyType({})


class Joined(NamedTuple):
    """From here on the stream is heard; `cut` was the last mark before, "" when none is known, and
    `said` the last word of what was said. `mine`: this agent had set the mark."""

    cut: str
    mine: bool
    said: Said | None = None


Turn = Mark | Said | Joined
"""What a chorus has to know besides the messages."""


def place_of(url: str) -> str:
    """`url` for people: without its password, and without its options, which may hold secrets.

    A list of URLs, separated by `;`, stays one.
    """
    return ";".join(map(_place_of_one, url.split(";")))


def _place_of_one(url: str) -> str:
    scheme, _, rest = url.partition("://")
    head, _, options = rest.partition("?")
    if "@" not in head and "@" in options:
        # A `?` in the password, or an `@` in an option: only what is surely neither is shown.
        head = options.rpartition("@")[2].partition("&")[0]
    login, at, host = head.rpartition("@")
    user = login.partition(":")[0]
    return f"{scheme}://{user}{at if user else ''}{host}"


def scrubbed(text: str, url: str) -> str:
    """`text`, which a library wrote, without any password of `url` (as it is, and unquoted)."""
    for one in url.split(";"):
        login = one.partition("://")[2].rpartition("@")[0]
        password = login.partition(":")[2]
        for secret in filter(None, (password, unquote(password))):
            text = text.replace(secret, MASK)
    return text


class Source(ABC):
    """A stream of messages from one event exchange. Used by one thread.

    A variant gives `_open`, `_read`, `_drop` and `_leave`, which raise BrokerLost when the
    broker is gone. `reconnects` counts how often the stream was opened again. `identity`, set
    before the first read, tells one agent of a chorus from the others.
    """

    def __init__(self, log: Log) -> None:
        self.identity = ""
        self.reconnects = 0
        self.connected = False
        self._log = log
        self._opened_before = False
        self._failures = 0
        self._retry_at = 0.0
        self._remind_at = 0.0
        self._lost_since = 0.0

    def read(self, timeout: float) -> Sequence[Message]:
        """The messages at hand, waiting up to `timeout` seconds for the first; () when none."""
        try:
            if not self.connected and not self._reopen(timeout):
                return ()
            return self._read(timeout)
        except BrokerLost as error:
            self._lost(error)
            return ()

    def close(self) -> None:
        """Leave the broker properly. A broker that is gone is no error."""
        if not self.connected:
            return
        self.connected = False
        try:
            self._leave()
        except BrokerLost:
            self._drop()

    @property
    @abstractmethod
    def place(self) -> str:
        """Where it listens, for people: the broker's address without its password."""

    def turn(self) -> Turn | None:
        """What came behind the messages of the last read, and ended it; told once."""
        return None

    @property
    def stood_by(self) -> bool:
        """Whether another agent of the group was served when this one connected."""
        return False

    @property
    def chorus(self) -> bool:
        """Whether flushes end at marks; else they may end anywhere."""
        return False

    @property
    def leads(self) -> bool:
        """Whether it holds the lease of its chorus."""
        return False

    @property
    def alone(self) -> bool:
        """Whether nobody else of its chorus has heard all that is not said yet."""
        return False

    def retire(self) -> None:  # noqa: B027
        """This agent is about to leave its chorus, who must not count on it any more."""

    def mark(self, stamp: float, last: bool = False) -> None:  # noqa: B027
        """Ask for a Mark, for a flush of that time. Only the speaker's wish is granted; the `last`
        one also to an agent that speaks by then because nobody else does."""

    def say(self, said: Said) -> None:  # noqa: B027
        """Let the chorus know what is delivered."""

    def doubt(self, reason: str) -> None:  # noqa: B027
        """Nothing is heard that should be: connect anew, if that may help."""

    @property
    def needs_ack(self) -> bool:
        """Whether `ack` is due now, or the stream will stand still."""
        return False

    @property
    def backlog(self) -> int | None:
        """Messages that wait at the broker for us, as of a few seconds ago; None if unknown."""
        return None

    @abstractmethod
    def ack(self) -> None:
        """Tell the broker that everything read so far is safe. Nothing to do without a memory."""

    @abstractmethod
    def _open(self) -> None:
        """Connect and start to listen."""

    @abstractmethod
    def _read(self, timeout: float) -> Sequence[Message]:
        """As `read`, on an open connection; also the place for heartbeats on our own timer."""

    @abstractmethod
    def _drop(self) -> None:
        """Forget the connection at once, without a word to the broker. Never raises."""

    @abstractmethod
    def _leave(self) -> None:
        """Say goodbye: cancel, wait for the answer, close."""

    def _reopen(self, timeout: float) -> bool:
        """Connect if it is time to; else sleep the shorter of `timeout` and the back-off."""
        now = time.monotonic()
        if now < self._retry_at:
            time.sleep(min(timeout, self._retry_at - now))
            return False
        self._open()
        self.connected = True
        self._found()
        return True

    def _found(self) -> None:
        if self._opened_before:
            self.reconnects += 1
        if self._failures:
            gap = time.monotonic() - self._lost_since
            self._log.info("broker_back", broker=self.place, away_s=round(gap, 1))
        elif not self._opened_before:
            self._log.info("broker_connected", broker=self.place)
        self._opened_before = True
        self._failures = 0

    def _lost(self, error: BrokerLost) -> None:
        self.connected = False
        self._drop()
        now = time.monotonic()
        if not self._failures:
            self._lost_since = now
        if not self._failures or now >= self._remind_at:
            self._log.warning("broker_lost", broker=self.place, error=str(error))
            self._remind_at = now + REMIND_EVERY
        ceiling = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(self._failures, 16))
        self._retry_at = now + random.uniform(0, ceiling)
        self._failures += 1
