"""What became of the work, as those who do it tell: the other side of the comparison.

It is kept from Celery's signals, which run inside the publisher and the worker, and owes nothing
to events. Celery calls them from many threads.
"""

import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any, Self

from celery import signals

ENDS = {"SUCCESS": "succeeded", "FAILURE": "failed", "RETRY": "retried"}
"""A task's state after its body (celery.states) -> the metric that counts it."""


class Truth:
    """Counts of each task, under the names of the metrics; listens while it is entered."""

    def __init__(self) -> None:
        self._counts: dict[str, Counter[str]] = {}
        self._held: Counter[str] = Counter()
        self._changed = threading.Condition()
        self._listeners = (
            (signals.after_task_publish, self._published),
            (signals.task_received, self._received),
            (signals.task_prerun, self._started),
            (signals.task_postrun, self._ended),
            (signals.task_revoked, self._revoked),
        )

    def __enter__(self) -> Self:
        for signal, listener in self._listeners:
            signal.connect(listener, weak=False)
        return self

    def __exit__(self, *_: object) -> None:
        for signal, listener in self._listeners:
            signal.disconnect(listener)

    def counts(self) -> Mapping[str, Mapping[str, int]]:
        """Task -> metric -> count."""
        with self._changed:
            return {task: dict(counts) for task, counts in self._counts.items()}

    @property
    def unfinished(self) -> int:
        """How much of what was sent has not come to its end."""
        with self._changed:
            return self._held.total() + sum(map(_waiting, self._counts.values()))

    def wait_until_done(self, timeout: float) -> bool:
        """Whether, within `timeout` seconds, all that was sent came to its end.

        True for good only once nobody publishes but the tasks themselves.
        """
        with self._changed:
            return self._changed.wait_for(self._done, timeout)

    def _done(self) -> bool:
        # A retry is sent before its attempt ends, so there is no moment when neither is open.
        return not self._held and not any(map(_waiting, self._counts.values()))

    def _published(self, sender: str, **_: Any) -> None:
        self._add(sender, "sent")

    def _received(self, request: Any, **_: Any) -> None:
        self._add(request.name, "received", request.id, 1)

    def _started(self, sender: Any, **_: Any) -> None:
        self._add(sender.name, "started")

    def _ended(self, sender: Any, task_id: str, state: str, **_: Any) -> None:
        self._add(sender.name, ENDS.get(state, "other"), task_id, -1)

    def _revoked(self, sender: Any, request: Any, **_: Any) -> None:
        """One that was never received was revoked, or had expired, on arrival."""
        with self._changed:
            held = self._held[request.id] > 0
            if not held:
                self._add(sender.name, "on_arrival")
            self._add(sender.name, "revoked", request.id, -held)

    def _add(self, task: str, metric: str, uuid: str = "", held: int = 0) -> None:
        """Count one `metric`; `held` is by how many more of `uuid` the worker holds."""
        with self._changed:
            self._counts.setdefault(task, Counter())[metric] += 1
            if held:
                self._held[uuid] += held
                if not self._held[uuid]:
                    del self._held[uuid]
            self._changed.notify_all()


def _waiting(counts: Mapping[str, int]) -> int:
    """Publications no worker has taken; for a moment it may be one less than that."""
    return counts["sent"] - counts["received"] - counts["on_arrival"]
