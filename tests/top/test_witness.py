"""What is remembered of single tasks, and what is not."""

from collections.abc import Iterable

import pytest

from celery_statsd.events import LONGEST_BODY
from celery_statsd.top.witness import (
    LONGEST_TEXT,
    MOST_CLASSES,
    MOST_FAILURES,
    MOST_TASKS,
    Witness,
    cause,
    raised_at,
)
from tests.bodies import NOON, Event, Process, body

W1, W2 = Process("w1@web1", 101), Process("w2@web2", 102)

TRACEBACK = """Traceback (most recent call last):
  File "/x/site-packages/celery/app/trace.py", line 477, in trace_task
    R = retval = fun(*args, **kwargs)
  File "/srv/shop/tasks.py", line 14, in pay
    raise CardDeclined("no money")
shop.CardDeclined: no money
"""

RETRY = "Retry(Retry(...), GatewayTimeout('within 5 s, or so'), 0.5)"


def heard(*events: Event, most: int = 100) -> Witness:
    """A witness that was told these, each in a message of its own."""
    witness = Witness(most)
    for event in events:
        witness.hear(body(event))
    return witness


def runs(witness: Witness, worker: Process = W1) -> list[str]:
    """What runs on a worker, the longest first."""
    return [one.uuid for one in witness.running(worker=worker.hostname)]


def test_what_runs_is_what_was_started_and_has_not_ended() -> None:
    """The longest first; what is only received does not run."""
    witness = heard(
        *(W1.received(uuid, NOON) for uuid in ("a", "b", "c", "d")),
        *(W1.started(uuid, at) for uuid, at in (("b", NOON + 3), ("a", NOON + 5), ("c", NOON + 1))),
        W1.succeeded("c", NOON + 6),
    )
    assert ["b", "a"] == runs(witness)
    assert ["b", "a"] == [one.uuid for one in witness.running(task="shop.pay")]
    assert [] == witness.running(task="shop.ship")
    assert NOON + 3 == witness.running(task="shop.pay")[0].since


@pytest.mark.parametrize(
    "end",
    [
        W1.succeeded("a", NOON),
        W1.failed("a", NOON),
        W1.retried("a", NOON),
        W1.revoked("a", NOON),
        W1.rejected("a", NOON),
        W1.cancelled("a", NOON),
    ],
    ids=lambda event: event["type"],
)
def test_each_end_ends_it(end: Event) -> None:
    """Also one in a list with others."""
    witness = heard(W1.received("a", NOON), W1.started("a", NOON))
    witness.hear(body(W1.received("b", NOON), W1.started("b", NOON), end))
    assert ["b"] == runs(witness)


def test_what_ends_without_a_word_is_over_when_the_worker_runs_nothing() -> None:
    """Its heartbeat tells; what began just before, or after, may not be counted there yet."""
    witness = heard(
        *(e for uuid in "ab" for e in (W1.received(uuid, NOON), W1.started(uuid, NOON))),
        W1.beat(NOON + 2, 2, active=2),
        W1.echo(NOON + 3),
    )
    assert ["a", "b"] == runs(witness)
    for event in (W1.started("c", NOON + 3.99), W1.beat(NOON + 4, 3, active=0)):
        witness.hear(body(event))
    assert ["c"] == runs(witness)


def test_a_failure_is_kept_with_its_class_its_words_and_its_place() -> None:
    """Under the name that the receipt told."""
    witness = heard(
        W1.received("a", NOON), W1.started("a", NOON),
        W1.failed("a", NOON + 1, "CardDeclined('no money')", TRACEBACK),
    )  # fmt: skip
    (failure,) = witness.last(task="shop.pay")
    assert [("CardDeclined", 1)] == witness.classes("shop.pay")
    assert (NOON + 1, "w1@web1", False) == (failure.at, failure.worker, failure.retried)
    assert ("CardDeclined", "CardDeclined('no money')") == (failure.error, failure.text)
    assert 'File "/srv/shop/tasks.py", line 14, in pay' == failure.where
    assert [failure] == witness.last(worker="w1@web1")
    assert ([], []) == (witness.last(worker="w2@web2"), witness.last(task="shop.ship"))


@pytest.mark.parametrize("other", [W1, W2], ids=["same worker", "another worker"])
def test_the_next_attempt_is_received_before_the_retry_is_told(other: Process) -> None:
    """The one that ran is over, under its name; the next one waits, and then runs."""
    witness = heard(W1.received("a", NOON), W1.started("a", NOON), other.received("a", NOON + 1))
    event = W1.says("task-retried", NOON + 2, uuid="a", exception=RETRY, traceback="")
    witness.hear(body(event))
    assert [("GatewayTimeout", 1)] == witness.classes("shop.pay")
    assert witness.last(task="shop.pay")[0].retried
    assert ([], []) == (runs(witness, W1), runs(witness, W2))
    witness.hear(body(other.started("a", NOON + 3)))
    assert ["a"] == runs(witness, other)


def test_a_second_end_is_no_second_failure() -> None:
    """A hard time limit is told twice; a task that comes again may fail again."""
    once = (W1.received("a", NOON), W1.started("a", NOON), W1.failed("a", NOON + 1))
    witness = heard(*once, W1.failed("a", NOON + 1))
    assert [("KeyError", 1)] == witness.classes("shop.pay")
    for event in (W2.received("a", NOON + 2), W2.failed("a", NOON + 3)):
        witness.hear(body(event))
    assert ([("KeyError", 2)], []) == (witness.classes("shop.pay"), witness.classes("unknown"))


def test_what_was_never_received_here_is_unknown() -> None:
    """A task that ran before the view began has no name, but runs."""
    witness = heard(W1.started("a", NOON), W1.failed("b", NOON))
    assert [("KeyError", 1)] == witness.classes("unknown")
    assert ["unknown"] == [one.name for one in witness.running(worker="w1@web1")]


def test_the_dead_run_nothing() -> None:
    """A worker that is gone, and one whose name another process has taken."""
    both = [
        e for w in (W1, W2) for e in (w.received(w.hostname, NOON), w.started(w.hostname, NOON))
    ]
    witness = heard(*both)
    witness.bury(["w1@web1"])
    assert (["w1@web1"], []) == (runs(witness, W1), runs(witness, W2))
    witness = heard(*both, W1.online(NOON + 1))
    assert ["w1@web1"] == runs(witness, W1)  # the same process has only come back
    witness = heard(*both, Process("w1@web1", 999).online(NOON + 1))
    assert ([], ["w2@web2"]) == (runs(witness, W1), runs(witness, W2))


def test_memory_is_bounded() -> None:
    """Open tasks, failures of a task, their classes and texts, and tasks that fail: the newest
    stay."""
    witness = heard(*(W1.received(str(n), NOON + n) for n in range(150)), most=100)
    assert 100 == len(witness)
    starts = (W1.started(str(n), NOON + n) for n in range(150))
    witness = heard(*starts, W2.started("w2", NOON), most=100)
    witness.thin_out()
    assert (100, ["w2"]) == (len(witness), runs(witness, W2))
    assert ("51", "149") == (runs(witness)[0], runs(witness)[-1])
    witness.thin_out()
    assert 100 == len(witness)
    witness = heard(*_failures("shop.pay", MOST_CLASSES + 5))
    assert MOST_CLASSES + 1 == len(witness.classes("shop.pay"))
    assert ("other", 5) in witness.classes("shop.pay")
    last = witness.last(task="shop.pay")
    assert (MOST_FAILURES, NOON + MOST_CLASSES + 4) == (len(last), last[0].at)
    assert LONGEST_TEXT == max(len(failure.text) for failure in last)
    witness = heard(*(e for n in range(MOST_TASKS + 2) for e in _failures(f"t{n}", 1)))
    assert ([], 1) == (witness.classes("t1"), len(witness.classes("t2")))


def _failures(name: str, number: int) -> Iterable[Event]:
    for n in range(number):
        yield W1.received(f"{name}-{n}", NOON + n, name)
        yield W1.failed(f"{name}-{n}", NOON + n, f"Error{n}('{'x' * 999}')")


@pytest.mark.parametrize(
    "junk",
    [
        b"", b"\x00", b"[", b'"text"', b"7", b"[1]", b"[[]]", b'{"type": 3}', b'{"uuid": null}',
        b'{"type": "task-started", "uuid": ["a"]}', b"[" * 200_000, b" " * (LONGEST_BODY + 1),
        b'{"type": "task-failed", "exception": "\\ud800"}', b"{}",
    ],
    ids=lambda junk: repr(junk[:12]),
)  # fmt: skip
def test_what_is_no_event_means_nothing(junk: bytes) -> None:
    """The pipeline counts it; here nothing is raised, and nothing is kept."""
    witness = Witness()
    witness.hear(junk)
    assert 0 == len(witness)


@pytest.mark.parametrize(
    ("exception", "told"),
    [
        (RETRY, "GatewayTimeout('within 5 s, or so')"),
        ("Retry(Retry(...), None, 0.5)", "None"),
        ("KeyError('k')", "KeyError('k')"),
        ("", ""),
        ("Retry(Retry(...), " + "x" * 100_000, "Retry(Retry(...), " + "x" * 100_000),
    ],
)
def test_a_retry_has_a_cause(exception: str, told: str) -> None:
    """What it was asked for."""
    assert told == cause(exception)


def test_a_place_is_the_last_that_is_not_celerys() -> None:
    """Unless there is none but Celery's; none at all is no place."""
    retried = (
        TRACEBACK.rpartition("shop.")[0]
        + '  File "/x/site-packages/celery/app/task.py", line 7, in retry\n'
    )
    only = 'Traceback:\n  File "/x/site-packages/celery/app/trace.py", line 7, in trace\n'
    assert 'File "/srv/shop/tasks.py", line 14, in pay' == raised_at(retried)
    assert 'File "/x/site-packages/celery/app/trace.py", line 7, in trace' == raised_at(only)
    assert ("", "") == (raised_at(""), raised_at("no traceback"))
    assert LONGEST_TEXT == len(raised_at('T\n  File "' + "x" * 1000))
