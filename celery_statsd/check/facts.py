"""All that was gathered, in one value: what the examinations judge.

What could not be gathered is None, and `unseen` tells why, by what it was.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from celery_statsd.check.brokers import RabbitFacts, RedisFacts
from celery_statsd.check.graphite import Reading
from celery_statsd.check.heard import Heard
from celery_statsd.check.outlets import Trial
from celery_statsd.probes.base import QueueFacts

Answers = Mapping[str, Mapping[str, Any]]
"""What each worker answered, by node name and question."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What the agent's settings say, as far as it is judged here."""

    event_exchange: str = "celeryev"
    transport_options: Mapping[str, Any] = field(default_factory=dict)
    queue_type: str = "quorum"
    flush_interval: float = 10.0
    queues: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """The whole. `switched` is what workers answered to `--enable-events`, where it was asked."""

    expected: Expected = field(default_factory=Expected)
    heard: Heard | None = None
    answers: Answers | None = None
    switched: Mapping[str, str] = field(default_factory=dict)
    rabbit: RabbitFacts | None = None
    redis: RedisFacts | None = None
    queues: tuple[QueueFacts, ...] | None = None
    trials: tuple[Trial, ...] = ()
    reading: Reading | None = None
    unseen: Mapping[str, str] = field(default_factory=dict)

    @property
    def answers_and_voices(self) -> set[str]:
        """All workers that were heard or answered."""
        voices = self.heard.voices.keys() if self.heard else set()
        return {*voices, *(self.answers or {})}

    @property
    def unanswering(self) -> set[str]:
        """The workers that beat, and did not answer: busy, or another app's."""
        heard = self.heard
        if heard is None or self.answers is None:
            return set()
        beating = {v.name for v in heard.alive if v.beats and not heard.silence(v)}
        return beating - self.answers.keys()

    @property
    def confs(self) -> dict[str, Mapping[str, Any]]:
        """The settings of each worker that told them."""
        told = {name: replies.get("conf") for name, replies in (self.answers or {}).items()}
        return {
            n: conf for n, conf in told.items() if isinstance(conf, Mapping) and "error" not in conf
        }

    def pool(self, name: str) -> str:
        """How a worker's pool is implemented, as it tells; "" when it does not. Old Celery names
        no class, but a pool of threads counts them."""
        stats = (self.answers or {}).get(name, {}).get("stats")
        pool = stats.get("pool") if isinstance(stats, Mapping) else None
        if not isinstance(pool, Mapping):
            return ""
        return str(pool.get("implementation") or ("threads" if "threads" in pool else ""))

    @property
    def pidboxes(self) -> set[str]:
        """The workers for whom the broker keeps a place for commands, as far as it tells."""
        broker = self.rabbit or self.redis
        return set(broker.pidboxes or ()) if broker else set()
