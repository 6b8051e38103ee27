"""Events come in: each in one bucket, whatever comes with it, and whatever fails."""

from collections.abc import Iterator

import pytest

from celery_statsd import sluice
from celery_statsd.passages import Passages
from celery_statsd.pipeline import Pipeline
from celery_statsd.sluice import Sluice
from tests.bodies import NOON, Process, body, client


@pytest.fixture
def pipeline() -> Pipeline:
    """One that has begun."""
    made = Pipeline()
    made.begin(NOON)
    return made


@pytest.fixture
def entrance(pipeline: Pipeline) -> Sluice:
    """Its sluice."""
    return pipeline._sluice


def passed(worker: Process, *uuids: str) -> list[bytes]:
    """Messages of a worker that receives, starts and ends tasks, one event each."""
    steps = (worker.received, worker.started, worker.succeeded)
    return [
        body(step(uuid, NOON + number))
        for number, uuid in enumerate(uuids)
        for step in steps  # type: ignore[attr-defined]
    ]


def test_what_comes_together_is_as_if_it_came_alone(pipeline: Pipeline) -> None:
    """Bodies of one event and of many, of several processes, with bad ones among them."""
    one, other, app = Process(), Process("w2@web2", 202), client()
    bodies = [
        body(app.sent("a", NOON)),
        *passed(one, "a", "b"),
        b"{",
        body(other.online(NOON), other.received("c", NOON + 1), other.started("c", NOON + 2)),
        body({"type": "task-custom", "uuid": "c"}),
        *passed(other, "d"),
        body(app.sent("e", NOON + 9)),
        b"[]",
    ]
    pipeline.feed_all(iter([*bodies, bodies[1]]), NOON + 10)
    alone = Pipeline()
    alone.begin(NOON)
    for each in [*bodies, bodies[1]]:
        alone.feed(each, NOON + 10)

    assert pipeline.ledger == alone.ledger
    assert pipeline.ledger.balanced()
    assert (17, 14, 1) == (
        pipeline.ledger.events,
        pipeline.ledger.counted,
        pipeline.ledger.doubled,
    )
    assert pipeline.dump() == alone.dump()


def test_who_has_no_name_is_somebody_all_the_same() -> None:
    """What it says is remembered, and by no other pipeline."""
    nobody = Process("", None)  # type: ignore[arg-type]
    said = body(nobody.sent("a", NOON))
    for _ in range(2):
        made = Pipeline()
        made.begin(NOON)
        made.feed(said, NOON)
        assert (1, 0) == (made.ledger.counted, made.ledger.doubled)
        made.feed(said, NOON)
        assert (1, 1) == (made.ledger.counted, made.ledger.doubled)


def test_the_lag_of_a_message_is_that_of_its_last_event(entrance: Sluice) -> None:
    """One for each message in which there is an event."""
    worker = Process()
    several = body(worker.received("a", NOON), worker.started("a", NOON + 1))
    entrance.take(iter([several, b"[]", b"{", body(worker.succeeded("a", NOON + 2))]), NOON + 4)
    assert [3.0, 2.0] == entrance.lags
    assert 3 == entrance.unfolded


def attempts(take: Sluice, bodies: Iterator[bytes]) -> int:
    """How many calls it takes until all are in, with each fault written off."""
    calls = 1
    while True:
        try:
            take.take(bodies, NOON + 20)
            return calls
        except ZeroDivisionError:
            take.ledger.write_off("fault")
            calls += 1


def test_a_fault_costs_the_event_it_is_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """What came before it is counted, and so is what comes behind it."""
    started = Passages.started

    def fails(self: Passages, event: object, *rest: object) -> bool:
        if event.uuid == "b":  # type: ignore[attr-defined]
            raise ZeroDivisionError
        return started(self, event, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Passages, "started", fails)
    entrance = Pipeline()._sluice  # its table has the faulty one
    assert 2 == attempts(entrance, iter(passed(Process(), "a", "b", "c")))
    ledger = entrance.ledger
    assert (9, 8, {"fault": 1}) == (ledger.events, ledger.counted, dict(ledger.bad))
    assert ledger.balanced()


def test_a_fault_of_decoding_costs_its_body(
    entrance: Sluice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was decoded before it is counted, and so is what comes behind it."""
    read = sluice.read

    def fails(data: bytes) -> object:
        if b'"b"' in data:
            raise ZeroDivisionError
        return read(data)

    monkeypatch.setattr(sluice, "read", fails)
    bodies = passed(Process(), "a", "b", "c")
    assert 4 == attempts(entrance, iter(bodies))
    ledger = entrance.ledger
    assert (9, 6, {"fault": 3}) == (ledger.events, ledger.counted, dict(ledger.bad))
    assert ledger.balanced()
