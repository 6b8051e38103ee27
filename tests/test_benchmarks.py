"""The load of the benchmarks: the same each time, lawful, and just what its manifest says."""

import json
import random
from collections import Counter, defaultdict
from dataclasses import replace
from itertools import pairwise

import pytest

from benchmarks.heart import differences, run
from benchmarks.load import ENDS, SHAPES, Load, Message, Plan, load
from celery_statsd.pipeline import Pipeline

each_shape = pytest.mark.parametrize("shape", SHAPES)
PLAN = Plan(events=3000)


def made(shape: str) -> Load:
    return load(replace(PLAN, shape=shape))


def events_of(message: Message) -> list[dict[str, object]]:
    """The events in a message's body."""
    told = json.loads(message.body)
    return told if isinstance(told, list) else [told]


@each_shape
def test_it_is_the_same_at_each_run(shape: str) -> None:
    """Byte for byte."""
    assert made(shape).messages == made(shape).messages


def test_another_seed_is_another_load() -> None:
    """The dice are in use."""
    assert load(PLAN).messages != load(replace(PLAN, seed=21)).messages


@each_shape
def test_the_manifest_counts_what_is_in_the_bodies(shape: str) -> None:
    """Counted here once more, from the wire."""
    stream = made(shape)
    stages: Counter[str] = Counter()
    workers: Counter[tuple[str, str]] = Counter()
    for message in stream.messages:
        events = events_of(message)
        assert message.events == len(events)
        for event in events:
            family, _, word = str(event["type"]).partition("-")
            if family == "task":
                stages[word] += 1
                if word != "sent":
                    workers[str(event["hostname"]), word] += 1
    manifest = stream.manifest
    assert stages == manifest.stages
    assert workers == manifest.workers
    assert manifest.messages == len(stream.messages)
    assert manifest.events == stages.total() + manifest.heartbeats
    assert manifest.bytes == sum(len(message.body) for message in stream.messages)
    assert manifest.errors.total() == stages["failed"]
    by_task: Counter[str] = Counter()
    for (_, stage), number in manifest.tasks.items():
        by_task[stage] += number
    assert stages == by_task


@each_shape
def test_every_attempt_ends(shape: str) -> None:
    """Received, started and ended are one number; a retry is sent again where clients tell."""
    stages = made(shape).manifest.stages
    assert stages["received"] == stages["started"] == sum(stages[end] for end in ENDS)
    assert stages["sent"] == (stages["received"] if SHAPES[shape].sent else 0)


@each_shape
def test_no_two_events_are_one(shape: str) -> None:
    """Each process counts its clock up by one, and its time never runs back. (A heartbeat
    overtakes the list the worker holds back.)"""
    told = defaultdict(list)
    for message in made(shape).messages:
        for event in events_of(message):
            told[event["hostname"], event["pid"]].append((event["clock"], event["timestamp"]))
    for rows in map(sorted, told.values()):
        assert [clock for clock, _ in rows] == list(range(1, len(rows) + 1))
        assert all(before <= after for (_, before), (_, after) in pairwise(rows))


@pytest.mark.parametrize(("shape", "least", "most"), [
    ("single", 1.0, 1.0), ("mixed", 1.9, 2.4), ("multi24", 15.0, 24.0),
])  # fmt: skip
def test_messages_are_as_long_as_their_shape_says(shape: str, least: float, most: float) -> None:
    """Events in a message, on average; and about as many bytes in an event as Celery's own."""
    manifest = made(shape).manifest
    assert least <= manifest.events / manifest.messages <= most
    assert 300 <= manifest.bytes / manifest.events <= 380


@each_shape
def test_the_pipeline_comes_to_the_manifest(shape: str) -> None:
    """To the unit, and nothing is lost, found or doubled."""
    stream = made(shape)
    assert [] == differences(run(stream.messages, Pipeline()), stream)


def test_a_missing_message_is_told() -> None:
    """The comparison with the manifest can fail."""
    stream = made("mixed")
    lost = random.Random(1).randrange(len(stream.messages))
    rest = [message for number, message in enumerate(stream.messages) if number != lost]
    assert differences(run(rest, Pipeline()), stream)
