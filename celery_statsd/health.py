"""What an agent can say of itself to whoever asks: whether it is well, and what it sees.

Well is an agent that listens, flushes, and gets rid of what it flushes. That no events come is
told, and is no illness: there may be none. All is answered in WAIT seconds, also by one that is
stuck.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from celery_statsd import __version__
from celery_statsd.chronicle import Chronicle
from celery_statsd.crew import Crew
from celery_statsd.findings import findings
from celery_statsd.interview import described
from celery_statsd.lookout import Lookout
from celery_statsd.outlet import Outlet
from celery_statsd.pipeline import Pipeline
from celery_statsd.source.base import Source
from celery_statsd.speaker import Speaker

STILL = 30.0
"""Seconds without a look at the broker after which nobody can be listening any more."""

WAIT = 2.0
"""Seconds to wait for a busy agent."""

OK, UNWELL = 200, 503
"""HTTP's words for it."""

Answer = tuple[int, Mapping[str, Any]]
"""A status and a document."""


class StuckError(Exception):
    """The agent does not let itself be looked at."""


class Health:
    """The state of one agent, made of its parts; whoever listens tells when it did."""

    def __init__(
        self, chronicle: Chronicle, source: Source, speaker: Speaker, lock: threading.Lock
    ) -> None:
        self._listened_at = self._began = time.monotonic()
        self._heard_at = 0.0
        self._summed: tuple[int, float] | None = None
        self.lookout: Lookout | None = None
        self._chronicle = chronicle
        self._source = source
        self._speaker = speaker
        self._lock = lock

    @property
    def pages(self) -> dict[str, Callable[[], Answer]]:
        """What can be asked for, by path."""
        return {
            "/findings": self.findings,
            "/healthz": self.healthz,
            "/livez": self.livez,
            "/queues": self.queues,
            "/status": self.status,
            "/workers": self.workers,
        }

    def listened(self, heard: bool) -> None:
        """Somebody has looked at the broker just now, and something had come or not."""
        self._listened_at = time.monotonic()
        if heard:
            self._heard_at = self._listened_at

    def healthz(self) -> Answer:
        """Whether it is well: 200, or 503 with what is wrong."""
        try:
            with self._pipeline() as pipeline:
                mute = pipeline.mute_for(time.time())
                problems = list(self._problems())
        except StuckError as error:
            return UNWELL, {"healthy": False, "problems": [str(error)]}
        return UNWELL if problems else OK, {
            "healthy": not problems,
            "problems": problems,
            "broker_connected": self._source.connected,
            "event_age_s": self._age(self._heard_at),
            "workers_silent_s": round(mute, 1),
            "sinks_down": [outlet.sink.address.text for outlet in self._outlets if outlet.down],
        }

    def livez(self) -> Answer:
        """Whether it does its rounds: 200, or 503 when a new process would do better. A broker or a
        sink that is away is no reason."""
        try:
            with self._pipeline():
                problems = list(self._deafness())
        except StuckError as error:
            problems = [str(error)]
        return UNWELL if problems else OK, {"alive": not problems, "problems": problems}

    def summary(self) -> str:
        """A line for whoever asks for the state of the service; its rate is that of the time since
        the line before. Of the listening thread: it waits for nobody."""
        events, now = self._chronicle.pipeline.ledger.events, time.monotonic()
        before, at = self._summed or (events, now)
        self._summed = events, now
        rate = (events - before) / max(now - at, 1e-3)
        heard = self._age(self._heard_at)
        last = "none yet" if heard is None else f"the last {heard:.0f} s ago"
        away = "" if self._source.connected else " is away"
        sinks = ", ".join(o.sink.address.text + " is down" * o.down for o in self._outlets)
        return f"{self._source.place}{away}: {rate:.1f} events/s, {last}; to {sinks}"

    def queues(self) -> Answer:
        """Each queue, with what is told of it in the metrics."""
        survey = self.lookout.survey if self.lookout else None
        if survey is None or survey.sight is None:
            return UNWELL, {"queues": {}, "age_s": None}
        with self._pipeline() as pipeline:
            found = survey.shown(pipeline, time.time())
        return OK, {"queues": found, "age_s": round(survey.age, 1)}

    def workers(self) -> Answer:
        """Each worker: by its events, and what it has answered; one that answers and was never
        heard is `unknown`."""
        with self._pipeline() as pipeline:
            now = time.time()
            heard, hands = pipeline.workers(now), pipeline.hands(now)
        crew = self.lookout.crew(hands) if self.lookout else Crew(hands)
        return OK, {"workers": described(heard, crew, now)}

    def findings(self) -> Answer:
        """What is wrong between queues and workers, and what helps; the gravest first."""
        survey = self.lookout.survey if self.lookout else None
        if survey is None or survey.sight is None:
            return UNWELL, {"findings": [], "age_s": None}
        with self._pipeline() as pipeline:
            found = findings(survey.scene(pipeline, time.time()))
        rows = [asdict(finding) for finding in found]
        return OK, {"findings": rows, "age_s": round(survey.age, 1)}

    def status(self) -> Answer:
        """The ledger, the balance, the sinks, and what it costs."""
        with self._pipeline() as pipeline:
            return OK, {
                "version": __version__,
                "uptime_s": self._age(self._began),
                "broker": self._source.place,
                "connected": self._source.connected,
                "reconnects": self._source.reconnects,
                "backlog": self._source.backlog,
                "ledger": pipeline.ledger.dump(),
                "balance": pipeline.balance,
                "flushes": self._chronicle.number,
                "sinks": {o.sink.address.text: _sink(o) for o in self._outlets},
            }

    def _problems(self) -> Iterator[str]:
        yield from self._deafness()
        if not self._source.connected:
            yield "the broker is away"
        late = time.monotonic() - self._speaker.noted_at
        if late > 3 * self._speaker.interval + STILL:
            yield f"nothing was flushed for {late:.0f} s"
        if self._chronicle.unsound:
            yield "the journal cannot be written"
        for outlet in self._outlets:
            if outlet.down:
                yield f"{outlet.sink.address.text} is down"

    def _deafness(self) -> Iterator[str]:
        silent = time.monotonic() - self._listened_at
        if silent > STILL:
            yield f"nobody has listened for {silent:.0f} s"

    @property
    def _outlets(self) -> list[Outlet]:
        return self._speaker.outlets

    @contextmanager
    def _pipeline(self) -> Iterator[Pipeline]:
        """The pipeline, while nobody else has it. Raises StuckError."""
        if not self._lock.acquire(timeout=WAIT):
            raise StuckError(f"it has been busy for {WAIT:g} s")
        try:
            yield self._chronicle.pipeline
        finally:
            self._lock.release()

    def _age(self, since: float) -> float | None:
        return round(time.monotonic() - since, 1) if since else None


def _sink(outlet: Outlet) -> dict[str, Any]:
    return {"down": outlet.down, "waiting": outlet.waiting, **asdict(outlet.sink.tally)}
