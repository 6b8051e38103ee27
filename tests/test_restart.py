"""A pipeline that is dumped and loaded anywhere goes on as if nothing had happened."""

from typing import Any

import msgspec
import pytest

from celery_statsd.metric import Batch
from celery_statsd.pipeline import Pipeline
from tests.traces import FLUSH, NAMES, messages

PARTS = 7
"""Restarts in one trace."""


def reborn(pipeline: Pipeline) -> Pipeline:
    """`pipeline` as a new process would find it: what a file can hold of it."""
    state = msgspec.msgpack.decode(msgspec.msgpack.encode(pipeline.dump()))
    successor = Pipeline()
    successor.load(state)
    return successor


def run(name: str, restarts: set[int]) -> tuple[list[Batch], dict[str, int], Any]:
    """All batches of a trace, the balance and the ledger at its end; the pipeline is dumped and
    loaded before each message whose ordinal is in `restarts`."""
    stream = messages(name)
    pipeline = Pipeline()
    pipeline.begin(stream[0].at)
    ticked, batches = int(stream[0].at), []
    for ordinal, message in enumerate(stream):
        if ordinal in restarts:
            pipeline = reborn(pipeline)
        while ticked + 1 <= message.at:
            ticked += 1
            pipeline.tick(ticked)
            if ticked % FLUSH == 0:
                batches.append(pipeline.flush(ticked))
        pipeline.feed(message.body, message.at)
    batches.append(pipeline.flush(stream[-1].at + 60.0))
    return batches, pipeline.balance, pipeline.ledger


@pytest.mark.parametrize("name", NAMES)
def test_a_restart_changes_nothing(name: str) -> None:
    """Batch for batch, series for series, in their order: the same, wherever it was dumped."""
    size = len(messages(name))
    restarts = {size * part // PARTS for part in range(1, PARTS)}

    assert run(name, set()) == run(name, restarts)


def test_a_restart_before_each_message_changes_nothing() -> None:
    """Not even then."""
    name = "rmq-reconnect-56"

    assert run(name, set()) == run(name, set(range(len(messages(name)))))


def test_a_doubled_message_is_told_by_the_successor() -> None:
    """What was taken in before the restart is a double after it."""
    pipeline, first = Pipeline(), messages("rmq-prefork-57")[0]
    pipeline.feed(first.body, first.at)
    successor = reborn(pipeline)
    successor.feed(first.body, first.at)

    assert len(first.events) == successor.ledger.doubled
