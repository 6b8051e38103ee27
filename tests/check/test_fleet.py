"""Versions and settings of the workers, judged on made values."""

import pytest

from celery_statsd.check import fleet
from celery_statsd.check.brokers import RedisFacts
from celery_statsd.check.facts import Expected, Facts
from tests.check.made import W1, beats, conf, facts, heard, rows, voice

W2 = "w2@web2"
THREADS = {"stats": {"pool": {"implementation": "celery.concurrency.thread:TaskPool"}}}


def test_one_that_is_heard_and_does_not_answer() -> None:
    """May be another app's."""
    found = list(fleet.answers(facts(voice(), voice(W2), answers={W1: conf()})))

    assert [("ok", "answers", ""), ("warning", "answers", W2)] == rows(found)
    assert "global_keyprefix" in found[1].cure


def test_one_that_fell_silent_is_told_elsewhere() -> None:
    """By its heart alone."""
    dead = voice(beats=beats(2, 4))

    assert [] == rows(fleet.answers(facts(dead, answers={})))


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("5.7.0", ["ok"]),
        ("5.10.1", ["ok"]),
        ("6.0", ["ok"]),
        ("5.6.3", ["warning"]),
        ("4.4.7", ["warning"]),
        ("3.1.26", ["critical"]),
        ("?", ["ok"]),
    ],
)
def test_a_version(version: str, expected: list[str]) -> None:
    """5.7 is the first that loses nothing by itself."""
    found = fleet.versions(facts(voice(version=version)))

    assert expected == [finding.severity.word for finding in found]


def test_threads_of_old_celery_lose_most() -> None:
    """By what the worker says of its pool."""
    answers = {W1: conf() | THREADS, W2: conf()}
    old = [voice(version="5.2.7"), voice(W2, version="5.2.7")]
    found = rows(fleet.versions(facts(*old, answers=answers)))

    assert [("warning", "versions", f"{W1}, {W2}"), ("critical", "versions", W1)] == found


def test_mixed_versions_are_told() -> None:
    """With who has which."""
    *_, found = fleet.versions(facts(voice(), voice(W2, version="5.8.0")))

    assert f"5.7.0: {W1}; 5.8.0: {W2}" in found.sentence
    assert "warning" == found.severity.word


def test_settings_that_are_well() -> None:
    """One line each."""
    found = fleet.settings(facts(voice()))

    assert ["ok"] * 3 == [finding.severity.word for finding in found]


def test_workers_whose_own_sendings_are_mute() -> None:
    """Retries and chains are sent by workers."""
    answers = {W1: conf(task_send_sent_event=False), W2: conf()}
    found = [f for f in fleet.settings(facts(answers=answers)) if f.name == "task_send_sent_event"]

    assert ["warning"] == [finding.severity.word for finding in found]
    assert found[0].sentence.startswith(f"{W1}: ")


@pytest.mark.parametrize("tracking", [True, False])
def test_what_track_started_changes(tracking: bool) -> None:
    """Nothing here, on or off."""
    answers = {W1: conf(task_track_started=tracking)}
    found = next(f for f in fleet.settings(facts(answers=answers)) if "track" in f.name)

    assert "ok" == found.severity.word
    assert "task-started events come without it" in found.sentence


def test_events_on_another_exchange_are_never_heard() -> None:
    """The worker tells where it sends them."""
    answers = {W1: conf(event_exchange="myev")}
    found = rows(fleet.settings(facts(answers=answers)))

    assert ("critical", "event_exchange", W1) in found
    ours = facts(answers=answers, expected=Expected(event_exchange="myev"))
    assert "event_exchange" not in [name for _, name, _ in rows(fleet.settings(ours))]


def test_other_channels_on_redis_are_told() -> None:
    """By the options that name them; a masked value tells nothing."""
    theirs = {"global_keyprefix": "acme:", "fanout_prefix": "********", "visibility_timeout": 9}
    answers = {W1: conf(broker_transport_options=theirs)}
    found = list(fleet.settings(facts(answers=answers, redis=RedisFacts())))

    assert [("critical", W1)] == [
        (f.severity.word, f.subject) for f in found if f.name == "transport_options"
    ]
    ours = Expected(transport_options={"global_keyprefix": "acme:"})
    same = facts(answers=answers, redis=RedisFacts(), expected=ours)
    assert "transport_options" not in [name for _, name, _ in rows(fleet.settings(same))]


def test_queues_of_dead_receivers_that_grow() -> None:
    """Without a TTL or an expiry."""
    answers = {W1: conf(event_queue_ttl=None)}

    assert ("warning", "event_queue", "") in rows(fleet.settings(facts(answers=answers)))


def test_nothing_is_judged_without_answers() -> None:
    """No step, no finding."""
    every = (fleet.answers, fleet.versions, fleet.settings)

    assert [] == [finding for examine in every for finding in examine(Facts(heard=heard()))]
