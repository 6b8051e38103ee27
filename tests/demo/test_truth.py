"""The truth: what each of Celery's signals adds, and when all is done."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery, signals
from celery.app.task import Context

from celery_statsd.demo.truth import Truth

NAME = "shop.tasks.pay"


def pay() -> None:
    """A task that is never run."""


class Work:
    """Celery's signals about tasks of one name, as the publisher and the worker send them."""

    def __init__(self) -> None:
        app = Celery("shop", broker="memory://", set_as_current=False)
        self._task: Any = app.task(name=NAME, lazy=False, shared=False)(pay)

    def publish(self) -> None:
        signals.after_task_publish.send(sender=NAME)

    def receive(self, uuid: str) -> None:
        signals.task_received.send(sender=self, request=Context(id=uuid, name=NAME))

    def start(self, uuid: str) -> None:
        signals.task_prerun.send(sender=self._task, task_id=uuid)

    def end(self, uuid: str, state: str) -> None:
        signals.task_postrun.send(sender=self._task, task_id=uuid, state=state)

    def revoke(self, uuid: str) -> None:
        signals.task_revoked.send(sender=self._task, request=Context(id=uuid))

    def run(self, uuid: str, state: str) -> None:
        self.receive(uuid)
        self.start(uuid)
        self.end(uuid, state)


@pytest.fixture
def work() -> Work:
    """Signals to send."""
    return Work()


@pytest.fixture
def truth() -> Iterator[Truth]:
    """A truth that listens."""
    with Truth() as truth:
        yield truth


@pytest.mark.parametrize(
    ("state", "metric"),
    [
        ("SUCCESS", "succeeded"),
        ("FAILURE", "failed"),
        ("RETRY", "retried"),
        ("IGNORED", "other"),
        ("REJECTED", "other"),
    ],
)
def test_each_state_has_its_metric(truth: Truth, work: Work, state: str, metric: str) -> None:
    """A state that is no end of the workload's is not passed over."""
    work.publish()
    work.run("1", state)
    assert {NAME: {"sent": 1, "received": 1, "started": 1, metric: 1}} == truth.counts()
    assert truth.wait_until_done(0)


def test_a_revocation_before_the_receipt_is_an_arrival(truth: Truth, work: Work) -> None:
    """It never was received; one that is held when it is revoked was."""
    work.publish()
    work.revoke("1")
    work.publish()
    work.receive("2")
    assert 1 == truth.unfinished
    work.revoke("2")
    assert {NAME: {"sent": 2, "on_arrival": 1, "received": 1, "revoked": 2}} == truth.counts()
    assert 0 == truth.unfinished


def test_a_retry_is_open_until_its_last_attempt_ends(truth: Truth, work: Work) -> None:
    """The next attempt is sent and received, under the same id, before this one ends."""
    work.publish()
    work.receive("1")
    work.start("1")
    work.publish()
    work.receive("1")
    assert not truth.wait_until_done(0)
    work.end("1", "RETRY")
    assert not truth.wait_until_done(0)
    assert 1 == truth.unfinished
    work.start("1")
    work.end("1", "SUCCESS")
    assert truth.wait_until_done(0)


def test_what_nobody_has_received_is_not_done(truth: Truth, work: Work) -> None:
    """It may still come."""
    work.publish()
    assert not truth.wait_until_done(0)
    assert 1 == truth.unfinished


def test_the_last_end_wakes_who_waits_for_it(truth: Truth, work: Work) -> None:
    """The wait ends with it, not with its timeout."""
    work.publish()
    waiter: list[bool] = []
    thread = threading.Thread(target=lambda: waiter.append(truth.wait_until_done(60)))
    thread.start()
    work.run("1", "SUCCESS")
    thread.join(10)
    assert [True] == waiter


def test_counts_from_many_threads_are_exact(truth: Truth, work: Work) -> None:
    """Celery sends its signals from the thread in which the thing happens."""

    def labour(name: int) -> None:
        for number in range(500):
            work.publish()
            work.run(f"{name}-{number}", "SUCCESS")

    threads = [threading.Thread(target=labour, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {NAME: dict.fromkeys(("sent", "received", "started", "succeeded"), 4000)} == (
        truth.counts()
    )
    assert truth.wait_until_done(0)


def test_it_listens_only_while_it_is_entered(work: Work) -> None:
    """Before and after, nothing is counted, and no listener stays."""
    truth = Truth()
    work.publish()
    with truth:
        work.publish()
    work.publish()
    assert {NAME: {"sent": 1}} == truth.counts()
