"""Which workers are alive, and how many starts never arrived.

Laws:
1. A worker is a life: `(hostname, pid)`, and a new one when `processed` falls. Another life
   under a name that was known is a restart.
2. `worker-offline` followed by a sign of the same life is a reconnect, not a death: a farewell
   counts when it has stood for as long as a silence would.
3. Silence for `silence` of a life's own heartbeat intervals (and a second for batching) is death,
   but not for one that was never heard to beat (`--without-heartbeat`), nor for one that came
   back from such a silence before (solo workers are silent while they work): those are unknown.
4. A heartbeat without `processed` (somebody asked for it) says "alive" and nothing else.
5. The loss meter: `processed` counts each start, so its growth in one life minus the
   `task-started` seen is what never arrived. Batches trail heartbeats, hence a heartbeat is
   judged only when the next one comes, or when it has stood for `SETTLED` seconds.
6. While we could not listen ourselves nobody else's silence counts (`deaf`).
7. Memory is bounded by `ceiling` lives: past it the one not heard of for longest is forgotten for
   each that comes, and counted; what it held ends as LOST, as that of any worker that is gone.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from celery_statsd.accounts import Account, Stand, stand_of
from celery_statsd.clocks import Clocks
from celery_statsd.events import Change, Event, Moment, Offline, Online, WorkerEvent
from celery_statsd.ledger import Sender
from celery_statsd.life import Index, Life, State

BATCHING = 1.0
"""Seconds of silence that say nothing: the worker's own batches, a busy host."""

LONGEST_SILENCE = 600.0
"""Seconds: even a worker that is known to be silent while it works is given up after this."""

MUTE, BOOKED = 3.0, 0.1
"""Heartbeat intervals: when no worker at all is heard for so long, it may be us who are deaf.
Seconds in which a life that was heard need not be put in its place again."""

KEPT_AFTER, FORGOTTEN_AFTER = 60.0, 3600.0
"""Seconds: the last events of a process that is gone may come so late; a dead worker is shown as
down for so long, then its series are closed."""


class Roster:
    """All workers heard of. `silence` is in heartbeat intervals, `ceiling` in lives; `fold` makes
    of a name what it is called in the metrics.

    `lost` counts the starts that never arrived, `forgotten` the lives the ceiling cost.
    """

    def __init__(
        self, silence: float = 2.0, ceiling: int = 5000, fold: Callable[[str], str] = str
    ) -> None:
        self.clocks = Clocks()
        self.forgotten = 0
        self.lost = 0
        self._silence = silence
        self._ceiling = ceiling
        self._fold = fold
        self._lives: OrderedDict[tuple[str, int | None], Life] = OrderedDict()  # last heard, last
        self._names: dict[str, Life] = {}
        self._expected: dict[str, Account] = {}
        self._listening_since = 0.0

    def __iter__(self) -> Iterator[Life]:
        """The present life of each name."""
        return iter(self._names.values())

    def __contains__(self, hostname: object) -> bool:
        """Whether a life holds that name."""
        return hostname in self._names

    def dump(self, index: Index) -> dict[str, Any]:
        """Itself as plain values; lives by their number."""
        return {
            "lives": [index.of(life) for life in self._lives.values()],
            "names": [index.of(life) for life in self._names.values()],
            "clocks": self.clocks.dump(),
            "forgotten": self.forgotten,
            "lost": self.lost,
            "listening_since": self._listening_since,
            "expected": self._expected,
        }

    def load(self, state: Mapping[str, Any], lives: Sequence[Life]) -> None:
        """Go on from what `dump` told."""
        known, present = ([lives[number] for number in state[k]] for k in ("lives", "names"))
        self._lives = OrderedDict(((life.hostname, life.pid), life) for life in known)
        self._names = {life.hostname: life for life in present}
        for life in known:
            life.entity = self._fold(life.hostname)
        self.clocks.load(state["clocks"])
        self.forgotten, self.lost = state["forgotten"], state["lost"]
        self._listening_since = state["listening_since"]
        self._expected = {name: Account(*told) for name, told in state["expected"].items()}

    def deaf(self, now: float) -> None:
        """We cannot hear at `now`: nobody's silence so far means anything."""
        self._listening_since = now

    def rebase(self, bases: Mapping[str, int] | None = None) -> None:
        """Begin to count starts anew: those we did not hear were heard by others. With `bases`,
        those names' from there (see `accounts`); else all from the next heartbeat on."""
        for life in self._lives.values() if bases is None else ():
            life.base = None
        for name in (bases or {}).keys() & self._names.keys():
            self._names[name].base = (bases or {})[name]

    def expect(self, accounts: Mapping[str, Account]) -> None:
        """Measure these workers' starts from there, if they are heard of for the first time."""
        self._expected = dict(islice(accounts.items(), self._ceiling))

    def stands(self) -> dict[str, Stand]:
        """Where the loss meter of each name's present life is."""
        return {name: stand_of(life) for name, life in self._names.items()}

    def mute_for(self, now: float) -> float:
        """Seconds since the last heartbeat of all, once MUTE of its worker are missing; else 0."""
        last = max(self._names.values(), key=lambda life: life.beat_at or 0.0, default=None)
        if last is None or not last.beat_at or last.farewelled:
            return 0.0
        silent = now - max(last.beat_at, self._listening_since)
        return silent if silent > MUTE * last.freq + BATCHING else 0.0

    @property
    def last_beat(self) -> float:
        """When the last heartbeat of any worker came; 0 for never."""
        return max((life.beat_at or 0.0 for life in self._names.values()), default=0.0)

    def life(self, event: Event, now: float) -> tuple[Life, list[Change]]:
        """The life that sent `event`, and what its appearance tells."""
        key = event.hostname, event.pid
        life = self._lives.get(key)
        told: list[Change] = []
        if life is None:
            life, told = self._appear(event, now)
        elif self._born_again(life, event):
            reborn = self._lives[key] = self._born(event)
            told = self._replace(life, reborn, now)
            life = reborn
        if life.gone_at is None:
            self._names.setdefault(life.hostname, life)
        life.seen_at = life.booked_at = now
        self._lives.move_to_end(key)
        self.clocks.observe(life.host, event.timestamp, now)
        return life, told

    def booked(self, sender: Sender, now: float) -> Life | None:
        """The life of that process, if it was booked by `life` within BOOKED seconds: to hear of it
        then tells nothing more."""
        life = self._lives.get(sender)
        if life is None or not 0.0 <= now - life.booked_at < BOOKED:
            return None
        life.seen_at = now
        return life

    def observe(self, event: WorkerEvent, now: float) -> list[Change]:
        """Take in what a worker says of itself."""
        life, told = self.life(event, now)
        if event.processed is not None:
            expected = self._expected.pop(life.hostname, None)
            is_new = life.processed is None and life.base is None  # and nobody told a base since
            if expected and is_new and expected.precedes(event):
                life.base = expected.starts
            lost = life.note_beat(event, now)
            if lost:
                told.append(self._miss(life, lost))
        if isinstance(event, Offline):
            life.farewell_at = now
        else:
            self._live_on(life, event)
        return told

    def tick(self, now: float) -> list[Change]:
        """What time alone tells: deaths, farewells that stood, losses that stayed."""
        told: list[Change] = []
        for life in self._lives.values():
            lost = life.settle(now)
            if lost:
                told.append(self._miss(life, lost))
            if life.gone_at is None and self._is_over(life, now):
                life.gone_at = now
                told.append(Change(Moment.OFFLINE, life, Moment.OFFLINE.bit))
        return told

    def judge(self) -> list[Change]:
        """The losses that the last heartbeats tell: what has not come by now never will."""
        losses = [(life, life.settle(math.inf)) for life in self._lives.values()]
        return [self._miss(life, lost) for life, lost in losses if lost]

    def retire(self, now: float) -> list[str]:
        """Drop, and return, the names of which nothing more is to be said."""
        names = [life.hostname for life in self._names.values() if self._is_past(life, now)]
        for name in names:
            del self._names[name]
        done = [
            key
            for key, life in self._lives.items()
            if self._names.get(life.hostname) is not life
            if not life.reserved and not life.running
            if now - (life.gone_at or life.seen_at) > KEPT_AFTER
        ]
        for key in done:
            del self._lives[key]
        return names

    def _miss(self, life: Life, lost: int) -> Change:
        self.lost += lost
        return Change(Moment.EVENTS_LOST, life, Moment.EVENTS_LOST.bit, lost)

    def _appear(self, event: Event, now: float) -> tuple[Life, list[Change]]:
        """A process not heard of before: the name's first, its next, or (late) an earlier one."""
        life = self._born(event)
        life.seen_at = now
        present = self._names.get(event.hostname)
        self._lives[event.hostname, event.pid] = life
        if present is None:
            told = []
            self._names[event.hostname] = life
        elif life.born_stamp < present.born_stamp:
            told = self._replace(life, present, now)
        else:
            told = self._replace(present, life, now)
        if len(self._lives) > self._ceiling:
            self._forget_one(now)
        return life, told

    def _born(self, event: Event) -> Life:
        life = Life(event)
        life.entity = self._fold(life.hostname)
        return life

    def _born_again(self, life: Life, event: Event) -> bool:
        """Whether `event` says that its process began anew under its old pid (SIGHUP)."""
        known = life.processed
        if known is None or not isinstance(event, WorkerEvent) or event.processed is None:
            return False
        return event.processed < known

    def _replace(self, old: Life, new: Life, now: float) -> list[Change]:
        """`new` is the life of the name now: whatever `old` was, it is gone."""
        told = [Change(Moment.RESTARTED, new, Moment.RESTARTED.bit)]
        new.succeed(old, now)
        if old.gone_at is None:
            old.gone_at = now
            told.append(Change(Moment.OFFLINE, old, Moment.OFFLINE.bit))
        old.state, old.farewell_at = State.DOWN, None
        self._names[new.hostname] = new
        return told

    def _forget_one(self, now: float) -> None:
        _, life = self._lives.popitem(last=False)
        life.gone_at = life.gone_at or now
        self.forgotten += 1
        if self._names.get(life.hostname) is life:
            del self._names[life.hostname]

    def _live_on(self, life: Life, event: WorkerEvent) -> None:
        """A heartbeat or a greeting: whatever was thought of the life, it is there."""
        if life.farewelled or life.gone_at is not None:
            life.rejoined_stamp = event.timestamp
        if life.state is State.DOWN and not isinstance(event, Online):
            life.quiet = True
        life.farewell_at = life.gone_at = None
        self._names.setdefault(life.hostname, life)
        if life.beat_at is not None:
            life.state = State.UP

    def _is_over(self, life: Life, now: float) -> bool:
        """Whether a farewell or a silence has stood for long enough; sets the life's state."""
        patience = self._silence * life.freq + BATCHING
        if life.farewell_at is not None and now - life.farewell_at > patience:
            life.state = State.LEFT
            return True
        silent = now - max(life.seen_at, self._listening_since)
        if life.state is State.UP and silent > patience:
            life.state = State.UNKNOWN if life.quiet else State.DOWN
        elif life.state is State.UNKNOWN and life.beat_at and silent > LONGEST_SILENCE:
            life.state = State.DOWN
        return life.state is State.DOWN

    def _is_past(self, life: Life, now: float) -> bool:
        """Whether nothing more is to be said of a name."""
        if life.state is State.LEFT:
            return not life.reserved and not life.running
        return life.state is not State.UP and now - life.seen_at > FORGOTTEN_AFTER
