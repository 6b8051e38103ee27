"""What listening tells of workers and tasks, on made events and on the recorded traces."""

import json
from typing import Any

import pytest

from celery_statsd.check.heard import Ear, Heard
from celery_statsd.pipeline import Pipeline
from tests.traces import messages

W1 = "w1@web1"


def ear(now: float = 100.0) -> Ear:
    """One that begins to listen."""
    return Ear(Pipeline(), now)


def event(kind: str, at: float, **fields: Any) -> dict[str, Any]:
    """An event of w1, whose clock is right."""
    return {"type": kind, "hostname": W1, "pid": 7, "timestamp": at, "utcoffset": 0, **fields}


def beat(at: float, processed: int, clock: int, **fields: Any) -> dict[str, Any]:
    """A heartbeat."""
    told = {"freq": 2.0, "active": 0, "processed": processed, "loadavg": [0, 0, 0], "clock": clock}
    software = {"sw_ident": "py-celery", "sw_ver": "5.7.0", "sw_sys": "Linux"}
    return event("worker-heartbeat", at, **told, **software, **fields)


def heard(*events: dict[str, Any], until: float = 110.0) -> Heard:
    """What is told when these came as they were made."""
    listening = ear()
    for one in events:
        listening.feed(json.dumps(one).encode(), one["timestamp"] + 0.25)
    return listening.told(until)


def test_a_voice_has_what_its_heartbeats_say() -> None:
    """Version, interval, growth, zone, and the least lag of all its events."""
    voice = heard(beat(101, 5, 1, utcoffset=5), beat(103, 9, 2, utcoffset=5)).voices[W1]

    assert ("5.7.0", "py-celery", 2.0, 4, 5.0) == (
        voice.version, voice.software, voice.freq, voice.ran, voice.west,
    )  # fmt: skip
    assert pytest.approx(0.25) == voice.lag
    assert ("web1", 1, False, 0) == (voice.host, voice.lives, voice.left, voice.tasks)


@pytest.mark.parametrize(("moved", "gossips"), [(1, False), (2, True), (40, True)])
def test_gossip_shows_in_the_clock(moved: int, gossips: bool) -> None:
    """Without it the clock grows by one an event."""
    voice = heard(*(beat(101 + 2 * n, 0, 1 + moved * n) for n in range(4))).voices[W1]

    assert gossips is voice.gossips


def test_gossip_is_not_told_by_two_heartbeats() -> None:
    """A single interval could be a command's."""
    assert heard(beat(101, 0, 1), beat(103, 0, 3)).voices[W1].gossips is None


def test_events_of_tasks_move_the_clock_without_gossip() -> None:
    """They are counted between the heartbeats."""
    events = [beat(101, 0, 1), event("task-started", 102, uuid="u", clock=2), beat(103, 1, 3)]
    more = [event("task-succeeded", 104, uuid="u", clock=4), beat(105, 1, 5)]

    assert heard(*events, *more).voices[W1].gossips is False


def test_a_restart_is_another_life() -> None:
    """By its pid, or by a count that fell; what ran is counted anew."""
    other = {**beat(105, 0, 1), "pid": 8}
    again = {**beat(107, 3, 2), "pid": 8}
    fell = {**beat(109, 0, 1), "pid": 8}
    events = (beat(101, 5, 1), beat(103, 9, 2), other, again)

    assert (2, 3) == (heard(*events).voices[W1].lives, heard(*events).voices[W1].ran)
    assert (3, None) == (heard(*events, fell).voices[W1].lives, heard(*events, fell).voices[W1].ran)


def test_a_farewell_stands_until_the_next_word() -> None:
    """A reconnect is none."""
    offline = {**beat(103, 0, 2), "type": "worker-offline"}
    online = {**beat(104, 0, 3), "type": "worker-online"}

    assert heard(beat(101, 0, 1), offline).voices[W1].left
    assert not heard(beat(101, 0, 1), offline, online).voices[W1].left


def test_receipts_are_matched_with_sendings_by_uuid() -> None:
    """Whichever comes first; clients are no voices."""
    client = {"hostname": "gen9@web2", "name": "shop.pay", "queue": "q"}
    sent = event("task-sent", 103, uuid="a", **client)
    took = [event("task-received", 102 + n, uuid=u, name="shop.pay") for n, u in enumerate("ab")]
    told = heard(*took, sent)

    assert (1, 2, 1) == (
        told.flows["shop.pay"].sent, told.flows["shop.pay"].received,
        told.flows["shop.pay"].unannounced,
    )  # fmt: skip
    assert [W1] == list(told.voices)
    assert ("q",) == told.queues


def test_the_latest_eta_is_known() -> None:
    """In seconds ahead of the event."""
    took = event("task-received", 0.0, uuid="a", name="n", eta="1970-01-01T02:00:00+00:00")

    assert 7200.0 == heard(took).longest_eta


def test_lost_starts_are_the_agents_own_number() -> None:
    """Heartbeats count what was never heard."""
    told = heard(*(beat(101 + n, 10 * n, 1 + n) for n in range(5)))

    assert told.voices[W1].lost > 0


@pytest.mark.parametrize(
    "body", [b"", b"[", b"17", b'{"type": 3}', b'[{"type":"worker-heartbeat"}]']
)
def test_what_is_no_event_is_passed_over(body: bytes) -> None:
    """Nothing that comes over the wire ends the listening."""
    listening = ear()
    listening.feed(body, 101.0)
    told = listening.told(110.0)

    assert (1, len(body), {}) == (told.messages, told.bytes, told.voices)


@pytest.mark.parametrize(
    ("trace", "versions"),
    [
        ("rmq-prefork-31", {"3.1.26.post2"}),
        ("rmq-prefork-44", {"4.4.7"}),
        ("redis-prefork-52", {"5.2.7"}),
        ("redis-prefork-57", {"5.7.0"}),
    ],
)
def test_the_versions_of_recorded_workers(trace: str, versions: set[str]) -> None:
    """As real heartbeats of old Celery tell them."""
    assert versions == {voice.version for voice in recorded(trace).voices.values() if voice.beats}


def test_the_zones_of_recorded_workers() -> None:
    """One in New York, one in Kolkata: their timestamps are right all the same."""
    voices = recorded("rmq-timezones-57").voices.values()

    assert {5.0, -5.5} <= {voice.west for voice in voices}
    assert all(abs(voice.lag or 0.0) < 1.0 for voice in voices)


def test_a_recorded_cluster_whose_clients_are_mute() -> None:
    """No sending of any task."""
    flows = recorded("redis-nosent-57").flows.values()

    assert {0} == {flow.sent for flow in flows}
    assert all(flow.unannounced == flow.received for flow in flows)


def recorded(trace: str) -> Heard:
    """A whole trace, heard as it came."""
    stream = messages(trace)
    listening = ear(stream[0].at)
    for message in stream:
        listening.feed(message.body, message.at)
    return listening.told(stream[-1].at + 1)
