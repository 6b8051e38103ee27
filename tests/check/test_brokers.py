"""What brokers tell of themselves: the names of queues."""

import pytest

from celery_statsd.check.brokers import RabbitFacts, is_receiver, workers_of


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("celeryev.0f8fad5b-d9cb-469f-a165-70867728950e", True),
        ("celeryev.statsd.default", False),
        ("celeryev.statsd.0f8fad5b-d9cb-469f-a165-70867728950e", False),
        ("celeryev", False),
        ("mails", False),
    ],
)
def test_a_receiver_is_known_by_its_name(name: str, is_one: bool) -> None:
    """`celeryev.` and a uuid: the agent's own queues are none."""
    assert is_one is is_receiver(name)


def test_a_worker_is_known_by_its_queue_for_commands() -> None:
    """Its node name, whatever dots are in it."""
    assert ("w1@web1.example.org",) == workers_of(["w1@web1.example.org.celery.pidbox", "celery"])
    assert RabbitFacts().pidboxes is None
