"""`celery -A proj events -c celery_statsd.camera.Camera --frequency 10`: the pipeline in a camera.

A camera of Celery's is shown the state of the cluster from time to time (celery.events.snapshot).
A state is not enough for exact counts, so this one takes the place of `state.event`, which is told
each event, and keeps no state at all. Flushes come at multiples of the frequency, as in the agent.

What it cannot see, because Celery's receiver does not show it: bodies that are no events (they end
`celery events`), a `task-sent` that came twice (its clock is overwritten), and that the connection
was lost: workers that were not heard meanwhile are told to be down, and what was missed is counted
by the loss meter only. It looks at no queues, and keeps no journal.
"""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from celery.events.snapshot import Polaroid
from celery.utils.time import utcoffset

from celery_statsd.agent import FAREWELL, TICK, beat_after
from celery_statsd.blueprint import pipeline_of, scope_of
from celery_statsd.config import load
from celery_statsd.log import Log
from celery_statsd.outlet import Outlet
from celery_statsd.sinks import sink_from

HOUR = 3600.0
"""Seconds in the unit of `utcoffset`."""


class Camera(Polaroid):  # type: ignore[misc]
    """Sends what the agent would; its settings are those of the environment and the file.

    `freq` is the flush interval in seconds. Raises ConfigError for settings that are wrong.
    """

    def __init__(self, state: Any, freq: float = 1.0, **options: Any) -> None:
        super().__init__(state, freq=freq, **options)
        settings = load({}, os.environ, None, _nothing_of)
        settings = replace(settings, flush_interval=freq, partitions=1, partition=None)
        log = Log(settings.log_level, settings.log_format)
        self._scope = scope_of(settings)
        self._pipeline = pipeline_of(settings)
        self._outlets = [Outlet(sink_from(one), log, _nobody_asks) for one in settings.sinks]
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._clockwork = threading.Thread(target=self._keep_time, name="camera", daemon=True)
        state.event = self.hear

    def install(self) -> None:
        """Begin. SIGTERM ends it from now on as Ctrl-C does: with a farewell."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, _leave)
        self._pipeline.begin(time.time())
        for outlet in self._outlets:
            outlet.start()
        self._clockwork.start()

    def hear(self, event: Mapping[str, Any]) -> None:
        """Take in an event as Celery's receiver gives it. Never raises."""
        hostname = event.get("hostname")
        if isinstance(hostname, str) and not self._scope.hears(hostname):
            return
        now = time.time()
        with self._lock:
            try:
                self._pipeline.feed(json.dumps(as_sent(event), default=repr).encode(), now)
            except Exception:  # a fault of ours, or keys that are no text: it costs this event
                self._pipeline.ledger.write_off("fault")

    def capture(self) -> None:
        """Flush now."""
        self._flush(last=False)

    def cancel(self) -> None:
        """Say farewell, and wait until the sinks have it, some seconds at most."""
        self._over.set()
        self._clockwork.join()
        self._flush(last=True)
        give_up_at = time.monotonic() + FAREWELL
        for outlet in self._outlets:
            outlet.finish()
        for outlet in self._outlets:
            outlet.join(max(0.0, give_up_at - time.monotonic()))

    def _keep_time(self) -> None:
        due = beat_after(time.time() + self.freq, self.freq)
        while not self._over.wait(min(TICK, max(0.0, due - time.time()))):
            now = time.time()
            if due <= now:
                self.capture()
            else:
                with self._lock:
                    self._pipeline.tick(now)
            if not now < due <= now + 2 * self.freq:
                due = beat_after(now, self.freq)

    def _flush(self, last: bool) -> None:
        with self._lock:
            now = time.time()
            if last:
                self._pipeline.settle(now)
            batch = self._pipeline.flush(now, last)
        if last:  # the beat before has a flush already, and Graphite keeps one value for each
            batch = replace(batch, time=beat_after(now, self.freq))
        for outlet in self._outlets:
            outlet.put(0, batch)


def as_sent(event: Mapping[str, Any]) -> dict[str, Any]:
    """`event` with the time it was sent with, which Celery's receiver has shifted by the difference
    of the time zones (celery.utils.time.adjust_timestamp), though it is a true epoch."""
    stamp, offset = event.get("timestamp"), event.get("utcoffset")
    if not isinstance(stamp, float | int) or not isinstance(offset, float | int):
        return dict(event)
    return {**event, "timestamp": stamp + (offset - utcoffset()) * HOUR}


def _leave(*_: object) -> None:
    sys.exit(0)


def _nothing_of(path: str) -> dict[str, Any]:
    """The app is Celery's business here: it listens."""
    del path
    return {}


def _nobody_asks(sink: str, number: int) -> None:
    """Nothing follows from a delivery: there is no journal."""
    del sink, number
