"""A tracker with its roster, outside of the pipeline: events are told, time is let pass."""

from collections import Counter

from celery_statsd.choice import ENDED, RECEIPT
from celery_statsd.clocks import host_of
from celery_statsd.events import Change, Moment, Sent, Started, TaskEvent, decode
from celery_statsd.life import Life
from celery_statsd.roster import Roster
from celery_statsd.task import Stage
from celery_statsd.tracker import Tracker
from tests.bodies import NOON, Event, Process, body


class Scene:
    """What a cluster does in front of a tracker. `now` is our clock, in epoch seconds;
    `second_ends` counts the events that told an end once more."""

    def __init__(self, now: float = NOON, **bounds: float) -> None:
        self.now = now
        self.roster = Roster()
        self.tracker = Tracker(self.roster.clocks, **bounds)  # type: ignore[arg-type]
        self.changes: list[Change] = []
        self.second_ends = 0

    def tell(self, *events: Event) -> None:
        """The events arrive now, in this order."""
        decoded = decode(body(*events))
        assert () == decoded.bad
        for event in decoded.events:
            if isinstance(event, Sent):
                self.roster.clocks.observe(host_of(event.hostname), event.timestamp, self.now)
                self.changes += self.tracker.sent(event)
            elif isinstance(event, TaskEvent):
                life, told = self.roster.life(event, self.now)
                if isinstance(event, Started):
                    life.note_start(event.timestamp)
                changes = self.tracker.observe(event, life, self.now)
                self.second_ends += changes is None
                self.changes += told + (changes or [])
            else:
                self.changes += self.roster.observe(event, self.now)

    def wait(self, seconds: float, *alive: tuple[Process, int, int]) -> None:
        """Let time pass, a second at a time; each of `alive` (a worker, what it has processed, how
        many it runs) beats every two seconds."""
        end = self.now + seconds
        while self.now < end:
            self.now += 1.0
            if int(self.now) % 2 == 0:
                self.tell_all(*(w.beat(self.now, n, active=active) for w, n, active in alive))
            self.changes += self.roster.tick(self.now)
            self.changes += self.tracker.settle(self.now)

    def tell_all(self, *events: Event) -> None:
        """As `tell`, each in a message of its own."""
        for event in events:
            self.tell(event)

    def life_of(self, process: Process) -> Life:
        """The present life of a worker."""
        return next(life for life in self.roster if life.hostname == process.hostname)

    @property
    def totals(self) -> dict[str, int]:
        """What was told of tasks, by the word of the moment; the tracker's own totals agree."""
        told = Counter(change.news for change in self.changes)
        assert self.tracker.totals == Counter(
            {m: n for m, n in told.items() if m not in _OF_WORKERS}
        )
        return {moment.word: told[moment] for moment in _COUNTED if told[moment]}

    @property
    def in_flight(self) -> dict[tuple[str, str], int]:
        """What waits and runs, by stage and task name, as the tracker has counted it."""
        return {(stage.value, name): n for (stage, name), n in self.tracker.in_flight.items() if n}

    @property
    def recounted(self) -> dict[tuple[str, str], int]:
        """The same, counted anew from the tasks."""
        return recount(self.tracker)


_OF_WORKERS = (Moment.OFFLINE, Moment.RESTARTED, Moment.EVENTS_LOST)
_COUNTED = [moment for moment in Moment if moment not in (*_OF_WORKERS, Moment.TRACED)]


def recount(tracker: Tracker) -> dict[tuple[str, str], int]:
    """What waits and runs, by stage and task name, counted from the tasks of `tracker`."""
    found: Counter[tuple[str, str]] = Counter()
    for task in tracker._live.values():
        for sending in task.sendings:
            if not sending.taken:
                found[Stage.QUEUED.value, sending.name] += 1
        for attempt in task.attempts:
            if attempt.known & RECEIPT and not attempt.known & ENDED:
                stage = Stage.RUNNING if attempt.started is not None else Stage.RESERVED
                found[stage.value, attempt.name or "unknown"] += 1
    return dict(found)
