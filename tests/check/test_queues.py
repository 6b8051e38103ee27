"""Queues nobody consumes, judged on made values."""

import pytest

from celery_statsd.check import queues
from celery_statsd.check.facts import Facts
from celery_statsd.probes.base import QueueFacts
from tests.check.made import W1, conf, facts, rows, voice

TAKES = {W1: conf() | {"active_queues": [{"name": "mails"}, {"name": "etl"}]}}


@pytest.mark.parametrize(
    ("queue", "expected"),
    [
        (QueueFacts("mails", 5), ("ok", "")),
        (QueueFacts("lost", 5), ("critical", "lost")),
        (QueueFacts("lost", 0), ("warning", "lost")),
        (QueueFacts("lost", 5, consumers=1), ("ok", "")),  # RabbitMQ knows better than answers
        (QueueFacts("mails", 5, consumers=0), ("critical", "mails")),
    ],
)
def test_who_takes_from_a_queue(queue: QueueFacts, expected: tuple[str, str]) -> None:
    """As the broker tells, else as the workers do."""
    found = rows(queues.unconsumed(facts(answers=TAKES, queues=(queue,))))

    assert [(expected[0], "queues", expected[1])] == found


def test_a_worker_that_does_not_answer_may_take_it() -> None:
    """Then nobody can tell, but RabbitMQ."""
    silent = voice("busy@web1")
    unsure = facts(silent, answers=TAKES, queues=(QueueFacts("lost", 5),))
    sure = facts(silent, answers=TAKES, queues=(QueueFacts("lost", 5, consumers=0),))

    assert ("unknown", "queues", "lost") in rows(queues.unconsumed(unsure))
    assert ("critical", "queues", "lost") in rows(queues.unconsumed(sure))


def test_nobody_knows_without_answers_on_redis() -> None:
    """Then nothing is said."""
    told = Facts(queues=(QueueFacts("mails", 5),))

    assert [] == rows(queues.unconsumed(told))


def test_what_workers_take_is_read_with_care() -> None:
    """Whatever they answer."""
    answers = {"a": {"active_queues": None}, "b": {"active_queues": [7, {"name": 7}]}, "c": {}}

    assert set() == queues.consumed(answers) == queues.consumed(None)
    assert {"mails", "etl"} == queues.consumed(TAKES)
