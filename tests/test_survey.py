"""What a look at the queues finds is told with each flush, as long as it is fresh."""

import io
import time
from collections.abc import Collection, Mapping
from typing import Any, cast

import pytest

from celery_statsd import survey as surveying
from celery_statsd.crew import Crew, Hand, WorkerFacts
from celery_statsd.errors import BrokerLost
from celery_statsd.log import Log
from celery_statsd.metric import Batch
from celery_statsd.pipeline import Pipeline
from celery_statsd.probes.base import Probe, QueueFacts, Sight
from celery_statsd.survey import DEAF, FRESH, Survey, told
from tests.bodies import NOON, Process, body, client

LEVELS = {"default": [100, 500, 1000]}


class Glass(Probe):
    """Shows what it is given, or fails with it."""

    def __init__(self) -> None:
        self.shown: Sight | Exception = Sight((), 0.0)
        self.asked: list[str] = []
        self.closed = 0

    def look(self, queues: Collection[str]) -> Sight:
        self.asked = list(queues)
        if isinstance(self.shown, Exception):
            raise self.shown
        return self.shown

    def close(self) -> None:
        self.closed += 1


class Post:
    """A survey, and the pipeline it tells."""

    def __init__(self) -> None:
        self.glass, self.logged, self.names = Glass(), io.StringIO(), ["etl"]
        log = Log(stream=self.logged)
        self.survey = Survey(self.glass, lambda: self.names, log, levels=LEVELS, alias="redis")
        self.pipeline = Pipeline()

    def flush(self, now: float = NOON) -> Batch:
        self.survey.note(self.pipeline, now)
        return self.pipeline.flush(now)


def gauges(batch: Batch, family: str = "queue") -> dict[tuple[str, str], float]:
    return {(s.entity, s.metric): value for s, value in batch.gauges if s.family == family}


def counters(batch: Batch) -> dict[str, int]:
    return {s.metric: n for s, n in batch.counters if s.family == "broker"}


def test_what_was_seen_is_told() -> None:
    """All that is known, and nothing else; the broker's facts under its alias."""
    post = Post()
    post.glass.shown = Sight((QueueFacts("etl", 500, 2, 0, 64), QueueFacts("q")), 0.25, 7, 1000)
    post.survey.look()
    batch = post.flush()

    assert ["etl"] == post.glass.asked
    assert {
        ("etl", "length"): 500, ("etl", "unacked"): 2, ("etl", "consumers"): 0,
        ("etl", "memory_bytes"): 64, ("etl", "level"): 2, ("etl", "unconsumed"): 500,
        ("etl", "safe_to_scale_down"): 0,
    } == gauges(batch)  # fmt: skip
    assert {("redis", "connections"): 7, ("redis", "memory_bytes"): 1000} == gauges(batch, "broker")
    assert {"looks": 1, "looks_failed": 0} == {
        k: counters(batch)[k] for k in ("looks", "looks_failed")
    }
    (ping,) = [timing for series, timing in batch.timers if series.metric == "ping"]
    assert (250.0,) == ping.values
    assert not [s for s, _ in post.flush(NOON + 10).timers if s.metric == "ping"]


@pytest.mark.parametrize(
    ("facts", "sent", "expected"),
    [
        (QueueFacts("q"), None, {}),
        (QueueFacts("q", 0), NOON - 9, {"length": 0, "level": 0, "oldest_age_s": 0}),
        (QueueFacts("q", 1), None, {"length": 1, "level": 0}),
        (QueueFacts("q", 1), NOON - 9, {"length": 1, "level": 0, "oldest_age_s": 9}),
        (QueueFacts("q", 1), NOON + 9, {"length": 1, "level": 0, "oldest_age_s": 0}),
        (
            QueueFacts("q", 1, oldest_at=NOON - 5),
            NOON - 9,
            {"length": 1, "level": 0, "oldest_age_s": 5},
        ),
        (
            QueueFacts("q", 1000, consumers=1),
            None,
            {"length": 1000, "level": 3, "consumers": 1, "unconsumed": 0},
        ),
    ],
)
def test_what_is_not_known_is_left_out(
    facts: QueueFacts, sent: float | None, expected: dict[str, float]
) -> None:
    """An empty queue has no old message; who takes from it may be unknown."""
    assert expected == dict(told(facts, sent, NOON, LEVELS))


def test_the_oldest_that_waits_is_told_by_events() -> None:
    """Of the usual tasks and of the others, whatever was received or runs."""
    post, sender, worker = Post(), client(), Process()
    post.pipeline.begin(NOON)
    for event in (
        sender.sent("a", NOON, queue="etl"),
        sender.sent("b", NOON + 1, queue="etl"),
        sender.sent("c", NOON + 2, queue="etl", retries=3),
        sender.sent("d", NOON + 3, queue="mails"),
        worker.received("a", NOON + 4),
    ):
        post.pipeline.feed(body(event), NOON + 4)
    assert {"etl": NOON + 1, "mails": NOON + 3} == post.pipeline.oldest()
    assert ["etl", "mails"] == post.pipeline.queues
    post.glass.shown = Sight((QueueFacts("etl", 2), QueueFacts("mails", 1)), 0.0)
    post.survey.look()
    found = gauges(post.flush(NOON + 5))
    assert (4.0, 2.0) == (found["etl", "oldest_age_s"], found["mails", "oldest_age_s"])


def test_what_is_stale_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gauge that stands still would look like a queue that does."""
    post, now = Post(), time.monotonic()
    post.glass.shown = Sight((QueueFacts("etl", 5),), 0.0)
    post.survey.look()
    post.glass.shown = BrokerLost("gone")
    for passed, told_of in ((FRESH * 10 - 1, 3), (FRESH * 10 + 1, 0)):
        post.survey.look()
        monkeypatch.setattr(surveying.time, "monotonic", lambda passed=passed: now + passed)
        batch = post.flush()
        assert told_of == len(gauges(batch))
    assert 1 == counters(batch)["looks_failed"]


def test_a_failure_speaks_once_and_when_it_ends() -> None:
    """A fault of ours is one more failure, and the probe begins anew."""
    post = Post()
    for error in (BrokerLost("gone"), BrokerLost("gone"), ZeroDivisionError()):
        post.glass.shown = error
        post.survey.look()
    assert 1 == post.glass.closed
    post.glass.shown = Sight((), 0.0)
    post.survey.look()
    said = [line.split()[1] for line in post.logged.getvalue().splitlines()]
    assert ["queues_unseen", "queues_seen"] == said
    assert {"looks": 1, "looks_failed": 3}.items() <= counters(post.flush()).items()
    post.survey.close()
    assert 2 == post.glass.closed


class Talk:
    """What the workers said."""

    rounds = 1

    def __init__(self, **facts: WorkerFacts) -> None:
        self.facts = {f"{name}@h": some for name, some in facts.items()}

    def crew(self, hands: Mapping[str, Hand]) -> Crew:
        return Crew(hands, self.facts)


class Redis(Post):
    """A survey of a Redis, which knows nothing of consumers; a worker is heard of."""

    def __init__(self, talk: Talk | None, visibility: float | None = 3600.0) -> None:
        super().__init__()
        log = Log(stream=self.logged)
        self.survey = Survey(
            self.glass, lambda: self.names, log, interview=cast("Any", talk), visibility=visibility
        )
        self.worker = Process("w@h")
        self.pipeline.begin(NOON)
        self.say(self.worker.beat(NOON, 0))

    def say(self, *events: Any) -> None:
        for event in events:
            self.pipeline.feed(body(event), NOON)

    def seen(self, *facts: QueueFacts, now: float = NOON) -> dict[tuple[str, str], float]:
        self.glass.shown = Sight(facts, 0.0, unacked=7)
        self.survey.look()
        return gauges(self.flush(now))


def test_what_may_not_be_looked_at_is_told_once() -> None:
    """It is left out of the metrics, and that would be found out by nobody."""
    post = Post()
    for refused in (["etl"], ["etl"], ["etl", "mails"], ["etl"], []):
        post.glass.shown = Sight((QueueFacts("etl"),), 0.0, refused=frozenset(refused))
        post.survey.look()
    first, second = post.logged.getvalue().splitlines()
    assert "queues_unseen queues=etl error=" in first
    assert "config/redis" in first
    assert "queues_unseen queues=mails error=" in second


def test_on_redis_the_living_workers_are_the_consumers() -> None:
    """Those that say so: so it is known what nobody takes."""
    post = Redis(Talk(w=WorkerFacts(pool_size=2, queues=("mails",))))
    found = post.seen(QueueFacts("etl", 5, 0), QueueFacts("mails", 0, 0))
    assert (0, 5) == (found["etl", "consumers"], found["etl", "unconsumed"])
    assert (1, 0) == (found["mails", "consumers"], found["mails", "unconsumed"])
    assert (0, 1) == (found["etl", "safe_to_scale_down"], found["mails", "safe_to_scale_down"])
    post.pipeline.tick(NOON + 30)
    batch = post.flush(NOON + 30)  # by then the worker is dead
    assert 0 == gauges(batch)["mails", "consumers"]
    assert 1 == gauges(batch, "cluster")["all", "findings"]
    assert 7 == gauges(batch, "broker")["broker", "unacked"]


def test_nobody_is_taken_for_absent_who_was_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor before there was time to be heard of."""
    post, now = Redis(None), time.monotonic()
    post.pipeline = Pipeline()
    assert ("etl", "consumers") not in post.seen(QueueFacts("etl", 5, 0))
    monkeypatch.setattr(surveying.time, "monotonic", lambda: now + DEAF + 1)
    found = post.seen(QueueFacts("etl", 5, 0))
    assert (0, 5) == (found["etl", "consumers"], found["etl", "unconsumed"])
    post.say(post.worker.beat(NOON + 1, 0))
    assert ("etl", "consumers") not in post.seen(QueueFacts("etl", 5, 0))


def test_a_broker_that_knows_its_consumers_is_believed() -> None:
    """None of them is made up where a queue is hidden."""
    post = Redis(Talk(), visibility=None)
    found = post.seen(QueueFacts("etl", 5, consumers=3), QueueFacts("hidden"))
    assert 3 == found["etl", "consumers"]
    assert ("hidden", "consumers") not in found


def test_what_is_wrong_is_a_gauge_of_its_queue_and_worker() -> None:
    """1, else 0; absent until the workers were asked."""
    facts = WorkerFacts(pool_size=1, queues=("etl",), scheduled=1, eta_at=NOON + 9999)
    post = Redis(Talk(w=facts))
    post.pipeline.answers = {"w@h": {"scheduled": 1.0}}
    sender = client()
    post.say(
        sender.sent("a", NOON, name="slow", queue="etl"),
        sender.sent("b", NOON, name="fast", queue="etl"),
        post.worker.received("a", NOON, name="slow"),
        post.worker.started("a", NOON),
    )
    found = post.seen(QueueFacts("etl", 1, 0))
    assert (1, 0, 0) == tuple(
        found["etl", kind] for kind in ("head_of_line", "stuck", "idle_elsewhere")
    )
    batch = post.flush()
    assert 1 == gauges(batch, "worker")["w@h", "redelivered"]
    assert 2 == gauges(batch, "cluster")["all", "findings"]
    unasked = Redis(None)
    assert ("etl", "stuck") not in unasked.seen(QueueFacts("etl", 1, 0))


def test_a_queue_that_shrinks_tells_when_it_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its looks, not by the flushes between them."""
    post, now = Redis(Talk()), time.monotonic()
    for passed, length, drain_s in ((0, 100, None), (10, 80, 40.0), (20, 90, 180.0)):
        monkeypatch.setattr(surveying.time, "monotonic", lambda passed=passed: now + passed)
        assert drain_s == post.seen(QueueFacts("etl", length)).get(("etl", "drain_s"))
        assert drain_s == gauges(post.flush()).get(("etl", "drain_s"))
