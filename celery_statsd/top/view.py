"""The view itself: what listens, what is drawn and what keys do, put together."""

import time
from dataclasses import replace
from functools import partial

from celery_statsd.blueprint import broker_of, host_of, pipeline_of
from celery_statsd.keys import Settings
from celery_statsd.log import Log
from celery_statsd.probes import probe_for
from celery_statsd.source import source_for
from celery_statsd.survey import Survey
from celery_statsd.top.ear import Ear
from celery_statsd.top.frame import Frame
from celery_statsd.top.notes import Notes
from celery_statsd.top.painter import paint
from celery_statsd.top.reel import Reel
from celery_statsd.top.screen import Screen, require_terminal
from celery_statsd.top.state import State, press
from celery_statsd.top.witness import Witness

RESERVOIR = 50
"""Timer values kept of each series between two refreshes: enough for a percentile of a window."""

NEXT_ADDRESS = 6.0
"""Seconds until a broker that does not answer is left for the next one of the list."""

SAID_FOR = 30.0
"""Seconds for which the last line of the log is shown."""

LOOK = 0.2
"""Seconds it waits for a key before it looks whether it is to end."""


class View:
    """All of it, from the first connection to the last key. `interval` and `window` in seconds."""

    def __init__(self, settings: Settings, interval: float, window: float) -> None:
        self._interval = interval
        self._over = False
        self._notes = Notes()
        log = Log(settings.log_level, settings.log_format, self._notes.stream)
        whole = replace(settings, scope="cluster", partitions=1, partition=None)
        self._ear = ear_of(whole, log)
        self._reel = Reel(window, host_of(whole), time.time())

    def run(self) -> None:
        """Show it until `stop`, or until the user has had enough. Raises ConfigError before
        anything is drawn, where nothing can be drawn or heard."""
        require_terminal()
        with self._ear, self._notes.held(), Screen() as screen:
            self._show(screen)

    def stop(self) -> None:
        """Let `run` end soon. May be called from a signal handler or another thread."""
        self._over = True

    def _show(self, screen: Screen) -> None:
        state, frame, due = State(), self._frame(), time.monotonic() + self._interval
        while not (self._over or state.over):
            detail = self._ear.detail(state.tab, state.inside)
            canvas = paint(state, frame, detail, screen.size)
            screen.draw(canvas.lines)
            key = self._key(screen, due)
            if key is not None:
                state = press(state, key, canvas.shown)
            if time.monotonic() >= due and not state.paused:
                frame, due = self._frame(), time.monotonic() + self._interval

    def _key(self, screen: Screen, due: float) -> str | None:
        """The next key; None when it is time for the next frame."""
        while not self._over:
            left = max(0.0, due - time.monotonic())
            key = screen.key(min(LOOK, left) if left else LOOK)
            if key is not None or time.monotonic() >= due:
                return key
        return None

    def _frame(self) -> Frame:
        return self._reel.frame(self._ear, time.time(), self._notes.last(SAID_FOR))


def ear_of(settings: Settings, log: Log) -> Ear:
    """What listens to the broker that `settings` describe. Raises ConfigError."""
    # A queue of its own: from the agent's it would take events away.
    broker = replace(broker_of(settings), queue_type="transient", chorus=False)
    probe = probe_for(broker_of(settings)) if settings.probes else None
    others = ";".join(settings.broker).count(";")
    ear = Ear(
        source_for(broker, log),
        pipeline_of(replace(settings, reservoir=min(settings.reservoir, RESERVOIR))),
        Witness(settings.max_attempts),
        patience=others * NEXT_ADDRESS,
    )
    if probe is not None:
        ear.survey = Survey(
            probe,
            partial(ear.names, settings.queues),
            log,
            interval=settings.probe_interval,
            levels=settings.queue_levels,
            alias=settings.broker[0].partition(":")[0],
        )
    return ear
