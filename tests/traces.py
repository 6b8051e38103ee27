"""The recorded traces of real Celery workers, and how one runs through a pipeline.

A trace is every event that was published while a known workload ran; its truth was counted by
the task bodies and the workers' signals, without the events.
"""

import gzip
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from celery_statsd.metric import Batch
from celery_statsd.pipeline import Pipeline

FOLDER = Path(__file__).parent / "traces"
NAMES = tuple(sorted(path.name.split(".")[0] for path in FOLDER.glob("*.truth.json")))

FLUSH = 10
"""Seconds from flush to flush; a flush falls on the multiples."""

Key = tuple[str, str, str]
Event = dict[str, Any]


class Message(NamedTuple):
    """One message as the wire had it: when it came (epoch seconds), and its events. `listed`: its
    body is a list. `away`: nobody listened between the message before and this one."""

    at: float
    events: tuple[Event, ...]
    listed: bool = False
    away: bool = False

    @property
    def body(self) -> bytes:
        """What was published."""
        return json.dumps(self.events if self.listed else self.events[0]).encode()

    @property
    def sender(self) -> tuple[str, int]:
        """The process that sent it."""
        return self.events[0]["hostname"], self.events[0]["pid"]


class Sums:
    """What the batches of one run add up to: `counters` and `times` (the values of a timer, as
    their number and their sum in ms) are sums, `gauges` the last values."""

    def __init__(self) -> None:
        self.counters: Counter[Key] = Counter()
        self.times: dict[Key, tuple[int, float]] = {}
        self.gauges: dict[Key, float] = {}

    def take(self, batch: Batch) -> None:
        """Add one batch."""
        for series, number in batch.counters:
            self.counters[series.family, series.entity, series.metric] += number
        for series, timing in batch.timers:
            key = (series.family, series.entity, series.metric)
            count, total = self.times.get(key, (0, 0.0))
            self.times[key] = (count + timing.count, total + timing.total)
        for series, value in batch.gauges:
            self.gauges[series.family, series.entity, series.metric] = value

    def of(self, family: str, metric: str) -> dict[str, int]:
        """A counter by entity, those that stayed 0 left out."""
        return {
            entity: number
            for (its_family, entity, its_metric), number in sorted(self.counters.items())
            if (its_family, its_metric) == (family, metric) and number
        }

    def by(self, family: str) -> dict[tuple[str, str], int]:
        """All counters of a family by entity and metric, those that stayed 0 left out."""
        return {key[1:]: n for key, n in self.counters.items() if key[0] == family and n}

    def total(self, metric: str) -> int:
        """A counter of the whole cluster."""
        return self.counters["cluster", "all", metric]


@cache
def messages(name: str) -> tuple[Message, ...]:
    """The messages of a trace, in the order of arrival."""
    with gzip.open(FOLDER / f"{name}.ndjson.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    groups: list[list[Event]] = []
    for row in rows:
        if groups and groups[-1][0]["_batch"] == row["_batch"]:
            groups[-1].append(row)
        else:
            groups.append([row])
    ordinals = [group[0]["_batch"] for group in groups]
    fell = [False, *(later < sooner for sooner, later in pairwise(ordinals))]
    return tuple(map(_message, groups, fell))


def _message(rows: list[Event], away: bool) -> Message:
    events = tuple(
        {field: value for field, value in row.items() if not field.startswith("_")} for row in rows
    )
    return Message(rows[0]["_received"], events, rows[0]["_routing_key"] == "task.multi", away)


@cache
def truth(name: str) -> dict[str, Any]:
    """What the bodies and the signals counted."""
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.truth.json").read_text())
    return found


def _trust(pipeline: Pipeline) -> None:
    """No check."""


def replay(
    stream: Iterable[Message],
    pipeline: Pipeline,
    after: float = FLUSH,
    check: Callable[[Pipeline], None] = _trust,
) -> Sums:
    """Feed `stream` on its own clock, with a tick each second, a flush on each multiple of FLUSH,
    and a last one `after` seconds behind the last message. `check` is called at each flush."""
    sums, now, ticked = Sums(), 0.0, 0

    def pass_time(until: float, away: bool) -> None:
        nonlocal ticked
        ticked = ticked or int(until)
        while ticked + 1 <= until:
            ticked += 1
            if away:
                pipeline.deaf(ticked)
            pipeline.tick(ticked)
            if ticked % FLUSH == 0:
                sums.take(pipeline.flush(ticked))
                check(pipeline)

    for message in stream:
        now = message.at
        pass_time(now, message.away)
        if message.away:
            pipeline.deaf(now)
        pipeline.feed(message.body, now)
    pass_time(now + after, away=False)
    sums.take(pipeline.flush(now + after))
    check(pipeline)
    return sums


def merged_anew(stream: Sequence[Message], chance: random.Random) -> list[Message]:
    """The same messages, those of each process in their order, the processes mixed at random; the
    times of arrival stay where they are in the row."""
    turns = [message.sender for message in stream]
    chance.shuffle(turns)
    rest: dict[tuple[str, int], list[Message]] = {}
    for message in reversed(stream):
        rest.setdefault(message.sender, []).append(message)
    return [
        rest[sender].pop()._replace(at=old.at) for sender, old in zip(turns, stream, strict=True)
    ]


def delayed(stream: Sequence[Message], chance: random.Random, longest: float) -> list[Message]:
    """The same messages, those of each process late by an own time of up to `longest` seconds."""
    delays: dict[tuple[str, int], float] = {}
    for message in stream:
        delays.setdefault(message.sender, chance.uniform(0.0, longest))
    late = [message._replace(at=message.at + delays[message.sender]) for message in stream]
    return sorted(late, key=lambda message: message.at)
