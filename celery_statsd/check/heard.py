"""What a while of listening has told: of each worker, of each task, of the whole.

`Ear` takes bodies as they come and keeps what the doctor judges by. The numbers of losses are the
agent's own: the same pipeline runs beside it.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise

import msgspec

from celery_statsd.events import KNOWN_TYPES, Received, Sent, decode, epoch
from celery_statsd.life import FREQ
from celery_statsd.pipeline import Pipeline
from celery_statsd.roster import BATCHING

MOST_NAMES = 5000
"""Workers, and tasks, of which notes are kept."""

SILENT = 2.0
"""Heartbeat intervals, as Celery and the agent count them."""

MOST_UUIDS = 200_000
"""Tasks by uuid that are remembered to find the sending of a receipt."""

_OF_WORKERS = KNOWN_TYPES - {Sent.__struct_config__.tag}


class Said(msgspec.Struct, frozen=True, gc=False):
    """What no metric needs of an event, and the doctor does. `utcoffset` is in hours west of UTC
    (celery.utils.time.utcoffset)."""

    type: str = ""
    hostname: str = ""
    pid: int | None = None
    clock: int | None = None
    timestamp: float = 0.0
    freq: float | None = None
    processed: int | None = None
    sw_ident: str | None = None
    sw_ver: str | None = None
    utcoffset: float | None = None


class Beat(msgspec.Struct, frozen=True, gc=False):
    """One heartbeat: when it came, the worker's Lamport clock, and how many events it had sent in
    all by then, this one included."""

    at: float
    clock: int | None
    events: int


@dataclass(frozen=True, slots=True)
class Voice:
    """What was heard of one worker, under its node name.

    `beats` are its heartbeats; `tasks` how many task events it sent; `ran` by how much `processed`
    grew, None without two heartbeats that have it; `lost` how many starts of them went unheard.
    `lag` is the least arrival minus timestamp, in seconds: how far its clock is behind ours.
    `west` are the hours its zone is west of UTC. `lives` counts its processes. `left`: its last
    word was a farewell. Times are epoch seconds of our clock.
    """

    name: str
    beats: tuple[Beat, ...] = ()
    freq: float | None = None
    tasks: int = 0
    ran: int | None = None
    lost: int = 0
    lag: float | None = None
    west: float | None = None
    software: str = ""
    version: str = ""
    lives: int = 1
    left: bool = False
    last_at: float = 0.0

    @property
    def host(self) -> str:
        """The host in its name."""
        return self.name.rpartition("@")[2]

    @property
    def gossips(self) -> bool | None:
        """Whether its clock is moved by more than its own events; None when too little was heard.

        Without gossip the clock grows by exactly one an event; one that gossips hears its own
        heartbeats, too, and moves it once more for each (celery.worker.consumer.gossip).
        """
        moves = [
            after.clock - before.clock - (after.events - before.events)
            for before, after in pairwise(self.beats)
            if before.clock is not None and after.clock is not None
        ]
        return min(moves) > 0 if len(moves) > 1 else None


@dataclass(frozen=True, slots=True)
class Flow:
    """Of one task: its publications, its receipts, and of the receipts how many followed no
    publication that was heard."""

    sent: int = 0
    received: int = 0
    unannounced: int = 0


@dataclass(frozen=True, slots=True)
class Heard:
    """All of it. `seconds` is how long was listened, until `until` (epoch seconds); `bytes` what
    came. `longest_eta` is how far ahead of its event the latest ETA lay, in seconds. `queues` are
    those tasks were sent to."""

    seconds: float = 0.0
    until: float = 0.0
    messages: int = 0
    bytes: int = 0
    bad: Mapping[str, int] = field(default_factory=dict)
    voices: Mapping[str, Voice] = field(default_factory=dict)
    flows: Mapping[str, Flow] = field(default_factory=dict)
    queues: tuple[str, ...] = ()
    longest_eta: float = 0.0
    reconnects: int = 0

    @property
    def alive(self) -> list[Voice]:
        """Those who did not say goodbye."""
        return [voice for voice in self.voices.values() if not voice.left]

    def silence(self, voice: Voice) -> float:
        """Seconds since the last heartbeat, when it is longer ago than it may be; else 0. The same
        rule as the agent's (see `roster`)."""
        if not voice.beats:
            return 0.0
        since = self.until - voice.beats[-1].at
        return since if since > SILENT * (voice.freq or FREQ) + BATCHING else 0.0


class _Notes:
    """What is noted of one worker while it speaks."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.beats: list[Beat] = []
        self.pids: dict[int | None, None] = {}
        self.lives = 0
        self.events = self.tasks = 0
        self.first_processed: int | None = None
        self.processed: int | None = None
        self.freq: float | None = None
        self.lag: float | None = None
        self.west: float | None = None
        self.software = self.version = ""
        self.left = False
        self.last_at = 0.0

    def take(self, said: Said, at: float) -> None:
        """One event of it, come at `at`."""
        self.events += 1
        self.last_at = at
        lag = at - said.timestamp
        self.lag = lag if self.lag is None else min(lag, self.lag)
        self.west = self.west if said.utcoffset is None else said.utcoffset
        if said.type.startswith("task-"):
            self.tasks += 1
            return
        self._live(said)
        self.left = said.type == "worker-offline"
        self.software = said.sw_ident or self.software
        self.version = said.sw_ver or self.version
        if said.processed is not None and said.type != "worker-offline":
            self.freq = said.freq or self.freq
            self.beats.append(Beat(at, said.clock, self.events))

    def told(self, lost: int) -> Voice:
        """The notes as they stand."""
        ran = None
        if len(self.beats) > 1 and None not in (self.first_processed, self.processed):
            ran = (self.processed or 0) - (self.first_processed or 0)
        return Voice(
            self.name, tuple(self.beats), self.freq, self.tasks, ran, lost, self.lag, self.west,
            self.software, self.version, max(1, self.lives), self.left, self.last_at,
        )  # fmt: skip

    def _live(self, said: Said) -> None:
        """Tell one process from the next: another pid, or a count that fell."""
        fell = None not in (said.processed, self.processed) and said.processed < self.processed  # type: ignore[operator]
        if said.pid not in self.pids or fell:
            self.lives += 1
            self.pids[said.pid] = None
            self.beats.clear()
            self.first_processed = said.processed
        if said.processed is not None:
            if self.first_processed is None:
                self.first_processed = said.processed
            self.processed = said.processed


class Ear:
    """Takes messages, one by one, and tells what they were."""

    def __init__(self, pipeline: Pipeline, now: float) -> None:
        self._pipeline = pipeline
        self._began = now
        self._notes: dict[str, _Notes] = {}
        self._flows: dict[str, Flow] = {}
        self._sent: dict[str, None] = {}
        self._received: Counter[tuple[str, str]] = Counter()
        self._queues: dict[str, None] = {}
        self._longest_eta = 0.0
        self._messages = self._bytes = 0
        pipeline.begin(now)

    def begin(self, now: float) -> None:
        """The listening begins only now."""
        self._began = now

    def feed(self, body: bytes, now: float) -> None:
        """Take one message's body, come at `now` (epoch seconds). Never raises."""
        self._messages += 1
        self._bytes += len(body)
        self._pipeline.feed(body, now)
        for event in decode(body).events:
            if isinstance(event, Sent):
                self._note_sent(event)
            elif isinstance(event, Received):
                self._note_received(event)
        for said in _sayings(body):
            notes = self._notes.get(said.hostname)
            if notes is None and len(self._notes) < MOST_NAMES:
                notes = self._notes[said.hostname] = _Notes(said.hostname)
            if notes is not None:
                notes.take(said, now)

    def told(self, now: float, reconnects: int = 0) -> Heard:
        """All that was heard until `now`."""
        lost = {
            series.entity: count
            for series, count in self._pipeline.flush(now).counters
            if (series.family, series.metric) == ("worker", "events_lost")
        }
        flows = dict(self._flows)
        for (uuid, name), times in self._received.items():
            if uuid not in self._sent:
                flow = flows[name]
                flows[name] = replace(flow, unannounced=flow.unannounced + times)
        voices = {name: notes.told(lost.get(name, 0)) for name, notes in self._notes.items()}
        return Heard(
            now - self._began, now, self._messages, self._bytes, dict(self._pipeline.ledger.bad),
            voices, flows, tuple(self._queues), self._longest_eta, reconnects,
        )  # fmt: skip

    def _note_sent(self, event: Sent) -> None:
        flow = self._flow(event.name)
        if flow is not None:
            self._flows[event.name or ""] = replace(flow, sent=flow.sent + 1)
        if len(self._sent) < MOST_UUIDS:
            self._sent[event.uuid] = None
        if event.queue and len(self._queues) < MOST_NAMES:
            self._queues[event.queue] = None
        self._note_eta(event)

    def _note_received(self, event: Received) -> None:
        flow = self._flow(event.name)
        if flow is not None:
            self._flows[event.name or ""] = replace(flow, received=flow.received + 1)
            if len(self._received) < MOST_UUIDS:
                self._received[event.uuid, event.name or ""] += 1
        self._note_eta(event)

    def _note_eta(self, event: Sent | Received) -> None:
        when = epoch(event.eta)
        if when is not None:
            self._longest_eta = max(self._longest_eta, when - event.timestamp)

    def _flow(self, name: str | None) -> Flow | None:
        """What is noted of a task; None when there is no room for another one."""
        known = self._flows.get(name or "")
        return known or (Flow() if len(self._flows) < MOST_NAMES else None)


_read = msgspec.json.Decoder(list[Said] | Said).decode


def _sayings(body: bytes) -> list[Said]:
    """What workers say in a body; nothing of one that cannot be read."""
    try:
        found = _read(body)
    except (msgspec.MsgspecError, RecursionError):
        return []
    rows = found if isinstance(found, list) else [found]
    return [said for said in rows if said.type in _OF_WORKERS and said.hostname]
