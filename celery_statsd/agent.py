"""The agent: source, pipeline and sinks, built before anything starts, in three kinds of loop.

- listen (the thread that calls `run`): takes messages off the source and feeds the pipeline. It
  never waits for a sink.
- flush: wakes at multiples of the interval, not after it, so it never drifts; drains a batch and
  hands it to every outlet. A missed beat is skipped, not made up.
- an outlet for each sink: sends. A sink that is slow or down costs nobody else anything.

One lock: the pipeline's. It is held while messages are fed and while a batch is drained.

`stop` ends listening first (what the broker has already handed over is still taken in), then
flushes once more with the farewell, then lets each outlet finish, and closes the sinks: in this
order, because each later part lives on what the earlier one hands it. The broker is left
meanwhile: it has nothing more to give, and may be slow to say goodbye.

A fault of our own: in feeding one message it costs that message, counted and logged; in a sink it
costs a batch of that sink, counted and logged; anywhere else `run` says farewell and raises it,
for an agent that lives and tells nothing is worse than one that is started anew.
"""

import os
import resource
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Self

from celery_statsd.chronicle import Chronicle
from celery_statsd.errors import BadEvent
from celery_statsd.keys import Settings
from celery_statsd.log import Log
from celery_statsd.metric import Batch
from celery_statsd.names import escape
from celery_statsd.outlet import Outlet
from celery_statsd.pipeline import Pipeline
from celery_statsd.sinks import sink_from
from celery_statsd.sinks.base import Sink
from celery_statsd.source import source_for
from celery_statsd.source.base import Broker, Message, Source, Tls
from celery_statsd.trouble import Trouble

IDLE = 0.5
"""Seconds the listening loop waits for a message before it looks at the time."""

CHECKPOINT = 1.0
"""Seconds from one commit of the journal, and acknowledgement to the broker, to the next."""

TICK = 1.0
"""Seconds between two ticks of the pipeline."""

NAP = 1.5
"""Seconds: after a longer time without a look at the source (suspended, starved of processor
time, the clock set) the workers' silence was ours."""

LAST_WORDS = 2.0
"""Seconds in which a stopping agent takes in what the broker has already handed over."""

FAREWELL = 5.0
"""Seconds all outlets together have, at the stop, to send what is left."""

JSON = frozenset({"application/json", ""})
UTF8 = frozenset({"utf-8", "utf8", "us-ascii", "binary", ""})


class Agent:
    """One source, one pipeline, any number of sinks.

    `make` makes the pipeline. `host` and `alias` are the entities of its own and of its broker's
    vitals; `flush_interval` is in seconds; `state` is the file of its journal.
    """

    def __init__(  # noqa: PLR0913
        self,
        source: Source,
        make: Callable[[], Pipeline],
        sinks: Sequence[Sink],
        log: Log,
        *,
        host: str = "localhost",
        alias: str = "broker",
        flush_interval: float = 10.0,
        state: Path | None = None,
    ) -> None:
        self._source = source
        addresses = [sink.address.text for sink in sinks]
        self._chronicle = Chronicle(make, addresses, log)
        self._state = state
        self._outlets = [Outlet(sink, log, self._note_delivered) for sink in sinks]
        self._log = log
        self._host = host
        self._alias = alias
        self._interval = flush_interval
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._flusher = threading.Thread(target=self._keep_flushing, name="flush", daemon=True)
        self._fault: Exception | None = None
        self._refused = Trouble(log, "message_refused", cure="set event_serializer to 'json'")
        self._began = time.monotonic()
        self._served = False
        self._looked_at = 0.0
        self._tick_at = 0.0
        self._checkpoint_at = 0.0
        self._flush_took: float | None = None

    @classmethod
    def of(cls, settings: Settings, log: Log) -> Self:
        """The agent that `settings` describe. Raises ConfigError."""
        return cls(
            source_for(broker_of(settings), log),
            partial(pipeline_of, settings),
            [sink_from(address) for address in settings.sinks],
            log,
            host=host_of(settings),
            alias=settings.broker[0].partition(":")[0],
            flush_interval=settings.flush_interval,
            state=state_of(settings),
        )

    def run(self) -> None:
        """Listen until `stop` is called; then stop in order. Raises faults of our own only."""
        self._start()
        try:
            while not self._stopping.is_set():
                self._listen(IDLE)
            self._take_last_words()
        finally:
            self.stop()
            self._flusher.join()
            self._leave()
        if self._fault:
            raise self._fault

    def stop(self) -> None:
        """Ask `run` to end. May be called from a signal handler or another thread."""
        self._stopping.set()

    def _start(self) -> None:
        now = time.time()
        lacking = self._chronicle.open(self._state, now)
        for name, entity in (("agent", self._host), ("broker", self._alias)):
            self._pipeline.restart(name, entity)
        for outlet in self._outlets:
            for number, batch in lacking.get(outlet.sink.address.text, ()):
                outlet.put(number, batch)
            outlet.start()
        self._flusher.start()
        sinks = " ".join(outlet.sink.address.text for outlet in self._outlets)
        self._log.info("agent_started", broker=self._source.place, sinks=sinks)

    def _leave(self) -> None:
        try:
            self._hand_over(last=True)
        finally:
            self._close()

    def _close(self) -> None:
        """Let the outlets finish and leave the broker, at the same time."""
        deadline = time.monotonic() + FAREWELL
        for outlet in self._outlets:
            outlet.finish()
        self._source.close()
        for outlet in self._outlets:
            outlet.join(max(0.0, deadline - time.monotonic()))
            if outlet.is_alive():
                sink, waiting = outlet.sink.address.text, outlet.waiting
                self._log.warning("sink_abandoned", sink=sink, flushes_waiting=waiting)
        with self._lock:
            self._chronicle.close(time.time())
        ledger = self._pipeline.ledger
        self._log.info("agent_stopped", events=ledger.events, counted=ledger.counted)

    def _listen(self, timeout: float) -> int:
        """Take in what is at hand; how many messages it was."""
        connected = self._source.connected
        messages = self._source.read(timeout)
        now = time.time()
        with self._lock:
            self._take(messages, now)
            self._served = self._source.connected and (self._served or bool(messages))
            # An attempt to connect may have taken its time: what counts is before and after.
            self._excuse_silence(now, connected and self._source.connected)
            self._looked_at = now
            if not self._tick_at <= now < self._tick_at + TICK:
                self._chronicle.tick(now)
                self._tick_at = now
            due = not self._checkpoint_at <= now < self._checkpoint_at + CHECKPOINT
            if due or not self._state or self._source.needs_ack:
                self._checkpoint(now)
        return len(messages)

    def _checkpoint(self, now: float) -> None:
        """Make what was taken in safe; then the broker may forget it."""
        self._chronicle.commit()
        self._source.ack()
        self._checkpoint_at = now

    def _note_delivered(self, sink: str, number: int) -> None:
        """Called by the outlets: write down at once what must not be sent twice."""
        with self._lock:
            self._chronicle.delivered(sink, number)
            self._chronicle.commit()

    @property
    def _pipeline(self) -> Pipeline:
        return self._chronicle.pipeline

    def _excuse_silence(self, now: float, connected: bool) -> None:
        """Nobody is taken for dead because we did not listen."""
        if not connected or not 0.0 <= now - self._looked_at < NAP:
            self._chronicle.deaf(now)

    def _take(self, messages: Sequence[Message], now: float) -> None:
        bodies: list[bytes] = []
        try:
            for message in messages:
                if not self._refuse(message):
                    bodies.append(message.body)
        finally:  # a fault of the source costs nothing that came before it
            if bodies:
                self._chronicle.feed(bodies, now)

    def _refuse(self, message: Message) -> bool:
        """Whether `message` is not even to be tried; then it is counted."""
        reason = refusal_of(message)
        if reason:
            self._chronicle.refuse(reason)
            told = BadEvent(f"{reason} {getattr(message, reason)[:60]!r}")
            self._refused.tell(time.monotonic(), told)
        return bool(reason)

    def _take_last_words(self) -> None:
        deadline = time.monotonic() + LAST_WORDS
        while self._source.connected and time.monotonic() < deadline:
            if not self._listen(0.0):
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
        due = beat_after(time.time() + self._interval, self._interval)
        while not self._stopping.wait(max(0.0, due - time.time())):
            now = time.time()
            if due <= now:
                self._hand_over()
            if not now < due <= now + 2 * self._interval:  # done; or the clock was set back
                due = beat_after(now, self._interval)

    def _hand_over(self, last: bool = False) -> None:
        """Drain a batch and leave it with every outlet."""
        with self._lock:
            began = time.perf_counter()
            self._note_vitals()
            batch = self._farewell() if last else self._drained()
            number = self._chronicle.number
            self._flush_took = time.perf_counter() - began
        for outlet in self._outlets:
            outlet.put(number, batch)

    def _drained(self) -> Batch:
        now = time.time()
        self._excuse_silence(now, self._source.connected)
        batch = self._chronicle.flush(now)
        self._chronicle.begin_anew(now)
        return batch if self._served else quiet(batch)

    def _farewell(self) -> Batch:
        """The last batch, for the beat that is not over yet: the last one's value is written."""
        now = time.time()
        self._excuse_silence(now, self._source.connected)
        if not self._state:  # nobody will go on with what is in flight
            self._pipeline.settle(now)
        return self._chronicle.flush(now, last=True, stamp=beat_after(now, self._interval))

    def _note_vitals(self) -> None:
        """What the agent knows of itself and of its broker."""
        pipeline, host = self._pipeline, self._host
        tallies = [outlet.sink.tally for outlet in self._outlets]
        for part in ("errors", "dropped", "packets", "bytes"):
            total = sum(getattr(tally, part) for tally in tallies)
            if part == "dropped":
                total += sum(outlet.given_up for outlet in self._outlets)
            pipeline.grow("agent", host, f"sink_{part}", total)
        pipeline.grow("agent", host, "flushes_given_up", self._chronicle.given_up)
        if self._source.backlog is not None:
            pipeline.note("agent", host, "backlog", self._source.backlog)
        pipeline.note("agent", host, "rss_bytes", resident_bytes())
        pipeline.note("agent", host, "cpu_ms", time.process_time() * 1000.0)
        pipeline.note("agent", host, "uptime_s", time.monotonic() - self._began)
        if self._flush_took is not None:
            pipeline.note("agent", host, "flush", self._flush_took)
        pipeline.grow("broker", self._alias, "reconnects", self._source.reconnects)
        pipeline.note("broker", self._alias, "up", float(self._source.connected))


def host_of(settings: Settings) -> str:
    """The agent's own name: as set, else the machine's short name."""
    return settings.host or socket.gethostname().partition(".")[0]


def quiet(batch: Batch) -> Batch:
    """What an agent may say while the broker serves another one of its group, or nobody: its own
    vitals, and what it had still to tell. Its zeros would overwrite the other's counts."""
    own = ("agent", "broker")
    return replace(
        batch,
        counters=tuple(row for row in batch.counters if row[1] or row[0].family in own),
        gauges=tuple(row for row in batch.gauges if row[0].family in own),
    )


def state_of(settings: Settings) -> Path | None:
    """The file of the journal; None when no folder is set and systemd gives none."""
    folder = settings.state_dir or os.environ.get("STATE_DIRECTORY")
    return Path(folder) / f"{escape(settings.app)}.journal" if folder else None


def pipeline_of(settings: Settings) -> Pipeline:
    """The pipeline that `settings` describe."""
    return Pipeline(
        prefix=settings.prefix,
        app=settings.app,
        host=host_of(settings),
        max_attempts=settings.max_attempts,
        max_workers=settings.max_workers,
        max_series=settings.max_series,
        reservoir=settings.reservoir,
        worker_silence=settings.worker_silence,
        lost_after=settings.lost_after,
        unreported_after=settings.unreported_after,
    )


def broker_of(settings: Settings) -> Broker:
    """The part of `settings` that a source needs."""
    tls = Tls(
        on=settings.tls,
        verify=settings.tls_verify,
        ca_file=settings.tls_ca_file,
        cert_file=settings.tls_cert_file,
        key_file=settings.tls_key_file,
        server_name=settings.tls_server_name,
    )
    return Broker(
        urls=tuple(settings.broker),
        tls=tls,
        transport_options=settings.transport_options,
        event_exchange=settings.event_exchange,
        event_queue_prefix=settings.event_queue_prefix,
        group=settings.group or settings.app,
        queue_type=settings.event_queue_type,
    )


def refusal_of(message: Message) -> str:
    """Why `message` is not even tried, by the name of the field that says so; "" when it is."""
    if message.content_type.partition(";")[0].strip().lower() not in JSON:
        return "content_type"
    return "" if message.content_encoding.lower() in UTF8 else "content_encoding"


def beat_after(now: float, interval: float) -> float:
    """The first multiple of `interval` after `now`, both in seconds."""
    beat = (now // interval + 1) * interval
    # Tenths of a second are no exact numbers: what is hardly later is the multiple of now.
    return beat if beat - now > interval * 1e-4 else beat + interval


def resident_bytes() -> int:
    """Resident memory of this process: now where /proc tells, else the most it ever had."""
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
