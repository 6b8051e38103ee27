"""Where events come in: each is decoded, asked whether it is new, and led to who knows its task.

What comes together goes through in one go, for what a message costs beside its events is more than
they do where it holds but one. Each event ends in one bucket of the ledger, here.
"""

from collections.abc import Callable, Iterable, Iterator
from operator import length_hint
from typing import Any, cast

from celery_statsd.events import (
    LONGEST_BODY,
    UNSOUND,
    Event,
    Failed,
    Known,
    Received,
    Retried,
    Sent,
    Started,
    Succeeded,
    TaskEvent,
    WorkerEvent,
    decode,
    read,
)
from celery_statsd.lanes import Lanes
from celery_statsd.ledger import Doubles, Ledger, Sender, Trail
from celery_statsd.life import Life
from celery_statsd.passages import Passages
from celery_statsd.roster import Roster
from celery_statsd.scope import Scope
from celery_statsd.scribe import Scribe
from celery_statsd.tracker import Tracker

_NOBODY: Sender = "", None
_NOBODYS = Trail()  # before the first event: nothing is ever put into it


class Sluice:
    """The way of the events to `passages`, `tracker` and `roster`.

    `lags` are the seconds from the making of each message's last event to its arrival, `unfolded`
    the number of events, both since somebody has set them back.
    """

    def __init__(  # noqa: PLR0913
        self,
        scope: Scope,
        *,
        scribe: Scribe,
        roster: Roster,
        tracker: Tracker,
        lanes: Lanes,
        passages: Passages,
    ) -> None:
        self.ledger = Ledger()
        self.doubles = Doubles()
        self.lags: list[float] = []
        self.unfolded = 0
        self._scope = scope
        self._scribe = scribe
        self._roster = roster
        self._tracker = tracker
        self._lanes = lanes
        self._passages = passages
        self._decoded: Iterator[Known] = iter(())
        self._usual: dict[type, Callable[[Any, Life, float], bool]] = {
            Received: passages.received,
            Started: passages.started,
            Succeeded: passages.succeeded,
            Failed: passages.failed,
            Retried: passages.retried,
        }

    def take(self, bodies: Iterator[bytes], now: float) -> None:
        """Take in the bodies of messages that came at `now`, whatever they hold.

        What it raises is a fault of ours, and has cost the event or the body it was at: called
        again with the same iterator it goes on behind that.
        """
        if self.waiting:
            self._take(self._decoded, now)
        self._decode(bodies, now)
        self._take(self._decoded, now)

    @property
    def waiting(self) -> int:
        """Events that are decoded and not taken in: what a fault has left."""
        return length_hint(self._decoded)

    def _decode(self, bodies: Iterable[bytes], now: float) -> None:
        """Make events of bodies; what is decoded when one fails is there all the same."""
        events: list[Known] = []
        self._decoded = iter(events)
        lags = self.lags
        for body in bodies:
            try:
                found = read(body) if len(body) <= LONGEST_BODY else self._sift(body)
            except UNSOUND:
                found = self._sift(body)
            if not isinstance(found, list):
                events.append(found)
                lags.append(now - found.timestamp)
            elif found:
                events += found
                lags.append(now - found[-1].timestamp)
        self.unfolded += len(events)

    def _sift(self, body: bytes) -> list[Known]:
        """The sound events of a body in which not all are; the others are counted."""
        decoded, ledger = decode(body), self.ledger
        ledger.events += len(decoded.bad) + decoded.custom
        ledger.bad.update(decoded.bad)
        ledger.dropped["custom"] += decoded.custom
        return decoded.events

    def _take(self, events: Iterator[Known], now: float) -> None:
        """Let each go its way. Those of one process come one after the other, as a rule."""
        ways, doubles = self._usual, self.doubles
        number, counted = length_hint(events), 0
        doubles.prepare(number)
        hostname: str | None = None  # nobody's: an empty one is somebody's
        sender, pid, trail, life = _NOBODY, None, _NOBODYS, None
        try:
            for event in events:
                if event.hostname != hostname or event.pid != pid:
                    hostname, pid = sender = event.hostname, event.pid
                    trail, life = doubles.trail(sender), None
                way = ways.get(type(event))
                if way is None:
                    self._take_other(event, trail, now)
                    life = None
                elif trail.saw(event.clock, event.timestamp):
                    self._note_double()
                else:
                    life = life or self._life_of(event, sender, now)
                    if way(event, life, now):
                        counted += 1
                    else:
                        self._take_unusual(cast("TaskEvent", event), life, now)
                        life = None
        finally:  # also when one of them fails
            self.ledger.counted += counted
            self.ledger.events += number - length_hint(events)

    def _take_other(self, event: Known, trail: Trail, now: float) -> None:
        """What no worker says of a usual task."""
        if isinstance(event, Sent):
            if trail.saw(event.clock, event.timestamp):
                self._note_double()
            else:
                self._take_sending(event, now)
        elif isinstance(event, WorkerEvent):
            if trail.saw_aside(event.clock, event.timestamp):
                self._note_double()
                return
            self.ledger.counted += 1
            self._scribe.measure(self._roster.observe(event, now))
        elif trail.saw(event.clock, event.timestamp):
            self._note_double()
        else:
            life = self._life_of(event, (event.hostname, event.pid), now)
            self._take_unusual(cast("TaskEvent", event), life, now)

    def _note_double(self) -> None:
        self.ledger.doubled += 1
        self.doubles.again()

    def _take_sending(self, event: Sent, now: float) -> None:
        host = self._roster.clocks.hear(event.hostname, event.timestamp, now)
        owned = self._scope.owns(event.uuid)
        if owned:
            self.ledger.counted += 1
        else:
            self.ledger.dropped["shared"] += 1  # another partition counts it
        if not self._passages.sent(event, host, owned):
            self._passages.hand_over(event.uuid)
            self._scribe.measure(self._tracker.sent(event))

    def _life_of(self, event: Event, sender: Sender, now: float) -> Life:
        life = self._roster.booked(sender, now)
        if life is None:
            life, told = self._roster.life(event, now)
            self._scribe.measure(told)
        if not life.enrolled:
            self._lanes.enrol(life)
        return life

    def _take_unusual(self, event: TaskEvent, life: Life, now: float) -> None:
        self._passages.hand_over(event.uuid)
        changes = self._tracker.observe(event, life, now)
        if changes is None:
            self.ledger.dropped["second_end"] += 1
        else:
            self.ledger.counted += 1
            self._scribe.measure(changes)
