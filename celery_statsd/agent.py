"""The agent: source, pipeline and sinks, built before anything starts, in three kinds of loop.

- listen (the thread that calls `run`): takes messages off the source and feeds the pipeline. It
  never waits for a sink.
- flush: wakes at multiples of the interval, not after it, so it never drifts; drains a batch and
  hands it to every outlet. A missed beat is skipped, not made up.
- an outlet for each sink: sends. A sink that is slow or down costs nobody else anything.

One lock: the pipeline's. It is held while messages are fed and while a batch is drained.

`stop` ends listening first (what the broker has already handed over is still taken in), then
flushes once more with the farewell, then lets each outlet finish, and closes the sinks: in this
order, because each later part lives on what the earlier one hands it.
"""

import os
import queue
import resource
import socket
import sys
import threading
import time
from collections.abc import Sequence
from typing import Self

from celery_statsd.errors import SinkDown
from celery_statsd.keys import Settings
from celery_statsd.log import Log
from celery_statsd.metric import Batch
from celery_statsd.pipeline import Pipeline
from celery_statsd.sinks import sink_from
from celery_statsd.sinks.base import Sink
from celery_statsd.source import source_for
from celery_statsd.source.base import Broker, Message, Source, Tls
from celery_statsd.trouble import Trouble

IDLE = 0.5
"""Seconds the listening loop waits for a message before it looks at the time."""

TICK = 1.0
"""Seconds between two ticks of the pipeline."""

LAST_WORDS = 2.0
"""Seconds in which a stopping agent takes in what the broker has already handed over."""

MAILBOX = 60
"""Batches an outlet may be behind; past it the oldest are given up, and counted."""

JSON = frozenset({"application/json", ""})
UTF8 = frozenset({"utf-8", "utf8", "us-ascii", "binary", ""})


class Outlet(threading.Thread):
    """A sink with a thread and a mailbox of its own."""

    def __init__(self, sink: Sink, log: Log) -> None:
        super().__init__(name=f"outlet {sink.address.text}", daemon=True)
        self.sink = sink
        self._mailbox: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        self._trouble = Trouble(log, "sink_down", "sink_back", sink=sink.address.text)
        self._log = log

    def put(self, batch: Batch) -> None:
        """Leave `batch` to be sent. Never waits."""
        if self._mailbox.qsize() >= MAILBOX:
            given_up = self._mailbox.get()
            if given_up is not None:
                self.sink.tally.dropped += len(given_up.counters) + len(given_up.timers)
        self._mailbox.put(batch)

    def finish(self, timeout: float) -> None:
        """Send what is left, close the sink, end; wait for it up to `timeout` seconds."""
        self._mailbox.put(None)
        self.join(timeout)

    def run(self) -> None:
        """Send batch after batch, whatever happens to each."""
        while (batch := self._mailbox.get()) is not None:
            self._send(batch)
        self.sink.close()

    def _send(self, batch: Batch) -> None:
        try:
            self.sink.send(batch)
        except SinkDown as error:
            self._trouble.tell(time.monotonic(), error)
        except Exception as error:  # a fault of ours must not silence the sink for ever
            self.sink.tally.errors += 1
            self._log.error("sink_failed", sink=self.sink.address.text, error=repr(error))
        else:
            self._trouble.over(time.monotonic())


class Agent:
    """One source, one pipeline, any number of sinks.

    `host` and `alias` are the entities of its own and of its broker's vitals.
    """

    def __init__(  # noqa: PLR0913
        self,
        source: Source,
        pipeline: Pipeline,
        sinks: Sequence[Sink],
        log: Log,
        *,
        host: str = "localhost",
        alias: str = "broker",
        flush_interval: float = 10.0,
    ) -> None:
        self._source = source
        self._pipeline = pipeline
        self._outlets = [Outlet(sink, log) for sink in sinks]
        self._log = log
        self._host = host
        self._alias = alias
        self._interval = flush_interval
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._flusher = threading.Thread(target=self._flush_on_time, name="flush", daemon=True)
        self._began = time.monotonic()
        self._tick_at = 0.0
        self._flush_took: float | None = None

    @classmethod
    def of(cls, settings: Settings, log: Log) -> Self:
        """The agent that `settings` describe. Raises ConfigError."""
        return cls(
            source_for(broker_of(settings), log),
            pipeline_of(settings),
            [sink_from(address) for address in settings.sinks],
            log,
            host=host_of(settings),
            alias=settings.broker[0].partition(":")[0],
            flush_interval=settings.flush_interval,
        )

    def run(self) -> None:
        """Listen until `stop` is called; then stop in order."""
        self._pipeline.begin(time.time())
        for outlet in self._outlets:
            outlet.start()
        self._flusher.start()
        sinks = " ".join(outlet.sink.address.text for outlet in self._outlets)
        self._log.info("agent_started", broker=self._source.place, sinks=sinks)
        while not self._stopping.is_set():
            self._listen(IDLE)
        self._take_last_words()
        self._flusher.join()
        self._hand_over(last=True)
        for outlet in self._outlets:
            outlet.finish(timeout=10.0)
        ledger = self._pipeline.ledger
        self._log.info("agent_stopped", events=ledger.events, counted=ledger.counted)

    def stop(self) -> None:
        """Ask `run` to end. May be called from a signal handler or another thread."""
        self._stopping.set()

    def _listen(self, timeout: float) -> int:
        """Take in what is at hand; how many messages it was."""
        messages = self._source.read(timeout)
        now = time.time()
        with self._lock:
            for message in messages:
                self._take(message, now)
            if not self._source.connected:
                self._pipeline.deaf(now)
            if not self._tick_at <= now < self._tick_at + TICK:
                self._pipeline.tick(now)
                self._tick_at = now
        if messages:
            self._source.ack()
        return len(messages)

    def _take(self, message: Message, now: float) -> None:
        if message.content_type not in JSON:
            self._pipeline.refuse("content_type")
        elif message.content_encoding.lower() not in UTF8:
            self._pipeline.refuse("content_encoding")
        else:
            self._pipeline.feed(message.body, now)

    def _take_last_words(self) -> None:
        deadline = time.monotonic() + LAST_WORDS
        while self._source.connected and time.monotonic() < deadline:
            if not self._listen(0.0):
                break
        self._source.close()

    def _flush_on_time(self) -> None:
        while not self._stopping.is_set():
            now = time.time()
            due = (now // self._interval + 1) * self._interval
            if not self._stopping.wait(due - now):
                self._hand_over(last=False)

    def _hand_over(self, last: bool) -> None:
        """Drain a batch and leave it with every outlet."""
        began = time.perf_counter()
        with self._lock:
            self._note_vitals()
            if last:
                self._pipeline.settle(time.time())
            batch = self._pipeline.flush(time.time(), last)
        self._flush_took = time.perf_counter() - began
        for outlet in self._outlets:
            outlet.put(batch)

    def _note_vitals(self) -> None:
        """What the agent knows of itself and of its broker."""
        pipeline, host = self._pipeline, self._host
        tallies = [outlet.sink.tally for outlet in self._outlets]
        for part in ("errors", "dropped", "packets", "bytes"):
            total = sum(getattr(tally, part) for tally in tallies)
            pipeline.grow("agent", host, f"sink_{part}", total)
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
    )


def resident_bytes() -> int:
    """Resident memory of this process: now where /proc tells, else the most it ever had."""
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
