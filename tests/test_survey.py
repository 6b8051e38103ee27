"""What a look at the queues finds is told with each flush, as long as it is fresh."""

import io
import time
from collections.abc import Collection

import pytest

from celery_statsd import survey as surveying
from celery_statsd.errors import BrokerLost
from celery_statsd.log import Log
from celery_statsd.metric import Batch
from celery_statsd.pipeline import Pipeline
from celery_statsd.probes.base import Probe, QueueFacts, Sight
from celery_statsd.survey import FRESH, Survey, told
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
    for passed, told_of in ((FRESH * 10 - 1, 2), (FRESH * 10 + 1, 0)):
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
