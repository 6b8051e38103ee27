"""Who looks and who asks, by the settings."""

import io
import threading
from typing import Any

import pytest

from celery_statsd.chronicle import Chronicle
from celery_statsd.config import load
from celery_statsd.log import Log
from celery_statsd.lookout import Lookout
from celery_statsd.pipeline import Pipeline
from tests.bodies import NOON, Process, body, client

LOG = Log(stream=io.StringIO())


def lookout(**settings: Any) -> tuple[Lookout | None, Chronicle]:
    chronicle = Chronicle(Pipeline, (), LOG)
    chronicle.open(None, NOON)
    made = load({key: str(value) for key, value in settings.items()}, {}, None, dict)
    return Lookout.of(made, chronicle, threading.Lock(), lambda: True, LOG), chronicle


@pytest.mark.parametrize(
    ("settings", "looks", "asks"),
    [
        ({}, True, True),
        ({"broker": "redis://h"}, True, True),
        ({"broker": "memory://"}, False, False),
        ({"probes": "false"}, False, False),
        ({"inspect_interval": 0}, True, False),
        ({"scope": "host"}, False, False),
        ({"partitions": 3, "partition": 1}, True, True),
        ({"partitions": 3, "partition": 2}, False, False),
    ],
)
def test_one_agent_of_a_cluster_looks(settings: dict[str, Any], looks: bool, asks: bool) -> None:
    """Of partitions the first; a host's not."""
    made, _ = lookout(**settings)
    assert looks is bool(made)
    assert asks is bool(made and made.interview)


def test_queues_are_known_by_settings_events_and_workers() -> None:
    """Each once, in this order."""
    made, chronicle = lookout(queues="etl,mails")
    assert made
    assert made.interview
    chronicle.feed([body(client().sent("a", NOON, queue="pay"))], NOON)
    chronicle.feed([body(Process("w@h").beat(NOON, 0))], NOON)
    assert ["etl", "mails", "pay"] == made.survey._names()
    assert ["w@h"] == list(made.interview._hands())
