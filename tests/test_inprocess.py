"""Signals as metrics, without a broker; what real pools tell stands in `test_ways`."""

from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import Ignore, Reject

import celery_statsd
from celery_statsd.errors import ConfigError
from celery_statsd.inprocess import FINAL_REJECTION_FAILS, HEADER, Instrument, instrument
from celery_statsd.sinks.memory import MemorySink
from celery_statsd.turnstile import Turnstile


@pytest.fixture
def app() -> Iterator[Celery]:
    """An app whose tasks are run at once, here, or sent to a broker in memory."""
    with Celery("t", broker="memory://", set_as_current=False) as app:

        @app.task(name="ok", shared=False)
        def _ok() -> None:
            """Succeeds."""

        @app.task(name="fails", shared=False)
        def _fails() -> None:
            raise KeyError

        @app.task(name="ignored", shared=False)
        def _ignored() -> None:
            raise Ignore

        @app.task(name="requeued", shared=False, acks_late=True)
        def _requeued() -> None:
            raise Reject("no", requeue=True)

        @app.task(name="dropped", shared=False)
        def _dropped() -> None:
            raise Reject("no", requeue=False)

        @app.task(name="again", bind=True, shared=False, max_retries=1)
        def _again(self: Any) -> None:
            raise self.retry(countdown=0)

        yield app


@pytest.fixture
def told(app: Celery) -> Iterator[MemorySink]:
    """What an instrumented process tells."""
    sink = MemorySink()
    found = instrument(app, sink)
    yield sink
    found.remove()


def run(app: Celery, name: str) -> None:
    """Run a task at once, and tell what it was."""
    app.tasks[name].apply(throw=False)
    assert Instrument.installed
    Instrument.installed.flush()


@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("ok", "succeeded"),
        ("fails", "failed"),
        ("ignored", "unreported"),
        ("requeued", "rejected"),
        ("dropped", "failed" if FINAL_REJECTION_FAILS else "unreported"),
    ],
)
def test_an_end_is_told_without_a_broker(
    app: Celery, told: MemorySink, name: str, metric: str
) -> None:
    """Exactly one end for each start; no worker is told of, for there is none."""
    run(app, name)

    ends = ("succeeded", "failed", "retried", "revoked", "rejected", "unreported")
    assert 1 == told.counter("task", name, "started")
    assert {metric: 1} == {
        end: told.counter("task", name, end) for end in ends if told.counter("task", name, end)
    }
    assert not [s for batch in told.batches for s, _ in batch.counters if s.family == "worker"]


def test_retries_are_told(app: Celery, told: MemorySink) -> None:
    """Each attempt by itself."""
    run(app, "again")

    assert 2 == told.counter("task", "again", "started")
    assert 1 == told.counter("task", "again", "retried")
    assert 1 == told.counter("exception", "MaxRetriesExceededError", "failed")
    timing = told.timer("task", "again", "runtime")
    assert timing
    assert 2 == timing.count


def test_a_publication_is_told_and_stamped(app: Celery, told: MemorySink) -> None:
    """By the queue's name; the header says when, and where to."""
    with app.connection() as connection:
        app.send_task("far.away", queue="mails", connection=connection)
        message = connection.SimpleQueue("mails").get(block=False)
    assert Instrument.installed
    Instrument.installed.flush()

    sent, queue = message.headers[HEADER]
    assert "mails" == queue
    assert isinstance(sent, float)
    assert 1 == told.counter("task", "far.away", "sent")
    assert 1 == told.counter("queue", "mails", "sent")


@pytest.mark.parametrize("stamp", [None, "x", 7, [], ["soon", 7], [[]] * 9, {"a": 1}])
def test_whatever_a_header_holds(app: Celery, told: MemorySink, stamp: Any) -> None:
    """Anybody may send one: at worst a time is missing."""
    app.tasks["ok"].apply(headers={HEADER: stamp}, throw=True)
    task = app.tasks["ok"]
    task.push_request(id="u", hostname="w@h", **{HEADER: stamp})
    try:
        assert Instrument.installed
        for signal, receiver in Instrument.installed._receivers:
            if signal.name in ("task_prerun", "task_success"):
                receiver(sender=task, task=task)
        Instrument.installed.flush()
    finally:
        task.pop_request()

    assert 2 == told.counter("task", "ok", "succeeded")


def test_no_fault_of_ours_reaches_a_task(
    app: Celery, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor a client; it is told once, in the log."""

    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    found = instrument(app, MemorySink())
    monkeypatch.setattr(Turnstile, "note", fail)
    try:
        assert app.tasks["ok"].apply(throw=True).successful()
        app.send_task("far.away")
    finally:
        found.remove()

    assert 1 == capsys.readouterr().err.count("instrument_failed")


def test_one_end_from_outside_is_one(app: Celery, told: MemorySink) -> None:
    """Celery 5.7 tells a hard time limit twice; a new receipt of that task begins anew."""
    from_outside = type("TimeLimitExceeded", (Exception,), {})()
    request = type("R", (), {"id": "u", "name": "ok", "hostname": "w@h", "request_dict": {}})()
    found = Instrument.installed
    assert found
    for _ in range(2):
        found._received(request)
        for _ in range(2):
            found._failed(app.tasks["ok"], "u", from_outside)
    found.flush()

    assert 2 == told.counter("exception", "TimeLimitExceeded", "failed")
    assert 2 == told.counter("worker", "w@h", "failed")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"sink": "nonsense"}, "sinks: 'nonsense' is no address"),
        ({"sink": "graphite://h"}, "sink: graphite://h: each process would overwrite"),
        ({"sink": ["statsd://h", "graphite+pickle://h"]}, "sink: graphite.pickle://h: each"),
        ({"flush_interval": 0}, "flush_interval: 0 is no length of time"),
    ],
)
def test_what_cannot_be_is_told(app: Celery, arguments: dict[str, Any], problem: str) -> None:
    """At once, in one sentence, and nothing is connected."""
    with pytest.raises(ConfigError, match=problem):
        instrument(app, **arguments)
    assert Instrument.installed is None


def test_what_is_no_app_is_told() -> None:
    """A common mistake: its name."""
    with pytest.raises(ConfigError, match="app: str is no Celery app; give the app itself"):
        instrument("proj.celery")  # type: ignore[arg-type]


def test_twice_is_told(app: Celery, told: MemorySink) -> None:
    """Else each task would count twice."""
    with pytest.raises(ConfigError, match="instrumented already; call it once"):
        instrument(app)
    assert [] == told.batches


def test_once_removed_it_hears_nothing(app: Celery) -> None:
    """Celery's signals have no receiver of ours any more."""
    sink = MemorySink()
    instrument(app, sink).remove()
    app.tasks["ok"].apply()

    assert 0 == sink.counter("task", "ok", "started")


def test_the_package_has_it() -> None:
    """Loaded when it is asked for."""
    assert celery_statsd.instrument is instrument
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = celery_statsd.nonsense
