"""RabbitMQ, judged on made values."""

from typing import Any

import pytest

from celery_statsd.check import rabbitmq
from celery_statsd.check.brokers import RabbitFacts, RabbitQueue, Rights
from celery_statsd.check.facts import Expected, Facts
from celery_statsd.probes.base import QueueFacts
from tests.check.made import W1, conf, facts, rows, voice

OWN = "celeryev.statsd.default"
BOUND = {"max-length-bytes": 1, "delivery-limit": 1000}


def asked(*queues: RabbitQueue, version: str = "3.10.8", **changes: Any) -> RabbitFacts:
    """A RabbitMQ with these queues."""
    return RabbitFacts(version, "statsd", OWN, queues, **changes)


def own(**changes: Any) -> RabbitQueue:
    """The agent's queue, as it should be."""
    usual = {"consumers": 1, "type": "quorum", "durable": True, "policy": BOUND}
    return RabbitQueue(OWN, **{**usual, **changes})


@pytest.mark.parametrize(
    ("version", "celery", "expected"),
    [
        ("3.10.8", "5.2.7", "ok"),
        ("4.2.0", "5.6.3", "ok"),
        ("4.3.0", "5.7.0", "ok"),
        ("4.3.0", "5.6.3", "critical"),
        ("3.7.28", "5.7.0", "warning"),
    ],
)
def test_a_version_against_what_is_asked_of_it(version: str, celery: str, expected: str) -> None:
    """Quorum queues from 3.8; no shared transient queues from 4.3, which old Celery wants."""
    (found,) = rabbitmq.version(facts(voice(version=celery), rabbit=asked(version=version)))

    assert expected == found.severity.word


def test_queue_flags_that_a_new_broker_refuses() -> None:
    """event_queue_exclusive switched off by hand."""
    answers = {W1: conf(event_queue_exclusive=False, event_queue_durable=False)}
    told = facts(voice(), answers=answers, rabbit=asked(version="4.3.1"))

    assert [("critical", "rabbitmq", W1)] == rows(rabbitmq.version(told))


def test_what_nobody_sees_without_management() -> None:
    """Is unknown, with the setting that shows it."""
    told = facts(voice(), rabbit=RabbitFacts("3.10.8"))

    assert ["ok", "unknown"] == [severity for severity, _, _ in rows(rabbitmq.version(told))]


@pytest.mark.parametrize(
    ("queue", "expected"),
    [
        (own(), ["ok"]),
        (own(arguments={"x-max-length": 9}, policy={}), ["ok"]),
        (own(policy={}), ["warning"]),
        (own(type="classic"), ["warning"]),
        (own(messages=5, consumers=0), ["warning"]),
        (own(messages=5, consumers=0, policy={}), ["critical", "warning"]),
        (own(consumers=0), ["ok"]),
        (own(messages=5, consumers=None, policy=None), ["ok"]),  # new, and not told yet
    ],
)
def test_our_own_queue(queue: RabbitQueue, expected: list[str]) -> None:
    """Its type, its bounds, its reader."""
    found = rabbitmq.own_queue(facts(rabbit=asked(queue)))

    assert expected == [finding.severity.word for finding in found]


def test_a_new_broker_drops_what_was_delivered_often() -> None:
    """Unless a policy allows more."""
    queue = own(policy={"max-length": 1})

    assert ["warning", "ok"] == [
        finding.severity.word
        for finding in rabbitmq.own_queue(facts(rabbit=asked(queue, version="4.0.1")))
    ]


@pytest.mark.parametrize("name", [f"{OWN}.g2", f"{OWN}.p1of3", f"{OWN}.p1of3.g2"])
def test_generations_and_parts_are_ours(name: str) -> None:
    """Another group's are not."""
    queues = (RabbitQueue(name, policy=BOUND, type="quorum"), RabbitQueue(f"{OWN}2"))

    assert [name] == [f.subject for f in rabbitmq.own_queue(facts(rabbit=asked(*queues)))]


def test_no_queue_of_ours_yet() -> None:
    """Is told, but not of an agent that wants none."""
    assert [("warning", "own_queue", OWN)] == rows(rabbitmq.own_queue(facts(rabbit=asked())))
    transient = facts(rabbit=asked(), expected=Expected(queue_type="transient"))
    assert [] == rows(rabbitmq.own_queue(transient))


def test_queues_of_dead_monitors() -> None:
    """Those nobody consumes."""
    name = "celeryev.0f8fad5b-d9cb-469f-a165-70867728950e"
    dead, alive = RabbitQueue(name, messages=7), RabbitQueue(name, consumers=1)
    new = RabbitQueue(name, consumers=None)
    (found,) = rabbitmq.leftovers(facts(rabbit=asked(dead, alive, new, own())))

    assert "1 event queues of dead monitors, 7 messages in them" == found.sentence
    assert name in found.cure
    assert ["ok"] == [f.severity.word for f in rabbitmq.leftovers(facts(rabbit=asked(alive)))]


@pytest.mark.parametrize(
    ("rights", "severity", "words"),
    [
        (Rights("^$", "^$", r"^celeryev\.statsd\.default(\.g[0-9]+)?$"), "ok", "not the tasks'"),
        (Rights(".*", ".*", ".*"), "ok", "command workers, forge events, read tasks"),
        (Rights("", "", ""), "critical", "may not read"),
        (Rights("", "", "^celery$"), "critical", "may not read"),
        (Rights("", "", "("), "critical", "may not read"),
    ],
)
def test_the_rights_of_our_user(rights: Rights, severity: str, words: str) -> None:
    """Enough to read the queue, and what is more than that."""
    told = facts(rabbit=asked(rights=rights), queues=(QueueFacts("mails"),))
    (found,) = rabbitmq.rights(told)

    assert severity == found.severity.word
    assert words in found.sentence


def test_nothing_is_judged_of_another_broker() -> None:
    """No RabbitMQ, no finding."""
    every = (rabbitmq.version, rabbitmq.own_queue, rabbitmq.leftovers, rabbitmq.rights)

    assert [] == [finding for examine in every for finding in examine(Facts())]
