"""Listens as an agent does, and writes down what it hears and when it asks its pipeline what.

One thread reads the source and has the pipeline; each sink has an outlet of its own. Whatever is
asked of the pipeline stands on the tape first, so a replay of the tape makes the same calls in
the same order, and gives the same batches. What an agent says of itself (`vitals`) and of its
broker and queues comes from elsewhere, and is neither said nor recorded here.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from celery_statsd.chronicle import Chronicle
from celery_statsd.intake import refusal_of
from celery_statsd.log import Log
from celery_statsd.metric import Batch
from celery_statsd.outlet import Outlet
from celery_statsd.scope import Scope
from celery_statsd.sinks.base import Sink
from celery_statsd.source.base import Message, Source
from celery_statsd.tape import Tape
from celery_statsd.watch import IDLE, first_read

TICK = 1.0
"""Seconds between two ticks of the pipeline."""

FAREWELL = 5.0
"""Seconds all sinks together have, at the end, to send what is left."""


class Recorder:
    """Records `source` on `tape`, and sends each flush of `chronicle`'s pipeline to `sinks`.

    `settings` are what the pipeline was made of, `interval` the seconds between two flushes,
    `patience` those in which the broker has to answer at first, if more than one attempt is to
    be made.
    """

    def __init__(  # noqa: PLR0913
        self,
        source: Source,
        chronicle: Chronicle,
        sinks: Iterable[Sink],
        tape: Tape,
        log: Log,
        *,
        scope: Scope,
        settings: Mapping[str, Any],
        interval: float = 10.0,
        patience: float = 0.0,
    ) -> None:
        self._source = source
        self._chronicle = chronicle
        self._outlets = [Outlet(sink, log, _nobody_asks) for sink in sinks]
        self._tape = tape
        self._log = log
        self._scope = scope
        self._settings = settings
        self._interval = interval
        self._patience = patience
        self._over = False
        self._reconnects = self._foreign = 0
        self._tick_at = self._flush_at = 0.0

    def run(self, deadline: float | None) -> None:
        """Record until `stop`, or `deadline` (monotonic seconds; None: for ever).

        Raises ConfigError when the broker cannot be reached at all, or the tape not be written.
        """
        try:
            messages = first_read(self._source, self._patience, lambda: self._over)
            self._begin(time.time())
            self._take(messages, time.time())
            while (left := _left(deadline)) > 0 and not self._over:
                messages = self._source.read(min(IDLE, left))
                now = time.time()
                self._note_absence(now)
                self._let_pass(now)
                self._take(messages, now)
                self._source.ack()
            self._end(time.time())
        finally:
            self._leave()

    def stop(self) -> None:
        """Let `run` end soon. May be called from a signal handler."""
        self._over = True

    def _begin(self, now: float) -> None:
        self._tape.begin(now, self._settings)
        self._chronicle.open(None, now)
        self._tick_at, self._flush_at = now + TICK, (now // self._interval + 1) * self._interval
        for outlet in self._outlets:
            outlet.start()

    def _take(self, messages: Sequence[Message], now: float) -> None:
        for message in messages:
            if not self._scope.hears(message.facts.hostname):
                self._foreign += 1
                continue
            reason = refusal_of(message.facts)
            if reason:
                self._tape.cue("refused", now, _reason=reason, _size=len(message.body))
                self._chronicle.refuse(reason)
            else:
                self._tape.message(message, now)
                self._chronicle.feed([message.body], now)

    def _note_absence(self, now: float) -> None:
        """Nobody is taken for dead because we did not listen."""
        gap = self._source.reconnects != self._reconnects or not self._source.connected
        self._reconnects = self._source.reconnects
        if gap:
            self._tape.cue("deaf", now)
            self._chronicle.deaf(now)

    def _let_pass(self, now: float) -> None:
        if not self._tick_at - TICK <= now < self._tick_at:
            self._tape.cue("tick", now)
            self._chronicle.tick(now)
            self._tick_at = now + TICK
        if not self._flush_at - 2 * self._interval <= now < self._flush_at:
            self._tape.cue("flush", now)
            self._say(self._chronicle.flush(now).batch)
            self._tape.sync()
            self._flush_at = (now // self._interval + 1) * self._interval

    def _end(self, now: float) -> None:
        self._tape.cue("end", now)
        self._chronicle.pipeline.settle(now)
        self._say(self._chronicle.flush(now, last=True).batch)
        ledger = self._chronicle.pipeline.ledger
        self._log.info(
            "recorded",
            file=self._tape.path,
            messages=self._tape.messages,
            events=ledger.events,
            foreign=self._foreign,
        )

    def _say(self, batch: Batch) -> None:
        for outlet in self._outlets:
            outlet.put(0, batch)

    def _leave(self) -> None:
        give_up_at = time.monotonic() + FAREWELL
        for outlet in self._outlets:
            outlet.finish()
        self._source.close()
        for outlet in self._outlets:
            if outlet.ident is not None:
                outlet.join(max(0.0, give_up_at - time.monotonic()))
        self._tape.close()


def _left(deadline: float | None) -> float:
    return IDLE if deadline is None else deadline - time.monotonic()


def _nobody_asks(sink: str, number: int) -> None:
    """Nothing follows from a delivery: there is no journal."""
    del sink, number
