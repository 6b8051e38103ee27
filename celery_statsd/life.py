"""One worker process: what it said of itself, what it holds, how many starts of it went unheard.

The laws stand at the head of `roster`; the loss meter, its fifth, is here.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Any, Self

from celery_statsd.clocks import host_of
from celery_statsd.events import Event, WorkerEvent

FREQ = 2.0
"""Seconds: Celery's heartbeat interval unless a worker says otherwise."""

SETTLED = 2.0
"""Seconds after which all that was sent before a heartbeat has come."""

RACE = 0.05
"""Seconds: threads may stamp a start just after the heartbeat that counted it. Starts so close
are taken as counted, so that a race never looks like a loss; a true loss shows one beat later."""


LONGEST_VERSION = 40
"""Characters."""

FLAPS, FLAPPING = 3, 600.0
"""So many new lives of a name within so many seconds are too many."""


class State(Enum):
    """What is known of a life."""

    UP = "up"
    UNKNOWN = "unknown"
    DOWN = "down"
    LEFT = "left"


class Life:
    """One worker process, from its start to its end.

    Times are epoch seconds of our clock, but those called stamps, which are the worker's own.
    `lost` counts the starts that never arrived; `base` is what `processed` was when they began to
    be counted, less what had come by then; None: the next heartbeat begins it.
    `received` ... `retried` count the usual tasks' moments, of which so many were `folded` into
    the aggregator by the lanes it is `enrolled` in; `handed_...` those that went on as unusual
    ones, and `unusual_...` what the tracker has of it. `version` is Celery's, as it tells;
    `restarted_at` are the times of the last new lives under its name, this one's among them;
    `entity` is what it is called in the metrics.
    """

    __slots__ = (
        "_base_stamp", "_starts", "_starts_since", "active", "base", "beat_at", "beat_stamp",
        "booked_at", "born_stamp", "enrolled", "entity", "failed", "farewell_at", "folded", "freq",
        "gone_at",
        "handed_reserved", "handed_running", "host", "hostname", "idle_stamp", "loadavg", "lost",
        "pid", "processed", "proven_active", "proven_stamp", "quiet", "received",
        "rejoined_stamp", "restarted_at", "retried", "seen_at", "started", "state", "succeeded",
        "unusual_reserved", "unusual_running", "version",
    )  # fmt: skip

    def __init__(self, event: Event) -> None:
        self.hostname = self.entity = event.hostname
        self.host = host_of(event.hostname)
        self.pid = event.pid
        self.born_stamp = event.timestamp
        self.state = State.UNKNOWN
        self.seen_at = self.booked_at = 0.0
        self.gone_at: float | None = None
        self.farewell_at: float | None = None
        self.rejoined_stamp: float | None = None
        self.quiet = False
        self.freq = FREQ
        self.beat_at: float | None = None
        self.active: int | None = None
        self.processed: int | None = None
        self.loadavg: tuple[float, ...] = ()
        self.idle_stamp: float | None = None
        self.proven_stamp: float | None = None
        self.proven_active: int | None = None
        self.received = self.started = self.succeeded = self.failed = self.retried = 0
        self.enrolled = False
        self.folded: tuple[int, ...] = (0,) * 5
        self.handed_reserved = self.handed_running = 0
        self.unusual_reserved = self.unusual_running = 0
        self.beat_stamp = 0.0
        self.base: int | None = None
        self._base_stamp = 0.0
        self._starts = 0
        self._starts_since = 0
        self.lost = 0
        self.version = ""
        self.restarted_at: tuple[float, ...] = ()

    def dump(self) -> dict[str, Any]:
        """Itself as plain values."""
        plain = {name: getattr(self, name) for name in self.__slots__}
        return {**plain, "state": self.state.value}

    @classmethod
    def load(cls, state: Mapping[str, Any]) -> Self:
        """What `dump` gave, as a life again; the tracker counts what it has of it."""
        life = cls.__new__(cls)
        for name in cls.__slots__:
            setattr(life, name, state[name] if name in state else _LATER[name])
        life.state, life.loadavg = State(state["state"]), tuple(state["loadavg"])
        life.folded = tuple(state["folded"])
        life.restarted_at = tuple(life.restarted_at)
        life.entity = life.entity or life.hostname
        life.unusual_reserved = life.unusual_running = 0
        return life

    @property
    def usual_reserved(self) -> int:
        """Usual tasks that it has received and not started."""
        return self.received - self.started - self.handed_reserved

    @property
    def usual_running(self) -> int:
        """Usual tasks that it runs."""
        return self.started - self.succeeded - self.failed - self.retried - self.handed_running

    @property
    def reserved(self) -> int:
        """Attempts that it has received and not started."""
        return self.usual_reserved + self.unusual_reserved

    @property
    def running(self) -> int:
        """Attempts that it runs."""
        return self.usual_running + self.unusual_running

    @property
    def farewelled(self) -> bool:
        """Whether it said goodbye, and has not come back."""
        return self.farewell_at is not None

    def succeed(self, old: Self, now: float) -> None:
        """It takes the place of `old`, whose name it has."""
        self.restarted_at = (*old.restarted_at, now)[-FLAPS:]

    def is_flapping(self, now: float) -> bool:
        """Whether its name began anew too often."""
        times = self.restarted_at
        return len(times) == FLAPS and now - times[0] < FLAPPING

    def note_start(self, stamp: float) -> None:
        """Count a `task-started` made at `stamp` for the loss meter."""
        self.idle_stamp = None
        if self.processed is None or stamp > self.beat_stamp + RACE:
            self._starts_since += 1
        elif stamp > self._base_stamp:
            self._starts += 1

    def note_beat(self, event: WorkerEvent, now: float) -> int:
        """Take what a heartbeat tells; return how many starts are now known to be lost."""
        self.proven_stamp, self.proven_active = self.beat_stamp, self.active
        lost = self._judge()
        if self.base is None:
            self._begin_to_count(event)
        self._starts += self._starts_since
        self._starts_since = 0
        self.processed = event.processed
        self.freq = event.freq or self.freq
        self.loadavg = event.loadavg or self.loadavg
        self.active = event.active
        self.version = (event.sw_ver or self.version)[:LONGEST_VERSION]
        self.beat_at, self.beat_stamp = now, event.timestamp
        if event.active:
            self.idle_stamp = None
        elif self.idle_stamp is None:
            self.idle_stamp = event.timestamp
        return lost

    @property
    def heard(self) -> int:
        """Starts that were heard, or told to be lost."""
        return self._starts + self._starts_since + self.lost

    def settle(self, now: float) -> int:
        """Judge the last heartbeat once all that was sent before it must have come."""
        return self._judge() if self.beat_at is not None and now - self.beat_at > SETTLED else 0

    def _begin_to_count(self, event: WorkerEvent) -> None:
        """What the first heartbeat has counted came before we could have seen it all."""
        self.base, self._base_stamp = (event.processed or 0) - self.heard, event.timestamp
        self.proven_stamp = None

    def _judge(self) -> int:
        if self.base is None:
            return 0
        missing = (self.processed or 0) - self.base - self._starts - self.lost
        self.lost += max(0, missing)
        return max(0, missing)


_LATER: dict[str, Any] = {"entity": "", "restarted_at": (), "version": ""}
"""What the first journals did not have."""


class Index:
    """Numbers for lives, so that plain values can point to them."""

    def __init__(self) -> None:
        self._numbers: dict[Life, int] = {}

    def of(self, life: Life) -> int:
        """The number of `life`."""
        return self._numbers.setdefault(life, len(self._numbers))

    def dump(self) -> list[dict[str, Any]]:
        """Each life that has a number, in their order."""
        return [life.dump() for life in self._numbers]
