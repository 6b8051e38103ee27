"""More than the machine can take, and poison among it: every event is in one bucket."""

import itertools
import json
import multiprocessing
import signal
from typing import Any

import amqp
import pytest

from tests.faults.conftest import Under, at_length
from tests.faults.stream import Maker, message
from tests.faults.table import LONG
from tests.faults.trial import Record, Trial, is_exact
from tests.servers.process import wait_until
from tests.servers.rabbitmq import RabbitMQ

pytestmark = pytest.mark.e2e

FLOOD = 100_000
"""Attempts, published as fast as the broker takes them by several processes at once."""

GOOD = 4000 if LONG else 400
"""Attempts among the poison."""

PUBLISHERS = 4

POISON: tuple[tuple[Any, int], ...] = (
    (b"", 1),
    (b"not json", 1),
    (b"null", 1),
    (b"[" * 100_000, 1),
    (b'{"type": 7}', 1),
    (b'{"type": "task-started"}', 1),
    (b'[1, "two", null]', 3),
    (b'{"type": "task-received", "uuid": {"a": 1}}', 1),
    (b"\xff\xfe\x00", 1),
)
"""Bodies no event can be made of, and how many bad events each is."""


def _pour(port: int, vhost: str, number: int, attempts: int, poisoned: bool) -> None:
    """Publish `attempts` attempts as worker `number`, and each body of POISON among them for each
    attempt; end when the broker has confirmed the last."""
    maker = Maker(hostname=f"flood{number}@host")
    with amqp.Connection(f"127.0.0.1:{port}", virtual_host=vhost) as link:
        channel = link.channel()
        channel.confirm_select()
        confirmed = itertools.count(1)
        last = [0]

        def note(tag: int, multiple: bool) -> None:  # noqa: ARG001
            last[0] = max(last[0], tag)

        channel.events["basic_ack"].add(note)
        sent = 0
        for _ in range(attempts):
            bodies: list[Any] = [json.dumps(maker.attempt()).encode()]
            if poisoned:
                bodies += [body for body, _ in POISON]
            for body in bodies:
                channel.basic_publish(message(body), "celeryev", "task.multi")
                sent = next(confirmed)
            while sent - last[0] > 2000:
                link.drain_events(timeout=20)
        while last[0] < sent:
            link.drain_events(timeout=20)


def pour(rabbitmq: RabbitMQ, trial: Trial, attempts: int, poisoned: bool) -> int:
    """Have several processes publish about `attempts` in all; how many exactly."""
    each = attempts // PUBLISHERS
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=_pour, args=(rabbitmq.port, trial.vhost, number, each, poisoned))
        for number in range(PUBLISHERS)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert 0 == process.exitcode
    return each * PUBLISHERS


@at_length
def test_flood(under: Under, rabbitmq: RabbitMQ, record: Record) -> None:
    """Far more than it can count at once: it takes its time, and counts all."""
    trial = under(rate=20)
    poured = pour(rabbitmq, trial, FLOOD, poisoned=False)
    trial.recovered(300)
    row = trial.row("L1", f"flood of {3 * poured} events from {PUBLISHERS} processes", more=poured)
    record(row)

    assert row.sent == row.counted
    assert (0, 0, 0) == (row.lost, row.doubled, row.lost_reported)


def test_poison(under: Under, rabbitmq: RabbitMQ, record: Record) -> None:
    """Nine poisoned bodies to each good one, at full speed: each is counted as bad, no more."""
    trial = under(rate=20)
    poured = pour(rabbitmq, trial, GOOD, poisoned=True)
    bad = poured * sum(events for _, events in POISON)
    trial.recovered(300)
    wait_until(lambda: trial.receiver.own("events_bad") >= bad, 60, "the bad ones are counted")
    lines = len(trial.agent.output().splitlines())
    fault = f"{len(POISON)} poisoned bodies to each good one"
    row = trial.row("L20", fault, f"{bad} bad events", more=poured)
    record(row)

    assert row.sent == row.counted
    assert (0, 0, 0) == (row.lost, row.doubled, row.lost_reported)
    assert bad == trial.receiver.own("events_bad")
    assert lines < 50


def test_heavy_bodies(under: Under, rabbitmq: RabbitMQ, record: Record) -> None:
    """Bodies of 200 kB, more of them than one prefetch of memory could hold."""
    number = 2000 if LONG else 300
    trial = under(rate=20)
    trial.end(signal.SIGTERM)
    body = b'{"type": "task-sent", "uuid": "' + b"x" * 200_000
    address = f"127.0.0.1:{rabbitmq.port}"
    with amqp.Connection(address, virtual_host=trial.vhost, confirm_publish=True) as link:
        channel = link.channel()
        for _ in range(number):
            channel.basic_publish(message(body), "celeryev", "task.multi")
    trial.agent.listen()
    wait_until(lambda: trial.receiver.own("events_bad") >= number, 120, "all are counted as bad")
    row = trial.row("L6", f"{number} bodies of 200 kB at once")
    record(row)

    assert is_exact(row)
    assert row.peak_rss_mb < 96
