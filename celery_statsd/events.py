"""What can happen, and how the wire says it: `decode` makes events of one message's body.

A body is one JSON object or, under the routing key `task.multi`, a JSON list of them; both are
taken whatever the key says. Fields that no metric needs (args, kwargs, results) are skipped
while decoding. The type of an event is its class, so no later stage sees Celery's strings.

Timestamps are true epoch seconds as the sender's clock had them; they are never shifted by
`utcoffset`, which only tells how the sender would have shown them.

What is kept of an event is small, whoever sent it: a name (task, queue, host, uuid) of more than
LONGEST_NAME characters is cut and ends in a hash of the whole, so that it stays itself; numbers
are such as a worker could mean, and fit 64 bits; a body that would need much memory to be looked
at is bad.
"""

import hashlib
import json
import math
import re
from datetime import UTC, datetime
from enum import Enum
from typing import Annotated, Any

import msgspec

from celery_statsd.errors import BadEvent

LONGEST_BODY = 8 * 1024 * 1024
"""Bytes; tracebacks are not cut by Celery, but nothing honest is longer than this."""

LONGEST_INTEGER = 300
"""Digits."""

LONGEST_NAME = 255
"""Characters of a name that is kept: what AMQP can carry as one, and most tables hold."""

LONGEST_SAYING = 4096
"""Characters of an exception's text in which its class must show."""

MOST_PARTS = 200_000
"""Commas and opening brackets of a body that is no plain list of events; 24 of them, as many as
a worker buffers, have some 500 beside those in their texts."""


class Moment(Enum):
    """What can become known of a sending or an attempt; each has one bit for sets of them.

    The first line are Celery's own events. TRACED: it is known when and to which queue the
    attempt was sent. The others are concluded, never seen (see `tracker`).
    """

    SENT = "sent"
    TRACED = "traced"
    RECEIVED = "received"
    ON_ARRIVAL = "on_arrival"
    FOUND = "found"
    STARTED = "started"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    RETRIED = "retried"
    REVOKED = "revoked"
    REJECTED = "rejected"
    RETURNED = "returned"
    UNREPORTED = "unreported"
    LOST = "lost"
    EXPIRED = "expired"
    UNSEEN = "unseen"
    OFFLINE = "offline"
    RESTARTED = "restarts"
    EVENTS_LOST = "events_lost"

    def __init__(self, word: str) -> None:
        self.word = word
        self.bit = 1 << len(type(self).__members__)


OUTCOMES = (
    Moment.SUCCEEDED,
    Moment.FAILED,
    Moment.RETRIED,
    Moment.REVOKED,
    Moment.REJECTED,
    Moment.RETURNED,
    Moment.UNREPORTED,
    Moment.LOST,
)
"""The ends of an attempt; each attempt has exactly one."""


# What no worker could mean is no event: one absurd number would bend a gauge, a sum, a clock.
Seconds = Annotated[float, msgspec.Meta(ge=0.0, le=1e11)]
Number = Annotated[int, msgspec.Meta(ge=0, le=10**12)]
Whole = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Load = Annotated[float, msgspec.Meta(ge=0.0, le=1e9)]
Loads = Annotated[tuple[Load, ...], msgspec.Meta(max_length=3)]
Name = Annotated[str, msgspec.Meta(max_length=LONGEST_NAME)]


class Event(msgspec.Struct, frozen=True, gc=False, tag_field="type"):
    """What happened once, as its sender saw it. `clock` is the sender's Lamport clock."""

    hostname: Name
    timestamp: Seconds
    pid: Whole | None = None
    clock: Whole | None = None


class TaskEvent(Event, frozen=True, gc=False, kw_only=True):
    """Something happened to a task."""

    uuid: Name


class Sent(TaskEvent, frozen=True, gc=False, tag="task-sent"):
    """A client, or a worker's child, has published a task. `eta` and `expires` are ISO 8601."""

    name: Name | None = None
    queue: Name | None = None
    retries: Whole | None = None
    eta: str | None = None
    expires: str | None = None


class Received(TaskEvent, frozen=True, gc=False, tag="task-received"):
    """A worker has taken a task off the queue, and may hold it for its ETA or a free slot."""

    name: Name | None = None
    retries: Whole | None = None
    eta: str | None = None


class Started(TaskEvent, frozen=True, gc=False, tag="task-started"):
    """A pool process has accepted the task."""


class Succeeded(TaskEvent, frozen=True, gc=False, tag="task-succeeded"):
    """The task returned. `runtime` is in seconds, None when the child did not tell."""

    runtime: float | None = None


class Failed(TaskEvent, frozen=True, gc=False, tag="task-failed"):
    """The task raised, ran into its hard time limit, lost its child, or is not registered."""

    exception: str | None = None
    traceback: str | None = None

    @property
    def error(self) -> str:
        """The class of the exception, without its module; "unknown" when nothing tells."""
        return exception_class(self.exception or "", self.traceback or "")

    @property
    def unregistered(self) -> str | None:
        """The name of the task the worker does not know, when that is why it failed."""
        named = _NOT_REGISTERED.match(self.exception or "")
        return shortened(named[1]) if named else None


class Retried(TaskEvent, frozen=True, gc=False, tag="task-retried"):
    """The attempt ended by asking for another one."""


class Revoked(TaskEvent, frozen=True, gc=False, tag="task-revoked"):
    """The task was revoked or had expired, or was terminated while it ran."""

    terminated: bool | None = None


class Rejected(TaskEvent, frozen=True, gc=False, tag="task-rejected"):
    """The task went back to the broker, or to its dead letters, unacknowledged."""


class Cancelled(TaskEvent, frozen=True, gc=False, tag="task-cancelled"):
    """A cold shutdown or a lost connection stopped the running task."""


class WorkerEvent(Event, frozen=True, gc=False):
    """A worker speaks of itself. `freq` is its heartbeat interval in seconds; `processed` the
    number of tasks its pool has accepted since it began; `active` those it runs now. All these
    are absent from a heartbeat that somebody asked for by remote control. `sw_ver` is Celery's.
    """

    freq: Seconds | None = None
    active: Number | None = None
    processed: Number | None = None
    loadavg: Loads | None = None
    sw_ver: str | None = None


class Online(WorkerEvent, frozen=True, gc=False, tag="worker-online"):
    """The worker's heart began to beat: a start, or a reconnection to the broker."""


class Heartbeat(WorkerEvent, frozen=True, gc=False, tag="worker-heartbeat"):
    """The worker lives."""


class Offline(WorkerEvent, frozen=True, gc=False, tag="worker-offline"):
    """The worker's heart stopped: a shutdown, or a lost connection to the broker."""


Known = (
    Sent
    | Received
    | Started
    | Succeeded
    | Failed
    | Retried
    | Revoked
    | Rejected
    | Cancelled
    | Online
    | Heartbeat
    | Offline
)
NAMES = ("hostname", "uuid", "name", "queue")
KNOWN_TYPES = frozenset(struct.__struct_config__.tag for struct in Known.__args__)

read = msgspec.json.Decoder(list[Known] | Known).decode
"""The event, or the list of them, in a body of at most LONGEST_BODY. Raises one of UNSOUND when not
all in it is sound and known."""

UNSOUND = (msgspec.MsgspecError, RecursionError, UnicodeError)


class Change(msgspec.Struct, frozen=True, gc=False):
    """What became known for the first time: `news` of a sending, an attempt or a worker's life.

    `told` is the set of moments (as bits) told of it so far, this one included.
    """

    news: Moment
    of: Any
    told: int
    amount: int = 1


class Decoded(msgspec.Struct, frozen=True, gc=False):
    """What one body held: its events, a reason for each bad one, and how many are not ours."""

    events: list[Known]
    bad: tuple[str, ...] = ()
    custom: int = 0


def decode(body: bytes) -> Decoded:
    """All events in `body`, in their order. Never raises: what is bad is told by its reason."""
    try:
        found = read(body) if len(body) <= LONGEST_BODY else None
    except UNSOUND:
        found = None
    if found is None:
        return _decode_one_by_one(body)
    return Decoded(found if isinstance(found, list) else [found])


def _decode_one_by_one(body: bytes) -> Decoded:
    """So that one bad or custom event in a list costs none of its neighbours."""
    if len(body) > LONGEST_BODY:
        return Decoded([], ("too_long",))
    if sum(map(body.count, (b",", b"[", b"{"))) > MOST_PARTS:
        return Decoded([], ("too_many_parts",))
    try:
        rows = json.loads(body, parse_int=whole_number)
    except (ValueError, RecursionError):
        return Decoded([], ("not_json",))
    events: list[Known] = []
    bad: list[str] = []
    custom = 0
    for row in rows if isinstance(rows, list) else [rows]:
        try:
            event = _event(row)
        except BadEvent as error:
            bad.append(error.reason)
            continue
        if event is None:
            custom += 1
        else:
            events.append(event)
    return Decoded(events, tuple(bad), custom)


def whole_number(digits: str) -> float:
    """An integer; one that Python would refuse to read, and all its neighbours with it, is inf."""
    return int(digits) if len(digits) <= LONGEST_INTEGER else math.inf


def _event(row: Any) -> Known | None:
    """The event in `row`, None for a type that is not Celery's own. Raises BadEvent."""
    if not isinstance(row, dict) or not isinstance(row.get("type"), str):
        raise BadEvent("no_event")
    if row["type"] not in KNOWN_TYPES:
        return None
    names = {key: shortened(row[key]) for key in NAMES if isinstance(row.get(key), str)}
    try:
        event: Known = msgspec.convert({**row, **names}, Known)
    except (msgspec.ValidationError, RecursionError, OverflowError, UnicodeError):
        raise BadEvent("bad_field") from None
    if not all(map(_sound, msgspec.structs.astuple(event))):
        raise BadEvent("bad_value")
    return event


def shortened(name: str) -> str:
    """`name`, when it is too long to be kept: its beginning and a hash of the whole."""
    if len(name) <= LONGEST_NAME:
        return name
    digest = hashlib.blake2b(name.encode("utf-8", "replace"), digest_size=16).hexdigest()
    return f"{name[: LONGEST_NAME - 33]}~{digest}"


def _sound(value: Any) -> bool:
    """False for what the standard decoder lets through and JSON does not know."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, str):
        return not any("\ud800" <= character <= "\udfff" for character in value)
    if isinstance(value, tuple):
        return all(map(_sound, value))
    return True


_NOT_REGISTERED = re.compile(r"NotRegistered\('(.+)'\)")
_CLASS = re.compile(r"([^\W\d]\w*(?:\.\w+)*)(?:\(|:|$)")


def exception_class(exception: str, traceback: str) -> str:
    """The class name in `repr` text like `ValueError('boom')`, else in a traceback's last words.

    billiard 4 says `ExceptionWithTraceback()` for hard time limits and lost children, and
    `Reject` has a text of its own: for both only the traceback tells.
    """
    name = exception_name(exception, traceback)
    return shortened(name.rpartition(".")[2]) if name else "unknown"


def exception_name(exception: str, traceback: str) -> str:
    """The same with its module, if that is told, and of any length; "" when nothing tells."""
    said = exception[:LONGEST_SAYING]
    named = _CLASS.match(said)
    if named and "(" in said and named[1] != "ExceptionWithTraceback":
        return named[1]
    told = _CLASS.match(_last_words(traceback)[:LONGEST_SAYING])
    return told[1] if told else ""


def unregistered(exception: str) -> str:
    """The part of an exception's text that names the task a worker does not know; "" if none."""
    named = _NOT_REGISTERED.match(exception)
    return named[0] if named else ""


def _last_words(traceback: str) -> str:
    """The line after a traceback's last stack line: `module.Class: message`."""
    text = "\n" + traceback.rstrip()
    stack = text.rfind("\n ")
    if stack < 0:
        return text.rpartition("\n")[2]
    rest = text[stack + 1 :]
    last, _, after = rest.partition("\n")
    return after.partition("\n")[0] if after else last


def epoch(text: str | None) -> float | None:
    """Epoch seconds of an ISO 8601 time (UTC when it names no zone); None when it is none."""
    if not text:
        return None
    try:
        when = datetime.fromisoformat(text)
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
