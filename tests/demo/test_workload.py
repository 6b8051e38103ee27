"""The workload: which publications there are, and what is to become of them."""

import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery, signals

from celery_statsd.demo.workload import JOBS, LONGEST, RETRY_AFTER, Every, Job, Publisher, app_of
from celery_statsd.demo.workload import ConnectionDropped as Dropped

PATIENCE = 20.0


class Post:
    """What was published: its name, arguments, and times relative to now."""

    def __init__(self) -> None:
        self.letters: list[tuple[str, Any, dict[str, Any]]] = []
        self.news = threading.Condition()

    def take(self, sender: str, body: Any, headers: dict[str, Any], **_: Any) -> None:
        """Celery's signal of a publication (protocol 2: the body begins with the arguments)."""
        with self.news:
            self.letters.append((sender, body[0], headers))
            self.news.notify_all()

    def wait(self, count: int) -> None:
        """Wait until `count` have been published."""
        with self.news:
            assert self.news.wait_for(lambda: len(self.letters) >= count, PATIENCE)


@pytest.fixture
def post() -> Iterator[Post]:
    """All that is published meanwhile."""
    post = Post()
    signals.after_task_publish.connect(post.take)
    yield post
    signals.after_task_publish.disconnect(post.take)


def published(post: Post, job: Job, count: int) -> list[tuple[str, Any, dict[str, Any]]]:
    """The first `count` publications of `job`."""
    app: Celery = app_of((job,))
    publisher = Publisher(app, (job,))
    publisher.start()
    post.wait(count)
    publisher.stop()
    assert not publisher.is_alive()
    with app.connection_for_write() as connection:
        connection.default_channel.queue_delete("shop")
    app.close()
    return post.letters[:count]


def test_mishaps_strike_one_in_so_many(post: Post) -> None:
    """By the ordinal: of each four the second, and it fails as often as was asked."""
    job = Job("a", 200.0, 0.1, 0.2, (Every(4, Dropped, 2),))
    arguments = [arguments for _, arguments, _ in published(post, job, 12)]
    struck = [number for number, (_, mishap, _) in enumerate(arguments, 1) if mishap]
    assert [2, 6, 10] == struck
    assert ("ConnectionDropped", 2) == tuple(arguments[1][1:])
    assert all(0.1 <= seconds <= 0.2 for seconds, _, _ in arguments)


def test_delays_and_expiries_are_set(post: Post) -> None:
    """All have an ETA; some expire before it, some have expired already."""
    job = Job("b", 200.0, 0.0, 0.0, delay=1.0, stale_nth=3, dead_nth=4)
    headers = [headers for _, _, headers in published(post, job, 12)]
    assert all(header["eta"] for header in headers)
    expiring = [number for number, header in enumerate(headers, 1) if header["expires"]]
    assert [1, 2, 4, 6, 7, 10] == expiring
    assert all(h["expires"] < h["eta"] for h in headers if h["expires"])


def test_a_burst_is_published_at_once(post: Post) -> None:
    """Whole bursts only."""
    published(post, Job("c", 50.0, 0.0, 0.0, burst=5), 10)
    assert 0 == len(post.letters) % 5


def test_rates_hold_for_each_job(post: Post) -> None:
    """One job published ten times as often as another one."""
    jobs = (Job("fast", 100.0, 0.0, 0.0), Job("slow", 10.0, 0.0, 0.0))
    app = app_of(jobs)
    publisher = Publisher(app, jobs)
    publisher.start()
    post.wait(55)
    publisher.stop()
    with app.connection_for_write() as connection:
        connection.default_channel.queue_delete("shop")
    app.close()
    names = Counter(name for name, _, _ in post.letters[:55])
    assert 3 <= names["slow"] <= 7


def test_the_last_publication_ends_in_time() -> None:
    """The longest way of each job, its queue apart, is shorter than what the demo waits for."""
    for job in JOBS:
        attempts = 1 + min(2, max((every.times for every in job.mishaps), default=0))
        longest = job.delay + attempts * job.slowest + (attempts - 1) * RETRY_AFTER
        assert longest < LONGEST
