"""Listens beside the agent, and takes nothing from it: the same river, in a process of its own.

On RabbitMQ it has a queue of its own, which goes with it; on Redis it is one more subscriber. The
queues are looked at as the agent does, once each `probe_interval`. So it costs the broker what one
more agent does, and no more.

Two threads: one listens, one looks. Whoever draws asks for what has come, by `batch`.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Self

from celery_statsd.errors import ConfigError
from celery_statsd.intake import refusal_of
from celery_statsd.metric import Batch
from celery_statsd.pipeline import Pipeline
from celery_statsd.source.base import Message, Source
from celery_statsd.survey import Survey
from celery_statsd.top.frame import Detail, Tab
from celery_statsd.top.witness import Witness

IDLE = 0.5
"""Seconds it waits for a message before it looks whether it shall go on."""

BREATH, MANY = 0.1, 500
"""Seconds it lets messages gather after a read, unless that found so many."""

NAP = 1.5
"""Seconds: after a longer time without a look at the source (suspended by Ctrl-Z) the workers'
silence was ours."""

TICK = 1.0
"""Seconds between two ticks of the pipeline: its bounds are kept also while nobody asks."""

LAST_WORD = 2.0
"""Seconds a thread has to end."""

Workers = Mapping[str, Mapping[str, float | str]]


class Ear:
    """Listens to `source` while it is entered. `survey` looks at the queues: to be set before, if
    that can be done. `patience` are the seconds the broker has to answer at first, if there are
    more addresses than one."""

    def __init__(
        self,
        source: Source,
        pipeline: Pipeline,
        witness: Witness,
        patience: float = 0.0,
    ) -> None:
        self.survey: Survey | None = None
        self._source = source
        self._pipeline = pipeline
        self._witness = witness
        self._patience = patience
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._looked_at = time.time()
        self._tick_at = 0.0
        self._fault: Exception | None = None
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        """Connect, and begin. Raises ConfigError when the broker cannot be reached at all; one that
        is lost later is waited for."""
        self._connect()
        self._pipeline.begin(time.time())
        loops = (self._keep_listening, self._keep_looking)
        self._threads = [threading.Thread(target=loop, daemon=True) for loop in loops]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the broker."""
        self._over.set()
        for thread in self._threads:
            thread.join(LAST_WORD)
        self._source.close()

    @property
    def connected(self) -> bool:
        """Whether the broker is there."""
        return self._source.connected

    @property
    def place(self) -> str:
        """The broker, for people."""
        return self._source.place

    @property
    def probed(self) -> bool:
        """Whether the queues are looked at."""
        return self.survey is not None

    def names(self, named: Sequence[str]) -> list[str]:
        """The queues to look at: those that are `named`, and those that tasks were sent to."""
        with self._lock:
            return list(dict.fromkeys((*named, *self._pipeline.queues)))

    def batch(self, now: float) -> tuple[Batch, Workers]:
        """All that came since the last call, and what is known of each worker. Raises what the
        listening has raised: a fault of ours."""
        if self._fault:
            raise self._fault
        with self._lock:
            self._excuse_silence(now)
            if self.survey:
                self.survey.note(self._pipeline, now)
            batch, workers = self._pipeline.flush(now), self._pipeline.workers(now)
            living = {name for name, told in workers.items() if told["state"] != "down"}
            self._witness.bury(living)
        return batch, workers

    def detail(self, tab: Tab, entity: str) -> Detail:
        """What single tasks of one task, or on one worker, do and did."""
        witness, task, worker = self._witness, None, None
        if tab is Tab.QUEUES or not entity:
            return Detail()
        task, worker = (entity, None) if tab is Tab.TASKS else (None, entity)
        with self._lock:
            return Detail(
                tuple(witness.running(task, worker)),
                tuple(witness.classes(entity)) if tab is Tab.TASKS else (),
                tuple(witness.last(task, worker)),
            )

    def _connect(self) -> None:
        give_up_at = time.monotonic() + self._patience
        self._take(self._source.read(0.0))
        while not self._source.connected:
            if time.monotonic() >= give_up_at:
                problem = f"{self._source.place} cannot be listened to (why is told above)"
                raise ConfigError("broker", problem, "start the broker, or mend the address")
            self._take(self._source.read(IDLE))

    def _keep_listening(self) -> None:
        try:
            while not self._over.is_set():
                messages = self._source.read(IDLE)
                self._take(messages)
                self._source.ack()
                if 0 < len(messages) < MANY:
                    self._over.wait(BREATH)
        except Exception as error:  # a fault of ours: raised where it is seen
            self._fault = error

    def _take(self, messages: Sequence[Message]) -> None:
        now = time.time()
        with self._lock:
            for message in messages:
                reason = refusal_of(message.facts)
                if reason:
                    self._pipeline.refuse(reason)
                else:
                    self._pipeline.feed(message.body, now)
                    self._witness.hear(message.body)
            self._excuse_silence(now)
            self._looked_at = now
            if not self._tick_at <= now < self._tick_at + TICK:
                self._tick_at = now
                self._pipeline.tick(now)
                self._witness.thin_out()

    def _excuse_silence(self, now: float) -> None:
        """Nobody is taken for dead because we did not listen."""
        if not self._source.connected or not 0.0 <= now - self._looked_at < NAP:
            self._pipeline.deaf(now)

    def _keep_looking(self) -> None:
        survey = self.survey
        if survey is None:
            return
        survey.look()
        while not self._over.wait(survey.interval):
            survey.look()
        survey.close()
