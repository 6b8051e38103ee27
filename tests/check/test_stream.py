"""What the events prove, judged on made values."""

import pytest

from celery_statsd.check import stream
from celery_statsd.check.brokers import RabbitFacts, RabbitQueue, RedisFacts
from celery_statsd.check.facts import Facts
from celery_statsd.check.heard import Flow, Voice
from tests.check.made import W1, beats, conf, facts, heard, rows, voice

W2 = "w2@web2"


def test_silence_is_critical_whoever_answers() -> None:
    """With the cure for both: no worker, or another exchange."""
    nothing = heard(messages=0)
    (alone,) = stream.coming(Facts(heard=nothing, answers={}))
    (mute,) = stream.coming(Facts(heard=nothing, answers={W1: {}}))

    assert ("critical", "critical") == (alone.severity.word, mute.severity.word)
    assert "1 workers answer" in mute.sentence
    assert "event_exchange" in mute.cure


def test_gaps_and_bad_events_are_told() -> None:
    """Beside how much came."""
    found = list(stream.coming(facts(heard=heard(voice(), reconnects=2, bad={"not_json": 3}))))

    assert ["warning", "warning", "ok"] == [finding.severity.word for finding in found]
    assert "3 events cannot be read (not_json)" == found[1].sentence


@pytest.mark.parametrize(
    ("one", "answers", "expected"),
    [
        (voice(), True, []),
        (voice(left=True), False, ["ok"]),
        (voice(beats=()), True, ["warning"]),
        (voice(beats=beats(2, 4)), False, ["critical"]),  # silent for 6 s, interval 2 s
        (voice(beats=beats(2, 4)), True, ["warning"]),
        (voice(beats=beats(2, 5.5)), False, []),
        (voice(beats=beats(2, 4), freq=30.0), False, ["warning"]),  # slow, and so not silent
        (voice(lives=3), True, ["warning"]),
    ],
)
def test_a_heart(one: Voice, answers: bool, expected: list[str]) -> None:
    """Steady, stopped, silent, slow, or begun anew."""
    found = stream.heartbeats(facts(one, answers={W1: conf()} if answers else {}))

    assert expected == [severity for severity, _, subject in rows(found) if subject == W1]


def test_nobody_was_asked() -> None:
    """Then nobody is said not to have answered."""
    dead = voice(beats=beats(2, 4))
    (asked,) = stream.heartbeats(facts(dead, answers={}))
    (unasked,) = stream.heartbeats(facts(dead, answers=None))

    assert asked.sentence.endswith("no farewell, and no answer")
    assert unasked.sentence.endswith("no farewell")


def test_too_short_a_while_tells_nothing_of_a_heart() -> None:
    """Two intervals and a second."""
    short = heard(voice(beats=()), seconds=2.0)

    assert [("unknown", "heartbeat", W1)] == rows(stream.heartbeats(facts(heard=short)))


def test_one_that_answers_and_is_not_heard_has_no_heart() -> None:
    """Unless nothing is heard at all: then it may be us."""
    answers = {W1: conf(), W2: conf()}
    found = stream.heartbeats(facts(voice(), answers=answers))

    assert ("warning", "heartbeat", W2) in rows(found)
    assert [] == rows(stream.heartbeats(facts(heard=heard(messages=0), answers=answers)))


def test_a_place_without_a_worker() -> None:
    """On RabbitMQ it is there as long as the process: critical. Redis keeps it for ever."""
    box = RabbitFacts(queues=(RabbitQueue(f"{W2}.celery.pidbox"),))
    kept = RedisFacts(pidboxes=(W1, W2))

    assert [("critical", "heartbeat", W2)] == rows(stream.silent(facts(voice(), rabbit=box)))
    assert [("warning", "heartbeat", "")] == rows(stream.silent(facts(voice(), redis=kept)))
    assert [] == rows(stream.silent(facts(voice(), voice(W2), rabbit=box)))


@pytest.mark.parametrize(
    ("one", "answer", "words", "expected"),
    [
        (voice(), conf(), "", ("ok", "")),
        (voice(tasks=0, ran=3), conf(), "", ("critical", W1)),
        (voice(tasks=0, ran=0), conf(), "", ("unknown", "")),
        (voice(tasks=0, ran=None), conf(), "", ("unknown", "")),
        (voice(tasks=0, ran=0), conf(worker_send_task_events=True), "", ("ok", "")),
        (voice(tasks=0, ran=0), conf(), "task events already enabled", ("ok", "")),
        (voice(tasks=0, ran=0), conf(), "task events enabled", ("warning", W1)),
        (voice(tasks=0, ran=3), conf(), "task events enabled", ("warning", W1)),
        (voice(tasks=0, ran=0), conf(), "event dispatcher unavailable", ("critical", W1)),
    ],
)
def test_events_of_tasks(
    one: Voice, answer: dict[str, object], words: str, expected: tuple[str, str]
) -> None:
    """Heard, configured, answered; proven to be off; or hidden, because the worker is idle."""
    switched = {W1: words} if words else {}
    found = rows(stream.task_events(facts(one, answers={W1: answer}, switched=switched)))

    assert [(expected[0], "task_events", expected[1])] == found


def test_one_that_left_is_asked_nothing() -> None:
    """It is gone."""
    assert [] == rows(stream.task_events(facts(voice(tasks=0, ran=0, left=True), answers={})))


def test_lost_starts_are_told_of_those_who_send() -> None:
    """Without -E nothing is lost: it was never sent."""
    assert [("warning", "events_lost", W1)] == rows(stream.lost(facts(voice(lost=3))))
    assert [("ok", "events_lost", "")] == rows(stream.lost(facts(voice())))
    assert [] == rows(stream.lost(facts(voice(lost=3, tasks=0))))


@pytest.mark.parametrize(
    ("flow", "severity"),
    [
        (Flow(10, 10, 0), "ok"),
        (Flow(10, 10, 10), "ok"),  # a long queue: others were sent than were received
        (Flow(0, 10, 10), "warning"),
        (Flow(4, 10, 6), "warning"),
        (Flow(10, 0, 0), "ok"),
        (Flow(19, 20, 1), "ok"),
    ],
)
def test_mute_clients_are_found_task_by_task(flow: Flow, severity: str) -> None:
    """By fewer sendings than receipts."""
    found = list(stream.sent_events(facts(heard=heard(voice(), flows={"shop.pay": flow}))))

    assert [severity] == [finding.severity.word for finding in found]


def test_the_share_that_is_missing_is_told() -> None:
    """By task, with the setting that mends it."""
    (found,) = stream.sent_events(facts(heard=heard(voice(), flows={"a": Flow(4, 10, 6)})))

    assert "60 % of 10 receipts without a task-sent" == found.sentence
    assert "task_send_sent_event = True" in found.cure


def test_nothing_is_judged_of_what_was_not_heard() -> None:
    """No step, no finding."""
    every = (
        stream.coming, stream.heartbeats, stream.silent, stream.task_events, stream.lost,
        stream.sent_events,
    )  # fmt: skip

    assert [] == [finding for examine in every for finding in examine(Facts())]
