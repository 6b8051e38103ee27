"""Makes frames of batches: what is drawn, of what came."""

from dataclasses import replace

from celery_statsd.top.ear import Ear, Workers
from celery_statsd.top.facts import Facts
from celery_statsd.top.frame import Frame, Tab
from celery_statsd.top.history import History

ALL = "all tasks"
"""What all of them together are called."""


class Reel:
    """Makes frames of batches, over a window of so many seconds. `host` is the entity of what the
    pipeline says of itself."""

    def __init__(self, window: float, host: str, began: float) -> None:
        self._history = History(window)
        self._host = host
        self._began = began

    def frame(self, ear: Ear, now: float, said: str) -> Frame:
        """What is known at `now` (epoch seconds)."""
        batch, workers = ear.batch(now)
        self._history.take(batch)
        self._history.forget("worker", workers)
        return Frame(
            time=now,
            began=self._began,
            place=ear.place,
            connected=ear.connected,
            total=replace(self._history.facts("cluster", "all"), entity=ALL),
            agent=self._history.facts("agent", self._host),
            tables={
                Tab.TASKS: self._facts("task"),
                Tab.WORKERS: self._workers(workers),
                Tab.QUEUES: self._facts("queue"),
            },
            probed=ear.probed,
            said=said,
        )

    def _facts(self, family: str) -> tuple[Facts, ...]:
        return tuple(
            self._history.facts(family, entity) for entity in self._history.entities(family)
        )

    def _workers(self, workers: Workers) -> tuple[Facts, ...]:
        return tuple(
            self._history.facts("worker", name, str(told["state"]))
            for name, told in workers.items()
        )
