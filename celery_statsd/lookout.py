"""One agent's looking at the queues and asking of the workers, each in a thread of its own."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Self

from celery_statsd.blueprint import broker_of, scope_of
from celery_statsd.chronicle import Chronicle
from celery_statsd.crew import Crew, Hand
from celery_statsd.interview import Interview
from celery_statsd.keys import Settings
from celery_statsd.log import Log
from celery_statsd.pipeline import Pipeline
from celery_statsd.probes import probe_for, visibility_of
from celery_statsd.probes.workers import Inspector
from celery_statsd.survey import Survey


class Lookout:
    """`survey` looks, `interview` asks, if anybody does. Nobody waits for either."""

    def __init__(self, survey: Survey, interview: Interview | None) -> None:
        self.survey = survey
        self.interview = interview
        self._asker: threading.Thread | None = None

    @classmethod
    def of(
        cls,
        settings: Settings,
        chronicle: Chronicle,
        lock: threading.Lock,
        leads: Callable[[], bool],
        log: Log,
    ) -> Self | None:
        """What `settings` describe, on the pipeline of `chronicle`, which `lock` guards. Raises
        ConfigError.

        None for a host: queues and workers are the whole's, and each part would tell them again. Of
        partitions the first one looks.
        """
        scope, broker = scope_of(settings), broker_of(settings)
        looks = settings.probes and not scope.hosts and scope.partition == 1
        probe = probe_for(broker) if looks else None
        if probe is None:
            return None
        known = _Known(settings.queues, chronicle, lock)
        alias = settings.broker[0].partition(":")[0]
        interview = Interview(
            Inspector(broker, settings.control_exchange),
            known.hands,
            leads,
            log,
            interval=settings.inspect_interval,
            alias=alias,
        ) if settings.inspect_interval else None  # fmt: skip
        known.interview = interview
        survey = Survey(
            probe,
            known.queues,
            log,
            interval=settings.probe_interval,
            levels=settings.queue_levels,
            alias=alias,
            interview=interview,
            visibility=visibility_of(broker),
        )
        return cls(survey, interview)

    def start(self, stopping: threading.Event) -> None:
        """Look and ask until it is `stopping`."""
        look = partial(self._keep_looking, stopping)
        threading.Thread(target=look, name="look", daemon=True).start()
        if self.interview:
            ask = partial(self.interview.run, stopping)
            self._asker = threading.Thread(target=ask, name="ask", daemon=True)
            self._asker.start()

    def note(self, pipeline: Pipeline, now: float) -> None:
        """Give the pipeline what is to be said in a flush at `now` (epoch seconds)."""
        if self.interview:
            self.interview.note(pipeline, now)
        self.survey.note(pipeline, now)

    def crew(self, hands: Mapping[str, Hand]) -> Crew:
        """`hands`, and what is known of them."""
        return self.interview.crew(hands) if self.interview else Crew(hands)

    def hang_up(self) -> None:
        """Wait for no more answers."""
        if self.interview:
            self.interview.close()

    def join(self, seconds: float) -> None:
        """Wait for who asks to clear away what it made at the broker."""
        if self._asker:
            self._asker.join(seconds)

    def _keep_looking(self, stopping: threading.Event) -> None:
        self.survey.look()
        while not stopping.wait(self.survey.interval):
            self.survey.look()
        self.survey.close()


class _Known:
    """What is known of queues and workers: by the settings (`named`), by the events, and by what
    workers say."""

    def __init__(self, named: Iterable[str], chronicle: Chronicle, lock: threading.Lock) -> None:
        self.interview: Interview | None = None
        self._named = named
        self._chronicle = chronicle
        self._lock = lock

    def queues(self) -> list[str]:
        told = self.interview.queues if self.interview else ()
        with self._lock:
            return list(dict.fromkeys((*self._named, *self._chronicle.pipeline.queues, *told)))

    def hands(self) -> Mapping[str, Hand]:
        with self._lock:
            return self._chronicle.pipeline.hands(time.time())
