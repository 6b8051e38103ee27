"""One attempt of a usual task, retold as the tracker would have it."""

import sys
from typing import Any

import msgspec
import pytest

from celery_statsd import passage
from celery_statsd.events import Moment, decode
from celery_statsd.lanes import Lanes
from celery_statsd.life import Index, Life
from celery_statsd.pipeline import Pipeline
from celery_statsd.queues import Queues
from tests.bodies import NOON, Event, Process, body, client, iso
from tests.test_passages import closed

WORKER, OTHER, CLIENT = Process(), Process("w2@web2", 202), client()
ETA = {"eta": iso(NOON + 2)}
FIRST = (
    CLIENT.sent("a", NOON), WORKER.received("a", NOON + 1), WORKER.started("a", NOON + 2),
)  # fmt: skip
COURSES: dict[str, tuple[Event, ...]] = {
    "waits": FIRST[:1],
    "waits for its time": (CLIENT.sent("a", NOON, **ETA), WORKER.received("a", NOON + 1, **ETA)),
    "is reserved": FIRST[:2],
    "runs": FIRST,
    "runs, its publication unknown": FIRST[1:],
    "runs, its publication came late": (*FIRST[1:], FIRST[0]),
    "has succeeded": (*FIRST, WORKER.succeeded("a", NOON + 3)),
    "has failed": (*FIRST, WORKER.failed("a", NOON + 3)),
    "has asked again": (*FIRST, CLIENT.sent("a", NOON + 3, retries=1)),
    "has asked again, and said so": (
        *FIRST, CLIENT.sent("a", NOON + 3, retries=1), WORKER.retried("a", NOON + 3),
    ),
    "runs twice": (
        *FIRST, CLIENT.sent("a", NOON + 3, retries=1), OTHER.received("a", NOON + 4, retries=1),
        WORKER.retried("a", NOON + 4), OTHER.started("a", NOON + 5),
    ),
}  # fmt: skip


def fed(pipeline: Pipeline, course: tuple[Event, ...]) -> Pipeline:
    for number, event in enumerate(course):
        pipeline.feed(body(event), NOON + number)
    return pipeline


def tasks(pipeline: Pipeline) -> list[Any]:
    """The tracker's tasks as plain values, and those workers that tell of them; but for the class
    of an exception, which nobody asks for once it is told."""
    index, tracker = Index(), pipeline._tracker
    known = [*tracker._live.values(), *tracker._past.values()]
    for attempt in (attempt for task in known for attempt in task.attempts):
        attempt.error = "unknown"
    found = [task.dump(index) for task in known]
    lives = [(life.hostname, life.reserved, life.running) for life in index._numbers]
    return [found, lives, +tracker.in_flight, tracker.size]


@pytest.mark.parametrize("course", COURSES.values(), ids=COURSES)
def test_a_task_is_retold_as_the_tracker_would_have_it(course: tuple[Event, ...]) -> None:
    """Field for field."""
    usual = fed(Pipeline(), course)
    assert not usual._tracker.knows("a")
    usual._passages.hand_over("a")
    assert 0 == len(usual._passages)
    assert tasks(fed(closed(), course)) == tasks(usual)


def test_a_passage_is_written_with_those_before_it() -> None:
    """And read again, in its lane."""
    lanes, index = Lanes(Queues()), Index()
    (event,) = decode(body(FIRST[1])).events
    life = Life(event)
    first = passage.Passage(lanes.of("shop.pay", "q"), "app1", NOON, received=NOON + 1, life=life)
    first.started, first.ended, first.outcome = NOON + 2, NOON + 3, Moment.RETRIED
    newest = passage.Passage(lanes.of("shop.pay", "q"), "web1", NOON + 3, retries=1)
    newest.earlier = first
    plain = msgspec.msgpack.decode(msgspec.msgpack.encode(passage.dump(newest, index)))
    assert newest == passage.load(plain, lanes, [life])
    assert [newest, first] == list(newest.attempts())
    assert NOON == newest.age


def test_what_waits_is_small_and_stays_so() -> None:
    """A backlog may be of a million; less than a third, also once it was written and read."""
    lanes = Lanes(Queues())
    one = passage.Waiting(lanes.of("shop.pay", "q"), "app1", NOON)
    again = passage.load(passage.dump(one, Index()), lanes, [])

    assert (one, passage.Waiting) == (again, type(again))
    assert sys.getsizeof(one) * 3 < sys.getsizeof(passage.begun(one))
    assert (None, None, 0, NOON, False) == (one.life, one.started, one.retries, one.age, one.runs)


def test_what_waits_for_its_second_attempt_is_a_passage() -> None:
    """As is what has an ETA: there is more to be known of it."""
    lanes = Lanes(Queues())
    for fields in ({"retries": 1}, {"planned": NOON + 9}):
        one = passage.Passage(lanes.of("shop.pay", "q"), "app1", NOON, **fields)
        assert one == passage.load(passage.dump(one, Index()), lanes, []) == passage.begun(one)
