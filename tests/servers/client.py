"""The client of the workload: publishes a mix of everything, waits until all of it is over.

Run as `python -m tests.servers.client ROUNDS WORKERS` with the workload's two variables set.
Both pools must be there: a prefork worker on both queues, and any other on ANY.
"""

import os
import sys

from celery import Signature, chain, group, uuid

from tests.servers import workload as tasks
from tests.servers.process import wait_until
from tests.servers.truth import Truth, lines

PACE = (0.0, 0.0, 0.0, 0.001, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1)
"""Seconds the ten plain tasks of a round take."""

PLAIN: tuple[Signature, ...] = (
    *(tasks.create.si(seconds) for seconds in PACE),
    *(tasks.fail.si(kind) for kind in tasks.FAILURES),
    *(task.si(n) for task in (tasks.send, tasks.transfer) for n in range(tasks.RETRIES + 2)),
    tasks.report.si().set(countdown=0.3),
    *(task.si() for task in (tasks.ignore, tasks.reject, tasks.reject_early, tasks.swap)),
    chain(tasks.create.si(0.0), tasks.create.si(0.01), tasks.report.si()),
    group(tasks.create.si(seconds) for seconds in (0.0, 0.01, 0.0)),
    tasks.hard.si().set(queue=tasks.FORK),
    tasks.soft.si().set(queue=tasks.FORK),
)
"""What needs nothing but to be sent."""

GONE = "shop.gone"
"""A task no worker has."""


def run(rounds: int, workers: int, seconds: float = 60) -> None:
    """Publish `rounds` rounds to `workers` workers and see them through.

    Raises TimeoutError when not every message has met its end within `seconds`.
    """
    for _ in range(rounds):
        # First, into idle workers: RabbitMQ drops what expires while it still waits there.
        _expire()
        _revoke_held(workers)
        _revoke_unsent(workers)
    encodes = [_start_encode() for _ in range(rounds)]
    for _ in range(rounds):
        for signature in PLAIN:
            signature.apply_async()
        tasks.app.send_task(GONE)
    for task_id in encodes:
        _wait_for("entered", task_id)
        tasks.app.control.revoke(task_id, terminate=True)
    wait_until(lambda: Truth.read(_path()).over, seconds, "every message has met its end")


def _expire() -> None:
    """Held by a worker beyond its time: revoked as expired."""
    _wait_for("received", tasks.never.apply_async(countdown=1.2, expires=0.9).id)


def _revoke_held(workers: int) -> None:
    """Revoked while a worker holds it for its ETA."""
    task_id = tasks.never.apply_async(countdown=1.5).id
    _wait_for("received", task_id)
    _revoke(task_id, workers)


def _revoke_unsent(workers: int) -> None:
    """Known to all workers as revoked before it is sent: it ends without being received."""
    task_id = uuid()
    _revoke(task_id, workers)
    tasks.never.apply_async(task_id=task_id)


def _start_encode() -> str:
    """Something long; ended by terminate."""
    return str(tasks.encode.apply_async((60,), queue=tasks.FORK).id)


def _revoke(task_id: str, workers: int) -> None:
    """Return when all workers have said that they know."""
    replies = tasks.app.control.revoke(task_id, reply=True, limit=workers, timeout=10)
    if len(replies) != workers:
        raise TimeoutError(f"{len(replies)} of {workers} workers answered: {replies}")


def _wait_for(what: str, task_id: str) -> None:
    def told() -> bool:
        return any(row["what"] == what and row.get("id") == task_id for row in lines(_path()))

    wait_until(told, 20, f"{task_id} is {what}")


def _path() -> str:
    return os.environ[tasks.TRUTH]


if __name__ == "__main__":
    run(int(sys.argv[1]), int(sys.argv[2]))
