"""A real Celery worker, in a thread of this process, with a pool of threads."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery import Celery

HOSTNAME = "worker1@shop"

START_WITHIN = 5.0
"""Seconds."""

STOP_WITHIN = 3.0
"""Seconds; it takes about one, in which the thread of its timer wakes."""


class Worker(threading.Thread):
    """Works for `app` from `start` to `stop`. There can be one in a process at a time."""

    def __init__(self, app: Celery, concurrency: int = 4) -> None:
        super().__init__(name="demo worker", daemon=True)
        self._app = app
        self._ready = threading.Event()
        app.set_default()  # the pool's threads look there for the app of a task
        self._controller: Any = app.WorkController(
            hostname=HOSTNAME,
            pool="threads",
            concurrency=concurrency,
            without_gossip=True,
            without_mingle=True,
            ready_callback=lambda _: self._ready.set(),
        )

    def run(self) -> None:
        """Work until `stop`."""
        self._controller.start()

    def wait_until_ready(self) -> bool:
        """Whether it came up in time."""
        return self._ready.wait(START_WITHIN)

    def stop(self) -> bool:
        """Let it end as by SIGTERM; whether it did in time.

        The pool is stopped first, which waits for the tasks: before 5.7 a worker closes the way
        of its events before it waits, and the last ends would stay untold.
        """
        if self.is_alive():
            self._controller.pool.stop()
            self._app.control.shutdown(destination=[HOSTNAME])
            self.join(STOP_WITHIN)
        return not self.is_alive()


@contextmanager
def silence() -> Iterator[None]:
    """Nothing of what Celery would log: the workload's failures are not failures of the demo."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
