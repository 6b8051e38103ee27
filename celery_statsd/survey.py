"""What a look at the queues has found, and how it is told with each flush.

A look takes place in a thread of its own, and nothing waits for it. What was seen is told as long
as it is fresh. What is stale is left out: it would look like a queue that stands still.
"""

import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from celery_statsd.crew import Crew
from celery_statsd.errors import BrokerLost
from celery_statsd.findings import KINDS, Busy, Finding, Scene, findings, safe_to_scale_down
from celery_statsd.interview import Interview
from celery_statsd.log import Log
from celery_statsd.pipeline import Pipeline
from celery_statsd.probes.base import Probe, QueueFacts, Sight
from celery_statsd.rules.queue import level, thresholds_of
from celery_statsd.trends import Trend
from celery_statsd.trouble import Trouble

FRESH = 3
"""Intervals for which what was seen may be told."""

DEAF = 15.0
"""Seconds after which an agent has heard of everybody who is alive, if nobody was asked."""

MOST_TOLD = 20
"""Names of queues in one line of the log."""

CURE = "let this user look at them (config/redis: To see the queues), or set probes to false"

Levels = Mapping[str, Sequence[int]]


class Survey:
    """Looks through `probe`, each `interval` seconds, at the queues that `names` tells by then;
    `alias` is the broker's name in the metrics.

    What the workers tell of themselves comes from `interview`, if there is one. `visibility` is
    Redis's timeout in seconds, by which also the consumers are told from what the workers say; None
    for a broker that tells them itself.
    """

    def __init__(  # noqa: PLR0913
        self,
        probe: Probe,
        names: Callable[[], Collection[str]],
        log: Log,
        *,
        interval: float = 10.0,
        levels: Levels | None = None,
        alias: str = "broker",
        interview: Interview | None = None,
        visibility: float | None = None,
    ) -> None:
        self.interval = interval
        self.sight: Sight | None = None
        self._probe = probe
        self._names = names
        self._levels = levels or {}
        self._alias = alias
        self._interview = interview
        self._visibility = visibility
        self._began = time.monotonic()
        self._seen_at = self._noted_at = 0.0
        self._trends: dict[str, Trend] = {}
        self._pings: deque[float] = deque()  # of one thread, told by another
        self._looks = self._failed = 0
        self._log = log
        self._refused: frozenset[str] = frozenset()
        self._trouble = Trouble(log, "queues_unseen", "queues_seen")

    def look(self) -> None:
        """Look once. Never raises: a failure is counted, and told."""
        try:
            sight = self._probe.look(self._names())
        except Exception as error:  # a fault of ours must not end the looking either
            self._failed += 1
            self._trouble.tell(time.monotonic(), error)
            if not isinstance(error, BrokerLost):
                self._probe.close()
            return
        self._looks += 1
        self._pings.append(sight.ping)
        self.sight, self._seen_at = sight, time.monotonic()
        self._trouble.over(time.monotonic())
        self._tell_refused(sight.refused)

    def note(self, pipeline: Pipeline, now: float) -> None:
        """Give the pipeline what is to be said in a flush at `now` (epoch seconds)."""
        pipeline.grow("broker", self._alias, "looks", self._looks)
        pipeline.grow("broker", self._alias, "looks_failed", self._failed)
        while self._pings:
            pipeline.note("broker", self._alias, "ping", self._pings.popleft())
        sight = self.sight
        if sight is None or self.age > FRESH * self.interval:
            return
        for metric in ("connections", "memory_bytes", "unacked"):
            value = getattr(sight, metric)
            if value is not None:
                pipeline.note("broker", self._alias, metric, value)
        scene = self.scene(pipeline, now)
        found = findings(scene) if self._is_asked else None
        for queue, gauges in self._shown(scene, pipeline, found).items():
            for metric, value in gauges.items():
                pipeline.note("queue", queue, metric, value)
        if found is not None:
            pipeline.note("cluster", "all", "findings", len(found))
            self._note_workers(pipeline, found)

    @property
    def age(self) -> float:
        """Seconds since what is known was seen."""
        return time.monotonic() - self._seen_at

    def shown(self, pipeline: Pipeline, now: float) -> dict[str, dict[str, float]]:
        """What was seen, by queue: the gauges as they would be told at `now` (epoch seconds)."""
        scene = self.scene(pipeline, now)
        return self._shown(scene, pipeline, findings(scene) if self._is_asked else None)

    def scene(self, pipeline: Pipeline, now: float) -> Scene:
        """All that is known of queues and workers at `now` (epoch seconds)."""
        hands = pipeline.hands(now)
        crew = self._interview.crew(hands) if self._interview else Crew(hands)
        queues = {facts.name: self._attended(facts, crew) for facts in self._seen}
        self._follow(queues, crew)
        busy: dict[str, dict[str, Busy]] = {}
        for queue, name, waiting, running in pipeline.busy():
            busy.setdefault(queue, {})[name] = Busy(waiting, running)
        stalled = {queue: trend.stalled for queue, trend in self._trends.items()}
        return Scene(queues, crew, now, stalled, busy, self._visibility)

    def close(self) -> None:
        """Look no more."""
        self._probe.close()

    @property
    def _seen(self) -> Sequence[QueueFacts]:
        return self.sight.queues if self.sight else ()

    @property
    def _is_asked(self) -> bool:
        """Whether the workers had their time to answer."""
        return self._interview is not None and self._interview.rounds > 0

    @property
    def _knows(self) -> bool:
        """Whether whoever is alive must have been heard of."""
        return self._is_asked or time.monotonic() - self._began > DEAF

    def _tell_refused(self, refused: frozenset[str]) -> None:
        """Of each queue once: nobody is asked for these rights twice."""
        if refused - self._refused:
            new, self._refused = sorted(refused - self._refused), refused
            names = ",".join(new[:MOST_TOLD]) + (",..." if len(new) > MOST_TOLD else "")
            self._log.warning("queues_unseen", queues=names, error="access refused", cure=CURE)

    def _attended(self, facts: QueueFacts, crew: Crew) -> QueueFacts:
        """`facts` with their consumers. Who has just begun to listen knows of nobody yet."""
        if self._visibility is None or not self._knows:
            return facts
        return replace(facts, consumers=crew.consumers(facts.name))

    def _follow(self, queues: Mapping[str, QueueFacts], crew: Crew) -> None:
        """Let a new look move the trends."""
        if self._noted_at == self._seen_at:
            return
        self._noted_at = at = self._seen_at
        for name, facts in queues.items():
            if facts.length is not None:
                trend = self._trends.setdefault(name, Trend(at))
                trend.note(at, facts.length, crew.processed(name))
        self._trends = {name: trend for name, trend in self._trends.items() if name in queues}

    def _shown(
        self, scene: Scene, pipeline: Pipeline, found: Sequence[Finding] | None
    ) -> dict[str, dict[str, float]]:
        oldest, shown = pipeline.oldest(), {}
        wrong = {(finding.kind, finding.entity) for finding in found or ()}
        for name, facts in scene.queues.items():
            gauges = shown[name] = dict(told(facts, oldest.get(name), scene.now, self._levels))
            if facts.length is None:
                continue
            drain_s = self._trends[name].drain_s
            if drain_s is not None:
                gauges["drain_s"] = drain_s
            is_safe = self._knows and safe_to_scale_down(facts, scene.crew)
            gauges["safe_to_scale_down"] = float(is_safe)
            if found is not None:
                gauges |= {kind: float((kind, name) in wrong) for kind in KINDS["queue"]}
        return shown

    def _note_workers(self, pipeline: Pipeline, found: Iterable[Finding]) -> None:
        """What is wrong with workers, of those whose tasks with an ETA are known."""
        if self._visibility is None:
            return
        wrong = {(finding.kind, finding.entity) for finding in found}
        pipeline.answers = {
            name: {**told, **{kind: float((kind, name) in wrong) for kind in KINDS["worker"]}}
            if "scheduled" in told
            else told
            for name, told in pipeline.answers.items()
        }


def told(
    facts: QueueFacts, sent: float | None, now: float, levels: Levels
) -> Iterator[tuple[str, float]]:
    """The gauges of one queue; what is not known is left out. `sent` is when the oldest task that
    waits in it was sent, as far as events tell: the broker knows better, if it does."""
    for metric in ("length", "unacked", "consumers", "memory_bytes"):
        value = getattr(facts, metric)
        if value is not None:
            yield metric, value
    length = facts.length
    if length is None:
        return
    yield "level", level(length, thresholds_of(facts.name, levels))
    if facts.consumers is not None:
        yield "unconsumed", 0 if facts.consumers else length
    since = facts.oldest_at or sent
    if not length:
        yield "oldest_age_s", 0.0
    elif since is not None:
        yield "oldest_age_s", max(0.0, now - since)
