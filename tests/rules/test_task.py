"""What is said of a task: its counters, and how its times are made."""

import pytest

from celery_statsd.events import OUTCOMES, Moment
from celery_statsd.metric import Kind
from celery_statsd.rules import task
from tests.bodies import NOON, Event, Process, client, iso
from tests.scene import Scene

WORKER, CLIENT = Process("w1@web1", 101), client(host="app1")


def spoken(*told: Event) -> dict[str, list[float]]:
    """What the rules say, in seconds and numbers, by metric: those that need a moment."""
    scene = Scene()
    for event in told:
        scene.now = event["timestamp"]
        scene.tell(event)
    scene.wait(2)
    values: dict[str, list[float]] = {}
    for change in scene.changes:
        for rule in task.RULES:
            needs = sum(moment.bit for moment in rule.needs)
            if change.news in rule.needs and not needs & ~change.told and rule.kind is Kind.TIMER:
                for seconds in rule.times((change.of,)):
                    values.setdefault(rule.metric, []).append(seconds)
    return values


def test_every_stage_and_outcome_has_its_counter():
    """Where a worker tells it, by worker too; a publication has none."""
    counters = {r.metric: r for r in task.RULES if r.kind is Kind.COUNTER and len(r.families) > 1}
    for moment in (Moment.RECEIVED, Moment.ON_ARRIVAL, Moment.FOUND, Moment.STARTED, *OUTCOMES):
        assert (task.ALL, (moment,)) == (
            counters[moment.word].families,
            counters[moment.word].needs,
        )
    for moment in (Moment.EXPIRED, Moment.UNSEEN):
        assert task.UNSENT == counters[moment.word].families
    assert (*task.UNSENT, "queue") == counters["sent"].families


def test_the_times_of_a_usual_task():
    """wait from the sending, prefetch from the receipt, runtime as the child says."""
    values = spoken(
        CLIENT.sent("a", NOON),
        WORKER.received("a", NOON + 1),
        WORKER.started("a", NOON + 3),
        WORKER.succeeded("a", NOON + 9, runtime=5.5),
    )
    assert {"wait": [3.0], "prefetch": [2.0], "runtime": [5.5]} == values


def test_the_times_do_not_depend_on_what_comes_first():
    """A rule speaks when the last of its moments becomes known."""
    told = (
        WORKER.succeeded("a", NOON + 9, runtime=5.5),
        WORKER.started("a", NOON + 3),
        WORKER.received("a", NOON + 1),
        CLIENT.sent("a", NOON),
    )
    scene = {"wait": [3.0], "prefetch": [2.0], "runtime": [5.5]}
    assert scene == {name: [round(v, 6) for v in values] for name, values in spoken(*told).items()}


@pytest.mark.parametrize("end", ["failed", "retried"])
def test_ends_without_a_runtime_are_timed_by_their_start(end):
    """`failed` and `retried` carry none."""
    values = spoken(
        WORKER.received("a", NOON),
        WORKER.started("a", NOON + 1),
        getattr(WORKER, end)("a", NOON + 4),
    )
    assert [3.0] == values["runtime"]


@pytest.mark.parametrize("end", ["revoked", "rejected"])
def test_other_ends_have_no_runtime(end):
    """How long a task ran that was stopped tells nothing of the task."""
    values = spoken(
        WORKER.received("a", NOON),
        WORKER.started("a", NOON + 1),
        getattr(WORKER, end)("a", NOON + 4),
    )
    assert "runtime" not in values


def test_a_success_that_does_not_say_has_no_runtime():
    """A terminated greenlet, a child that was lost after its result."""
    values = spoken(
        WORKER.received("a", NOON),
        WORKER.started("a", NOON),
        WORKER.succeeded("a", NOON + 1, runtime=None),
    )
    assert "runtime" not in values


def test_a_planned_eta_is_not_waiting():
    """With an ETA, wait and prefetch begin there; lateness is how much later it started."""
    values = spoken(
        CLIENT.sent("a", NOON, eta=iso(NOON + 10)),
        WORKER.received("a", NOON + 1, eta=iso(NOON + 10)),
        WORKER.started("a", NOON + 12),
    )
    assert {"wait": [2.0], "prefetch": [2.0], "lateness": [2.0]} == values


def test_an_eta_that_was_past_at_the_receipt_counts_from_there():
    """A late receipt is not the worker's lateness."""
    values = spoken(
        CLIENT.sent("a", NOON, eta=iso(NOON + 1)),
        WORKER.received("a", NOON + 8, eta=iso(NOON + 1)),
        WORKER.started("a", NOON + 9),
    )
    assert {"wait": [8.0], "prefetch": [1.0], "lateness": [1.0]} == values


def test_a_wait_between_two_clocks_is_corrected():
    """The worker's clock is an hour ahead: what it measures alone stays, what it measures against
    the sender is put right."""
    scene, worker = Scene(now=NOON), Process("w1@web1", 101)
    ahead = 3600.0
    scene.tell(CLIENT.sent("a", NOON), worker.received("a", NOON + ahead))
    scene.now += 2
    scene.tell(worker.started("a", NOON + 2 + ahead))
    (attempt,) = {change.of for change in scene.changes if change.news is Moment.STARTED}
    (wait,) = [rule for rule in task.RULES if rule.metric == "wait"]
    assert [2.0] == wait.times([scene.changes[-1].of])
    assert -ahead == attempt.apart


def test_without_a_publication_nothing_waited():
    """Nobody knows since when."""
    values = spoken(WORKER.received("a", NOON), WORKER.started("a", NOON + 3))
    assert {"prefetch": [3.0]} == values
