"""The agent: source, pipeline and sinks, built before anything starts, in four kinds of loop.

- listen (the thread that calls `run`): takes messages off the source and feeds the pipeline. It
  never waits for a sink.
- flush: wakes at multiples of the interval, not after it, so it never drifts; drains a batch and
  hands it to every outlet. A missed beat is skipped, not made up.
- look and ask: how long are the queues, what do the workers (see `lookout`)? Nobody waits for it.
- an outlet for each sink: sends. A sink that is slow or down costs nobody else anything.

One lock: the pipeline's. It is held while messages are fed and while a batch is drained.

`stop` ends listening first (what the broker has already handed over is still taken in), then
flushes once more with the farewell, then lets each outlet finish, and closes the sinks: in this
order, because each later part lives on what the earlier one hands it. The broker is left
meanwhile: it has nothing more to give, and may be slow to say goodbye.

A fault of our own: at an event it costs that event, counted and logged; in a sink it costs a batch
of that sink, counted and logged; anywhere else `run` says farewell and raises it, for an agent that
lives and tells nothing is worse than one that is started anew.
"""

import importlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, Self

from celery_statsd.blueprint import broker_of, host_of, pipeline_of, scope_of, state_of
from celery_statsd.chronicle import Chronicle
from celery_statsd.errors import ConfigError
from celery_statsd.health import Health
from celery_statsd.intake import Intake
from celery_statsd.keys import KEYS, Settings
from celery_statsd.log import Log
from celery_statsd.lookout import Lookout
from celery_statsd.pipeline import Pipeline
from celery_statsd.scope import CLUSTER, Scope
from celery_statsd.sinks import sink_from
from celery_statsd.sinks.base import Sink
from celery_statsd.source import source_for
from celery_statsd.source.base import Source
from celery_statsd.speaker import Speaker
from celery_statsd.supervisor import Supervisor
from celery_statsd.vitals import Vitals

IDLE = 0.5
"""Seconds the listening loop waits for a message before it looks at the time."""

SHORTEST_BREATH, LONGEST_BREATH, MANY = 0.01, 0.2, 1000
"""Seconds it lets messages gather after a read that found some: to be woken for each of them would
be most of what they cost. As long as fewer than so many gather."""

CHECKPOINT = 1.0
"""Seconds from one commit of the journal, and acknowledgement to the broker, to the next."""

TICK = 1.0
"""Seconds between two ticks of the pipeline."""

EASE = 1.0
"""Seconds before a flush in which parts of it are done, one after each look at the source."""

NAP = 1.5
"""Seconds: after a longer time without a look at the source (suspended, starved of processor
time, the clock set) the workers' silence was ours."""

LAST_WORDS = 2.0
"""Seconds in which a stopping agent takes in what the broker has already handed over."""

FAREWELL = 5.0
"""Seconds all outlets together have, at the stop, to send what is left."""

FIRST_DOUBT, LONGEST_DOUBT = 5.0, 600.0
"""Seconds between two doubts about a stream in which nobody's heart beats: they double while it
stays silent."""

RELOADABLE = frozenset({"sinks", "flush_interval", "log_level", "log_format"})
"""The settings a running agent can change; any other takes a restart."""


class Agent:
    """One source, one pipeline, any number of sinks.

    `make` makes the pipeline. `host` and `alias` are the entities of its own and of its broker's
    vitals; `flush_interval` is in seconds; `state` is the file of its journal.
    """

    def __init__(  # noqa: PLR0913
        self,
        source: Source,
        make: Callable[[], Pipeline],
        sinks: Iterable[Sink],
        log: Log,
        *,
        host: str = "localhost",
        alias: str = "broker",
        flush_interval: float = 10.0,
        state: Path | None = None,
        scope: Scope = CLUSTER,
    ) -> None:
        self._source = source
        self._chronicle = Chronicle(make, (), log)
        self._state = state
        self._log = log
        self._lock = threading.Lock()
        self._intake = Intake(self._chronicle, scope, log)
        self._vitals = Vitals(self._chronicle, source, host, alias)
        self._speaker = Speaker(self._chronicle, source, self._vitals, self._lock, log, host=host)
        self._speaker.interval = flush_interval
        self._speaker.adopt(sinks)
        self._stopping = threading.Event()
        self._flusher = threading.Thread(target=self._keep_flushing, name="flush", daemon=True)
        self._lookout: Lookout | None = None
        self._health = Health(self._chronicle, source, self._speaker, self._lock)
        self._window: Any = None
        self._supervisor = Supervisor(os.environ)
        self._fault: Exception | None = None
        self._settings: Settings | None = None
        self._looked_at = 0.0
        self._breath = SHORTEST_BREATH
        self._easing = False
        self._tick_at = 0.0
        self._checkpoint_at = 0.0
        self._commits = 0
        self._doubt_at, self._patience = 0.0, FIRST_DOUBT

    @classmethod
    def of(cls, settings: Settings, log: Log) -> Self:
        """The agent that `settings` describe. Raises ConfigError."""
        scope = scope_of(settings)
        agent = cls(
            source_for(broker_of(settings), log),
            partial(pipeline_of, settings),
            [sink_from(address) for address in settings.sinks],
            log,
            host=host_of(settings),
            alias=settings.broker[0].partition(":")[0],
            flush_interval=settings.flush_interval,
            state=state_of(settings),
            scope=scope,
        )
        agent._settings = settings
        speaker = agent._speaker
        lookout = Lookout.of(settings, agent._chronicle, agent._lock, lambda: speaker.leads, log)
        agent._lookout = agent._health.lookout = agent._vitals.lookout = lookout
        if settings.http:
            # Imported only here: few ask for it, and it is heavier than all the rest.
            window = importlib.import_module("celery_statsd.window")
            agent._window = window.Window(settings.http, agent._health.pages)
        return agent

    def run(self) -> None:
        """Listen until `stop` is called; then stop in order. Raises faults of our own only."""
        self._start()
        try:
            while not self._stopping.is_set():
                self._breathe(self._listen(0.0 if self._easing else IDLE))
            self._take_last_words()
        finally:
            self.stop()
            self._supervisor.stopping()
            self._flusher.join()
            self._leave()
        if self._fault:
            raise self._fault

    def stop(self) -> None:
        """Ask `run` to end. May be called from a signal handler or another thread."""
        self._stopping.set()

    def reload(self, reread: Callable[[], Settings]) -> None:
        """Work by the settings that `reread` gives, as far as a running agent can; the listening
        goes on meanwhile. Called from any thread but those of `run`.

        Settings that are wrong change nothing. They are told, as those are that take a restart.
        """
        try:
            settings = reread()
            sinks = {address: sink_from(address) for address in settings.sinks}
        except ConfigError as error:
            self._log.error("reload_refused", error=str(error), cure="the old settings stay")
            return
        old = self._settings or settings
        names = [key.name for key in KEYS]
        changed = {name for name in names if getattr(settings, name) != getattr(old, name)}
        self._log.turn_to(settings.log_level, settings.log_format)
        with self._lock:
            if self._stopping.is_set():
                return
            self._speaker.interval = settings.flush_interval
            self._speaker.adopt(sinks.values())
            self._settings = settings
        self._log.info("reloaded", changed=" ".join(sorted(changed & RELOADABLE)) or "nothing")
        if changed - RELOADABLE:
            self._log.warning("restart_needed", by=" ".join(sorted(changed - RELOADABLE)))

    def _start(self) -> None:
        now = time.time()
        with self._lock:  # a reload may come as soon as we are there
            lacking = self._chronicle.open(self._state, now)
            self._source.identity = f"{socket.gethostname()}-{self._chronicle.identity}"
            self._vitals.begin()
            self._speaker.begin(lacking)
        self._flusher.start()
        if self._lookout:
            self._lookout.start(self._stopping)
        if self._window:
            self._window.open()
        sinks = " ".join(outlet.sink.address.text for outlet in self._speaker.outlets)
        self._log.info("agent_started", broker=self._source.place, sinks=sinks)

    def _leave(self) -> None:
        try:
            if not self._speaker.said_farewell:
                with self._lock:
                    now = time.time()
                    self._excuse_silence(now, self._source.connected)
                    self._speaker.farewell(now, beat_after(now, self._speaker.interval))
        finally:
            self._close()

    def _close(self) -> None:
        """Let the outlets finish and leave the broker, at the same time."""
        deadline = time.monotonic() + FAREWELL
        if self._window:
            self._window.close()
        if self._lookout:
            self._lookout.hang_up()
        with self._lock:
            outlets = self._speaker.finish()
        if not self._source.chorus:
            self._source.close()
        for outlet in outlets:
            outlet.join(max(0.0, deadline - time.monotonic()))
            if outlet.is_alive():
                sink, waiting = outlet.sink.address.text, outlet.waiting
                self._log.warning("sink_abandoned", sink=sink, flushes_waiting=waiting)
        self._source.close()  # a chorus has to be told what was said
        if self._lookout:
            self._lookout.join(max(0.0, deadline - time.monotonic()))
        with self._lock:
            self._chronicle.close(time.time())
        ledger = self._chronicle.pipeline.ledger
        self._log.info("agent_stopped", events=ledger.events, counted=ledger.counted)

    def _listen(self, timeout: float) -> int:
        """Take in what is at hand; how many messages it was."""
        connected = self._source.connected
        messages = self._source.read(timeout)
        turn = self._source.turn()
        now = time.time()
        self._health.listened(bool(messages))
        with self._lock:
            if messages or not self._source.connected:
                self._speaker.serve(self._source.connected, now)
            self._intake.take(messages, now)
            self._vitals.foreign = self._intake.foreign
            # An attempt to connect may have taken its time: what counts is before and after.
            self._excuse_silence(now, connected and self._source.connected)
            self._looked_at = now
            if turn is not None:
                self._speaker.turn(turn, now)
            self._look_at_the_time(now)
        self._supervisor.listening(self._health.summary)
        return len(messages)

    def _breathe(self, heard: int) -> None:
        """Rest after a read of so many messages."""
        if heard >= MANY:
            self._breath = max(SHORTEST_BREATH, self._breath / 2)
        elif heard:
            # Not by waiting for `_stopping`: a signal is answered in this thread, and would wait
            # for ever for the lock of an event that this thread is waiting for.
            time.sleep(SHORTEST_BREATH if self._easing else self._breath)
            if heard < MANY // 2:
                self._breath = min(LONGEST_BREATH, self._breath * 1.25)

    def _look_at_the_time(self, now: float) -> None:
        if not self._tick_at <= now < self._tick_at + TICK:
            self._chronicle.tick(now)
            self._tick_at = now
            self._doubt_the_silence(now)
        left = beat_after(now, self._speaker.interval) - now
        self._easing = left < EASE and self._chronicle.ease()
        due = not self._checkpoint_at <= now < self._checkpoint_at + CHECKPOINT
        # What was made safe elsewhere, with a flush, the broker is told of at once: were we killed
        # before, the next of the group would count it too.
        safe = self._chronicle.commits != self._commits
        if due or safe or not self._state or self._source.needs_ack:
            self._checkpoint(now)

    def _doubt_the_silence(self, now: float) -> None:
        """A broker that answers and delivers nothing (it lost its place in a fail-over) is left."""
        pipeline = self._chronicle.pipeline
        silent = pipeline.mute_for(now)
        if pipeline.last_beat > self._doubt_at:
            self._patience = FIRST_DOUBT
        if silent and self._source.connected and not 0 <= now - self._doubt_at < self._patience:
            self._patience = min(2 * self._patience, LONGEST_DOUBT)
            self._doubt_at = now
            self._source.doubt(f"no heartbeat of any worker for {silent:.0f} s")

    def _checkpoint(self, now: float) -> None:
        """Make what was taken in safe; then the broker may forget it."""
        self._chronicle.commit()
        self._source.ack()
        self._checkpoint_at, self._commits = now, self._chronicle.commits

    def _excuse_silence(self, now: float, connected: bool) -> None:
        """Nobody is taken for dead because we did not listen."""
        if not connected or not 0.0 <= now - self._looked_at < NAP:
            self._chronicle.deaf(now)

    def _take_last_words(self) -> None:
        deadline = time.monotonic() + LAST_WORDS
        self._source.retire()
        if self._source.chorus and self._source.alone:
            self._speaker.leaving = True
            self._source.mark(beat_after(time.time(), self._speaker.interval), last=True)
        while self._source.connected and time.monotonic() < deadline:
            heard = self._listen(IDLE if self._speaker.leaving else 0.0)
            if self._speaker.said_farewell or not (heard or self._speaker.leaving):
                break
        with self._lock:  # what is counted here must not be given to the next of the group
            self._checkpoint(time.time())

    def _keep_flushing(self) -> None:
        try:
            self._flush_on_time()
        except Exception as error:
            self._fault = error
            self.stop()

    def _flush_on_time(self) -> None:
        # The first whole interval: the beat before it has the farewell of an agent that was here
        # a moment ago, and Graphite keeps one value for each beat.
        interval = self._speaker.interval
        due = beat_after(time.time() + interval, interval)
        while not self._stopping.wait(min(NAP, max(0.0, due - time.time()))):
            now = time.time()
            if due <= now:
                with self._lock:
                    self._excuse_silence(now, self._source.connected)
                self._speaker.beat(due)
            # Done; or the clock was set back; or there is a new interval.
            if not now < due <= now + 2 * interval or interval != self._speaker.interval:
                interval = self._speaker.interval
                due = beat_after(now, interval)


def beat_after(now: float, interval: float) -> float:
    """The first multiple of `interval` after `now`, both in seconds."""
    beat = (now // interval + 1) * interval
    # Tenths of a second are no exact numbers: what is hardly later is the multiple of now.
    return beat if beat - now > interval * 1e-4 else beat + interval
