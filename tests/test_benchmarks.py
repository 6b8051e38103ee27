"""The benchmarks: a lawful load, the same each time; totals that are compared; a report."""

import json
import random
import socket
import struct
from collections import Counter, defaultdict
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path

import pytest

from benchmarks.contestants import Stage, own_expected, own_path, own_verdict
from benchmarks.heart import differences, run
from benchmarks.load import ENDS, SHAPES, Load, Message, Plan, heartbeats, load
from benchmarks.report import LATEST, rows, with_table
from benchmarks.sink import Sink
from benchmarks.wire import envelope, published
from celery_statsd.pipeline import Pipeline
from celery_statsd.source.envelope import unwrapped
from tests.readme import README
from tests.servers.process import wait_until

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
    for moments in map(sorted, told.values()):
        assert [clock for clock, _ in moments] == list(range(1, len(moments) + 1))
        assert all(before <= after for (_, before), (_, after) in pairwise(moments))


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


def test_heartbeats_are_of_one_worker() -> None:
    """Each two seconds after the one before; it has nothing to do."""
    beats = [events_of(message)[0] for message in islice(heartbeats(100.0), 3)]
    assert [beat["timestamp"] for beat in beats] == [100.0, 102.0, 104.0]
    assert len({beat["hostname"] for beat in beats}) == 1
    assert {beat["active"] for beat in beats} == {0}


# The wire.


def test_amqp_frames_carry_the_message() -> None:
    """A method, a header and a body, each as long as it says, in this order."""
    message = made("mixed").messages[-1]
    wire, frames = published(message), []
    while wire:
        kind, channel, length = struct.unpack_from(">BHI", wire)
        frames.append((kind, channel, wire[7 : 7 + length]))
        assert wire[7 + length] == 0xCE
        wire = wire[8 + length :]
    assert [(kind, channel) for kind, channel, _ in frames] == [(1, 1), (2, 1), (3, 1)]
    assert frames[0][2].endswith(bytes((len(message.routing_key),)) + b"worker.heartbeat\0")
    assert int.from_bytes(frames[1][2][4:12]) == len(message.body)
    assert message.body == frames[2][2]


def test_an_envelope_is_kombus() -> None:
    """Our own source takes the message out of it unchanged."""
    message = made("mixed").messages[-1]
    taken = unwrapped(envelope(message))
    assert (message.body, message.hostname) == (taken.body, taken.facts.hostname)
    assert taken.facts[:2] == ("application/json", "utf-8")


def test_the_sink_adds_up_counters_alone() -> None:
    """Over all datagrams, each once, however often it is asked."""
    with Sink() as sink, socket.socket(type=socket.SOCK_DGRAM) as sender:
        for datagram in (b"a:1|c\nb:2|c\ng:7|g", b"a:3|c\nt:5|ms|@0.1"):
            sender.sendto(datagram, ("127.0.0.1", sink.port))
        wait_until(lambda: sink.datagrams == 2, 20, "both datagrams came")
        assert {"a": 4, "b": 2} == sink.counters() == sink.counters()


def test_a_verdict_tells_what_is_missing() -> None:
    """Of our agent's counters: all there is nothing to say, one short is told."""
    stream = made("single")
    with Sink() as sink, socket.socket(type=socket.SOCK_DGRAM) as sender:
        stage = Stage("amqp://", sink, 0, Path(), stream)
        expected = own_expected(stage)
        last = own_path("cluster", "all", "received")
        value = expected.pop(last)
        for path, number in expected.items():
            sender.sendto(f"{path}:{number}|c".encode(), ("127.0.0.1", sink.port))
        wait_until(lambda: sink.datagrams == len(expected), 20, "all but one came")
        assert [f"{last}: 0, not {value}"] == own_verdict(stage)
        sender.sendto(f"{last}:{value}|c".encode(), ("127.0.0.1", sink.port))
        wait_until(lambda: sink.datagrams == len(expected) + 1, 20, "all came")
        assert [] == own_verdict(stage)


# The report.

ROUNDS = [
    {
        ("redis", "mixed", "celery-statsd"): {"us_per_event": 2.0},
        ("redis", "mixed", "celery-exporter"): {"us_per_event": 100.0},
    },
    {
        ("redis", "mixed", "celery-statsd"): {"us_per_event": 4.0},
        ("redis", "mixed", "celery-exporter"): {"us_per_event": 100.0},
    },
    {("redis", "mixed", "celery-statsd"): {"us_per_event": 9.0}},
]


def test_ratios_are_taken_within_a_round() -> None:
    """Of the rounds both took part in; figures are told by median, least and most."""
    ours, theirs = rows(ROUNDS, ("broker", "load", "consumer"))
    assert ours["us_per_event"] == {"median": 4.0, "min": 2.0, "max": 9.0}
    assert ours["ratios"] == {"celery-exporter": {"median": 37.5, "min": 25.0, "max": 50.0}}
    assert (ours["rounds"], theirs["rounds"]) == (3, 2)


def test_the_short_table_stands_between_its_marks() -> None:
    """And all else stays."""
    results = {"rows": rows(ROUNDS, ("broker", "load", "consumer"))}
    text = with_table("a\n<!-- benchmark -->\nold\n<!-- /benchmark -->\nz\n", results)
    assert text.startswith("a\n<!-- benchmark -->\n\n| us of CPU an event | Redis mixed |\n")
    assert "| celery-statsd | **4.00** |\n| celery-exporter | 100 (25.0x) |\n" in text
    assert text.endswith("\n<!-- /benchmark -->\nz\n")
    assert "old" not in text


def test_the_readme_shows_the_latest_results() -> None:
    """`make readme` would change nothing."""
    text = README.read_text()
    assert "<!-- benchmark -->" in text
    if LATEST.exists():
        assert with_table(text, json.loads(LATEST.read_text())) == text
