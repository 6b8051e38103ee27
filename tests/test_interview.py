"""When the workers are asked, and what of their answers is told for how long."""

import io
import threading
import time
from collections.abc import Collection, Mapping
from typing import Any, cast

import pytest

from celery_statsd import interview as interviewing
from celery_statsd.crew import Crew, Hand, WorkerFacts
from celery_statsd.errors import AskRefused, BrokerLost
from celery_statsd.interview import (
    AGAIN_AFTER,
    FRESH,
    MOST_NAMED,
    MOST_QUEUES,
    NEW_AFTER,
    ROLL_OUT,
    Interview,
    described,
    gauges_of,
)
from celery_statsd.life import State
from celery_statsd.log import Log
from celery_statsd.pipeline import Pipeline
from tests.bodies import NOON, Process, body

STATS = {"pool": {"max-concurrency": 4}, "prefetch_count": 16}
INTERVAL = 60.0


def answer(*queues: str) -> dict[str, Any]:
    return {"stats": STATS, "active_queues": [{"name": name} for name in queues]}


class Voice:
    """Answers what it is told to, or fails with it; and remembers who was asked."""

    def __init__(self) -> None:
        self.said: Mapping[str, Any] | Exception = {}
        self.asked: list[tuple[str, ...]] = []
        self.hung_up = False
        self.unreadable = 0

    def ask(
        self,
        questions: Any,
        timeout: float,
        names: Collection[str],
        expected: Collection[str],
        digest: Any,
    ) -> Mapping[str, Any]:
        del questions, timeout, expected
        self.asked.append(tuple(names))
        if isinstance(self.said, Exception):
            raise self.said
        return {
            name: {question: digest(question, reply) for question, reply in told.items()}
            for name, told in self.said.items()
            if not names or name in names
        }

    def hang_up(self) -> None:
        self.hung_up = True


class Room:
    """An interview, at a time of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.voice, self.logged = Voice(), io.StringIO()
        self.hands: dict[str, Hand] = {}
        self.leads = True
        self._now = self._began = time.monotonic()
        monkeypatch.setattr(interviewing.time, "monotonic", lambda: self._now)
        self.interview = Interview(
            cast("Any", self.voice),
            lambda: self.hands,
            lambda: self.leads,
            Log(stream=self.logged),
            interval=INTERVAL,
            alias="redis",
        )

    def think(self, at: float) -> None:
        """What it does `at` seconds."""
        self._now = self._began + at
        self.interview.think()

    def known(self, at: float) -> Mapping[str, WorkerFacts]:
        self._now = self._began + at
        return self.interview.crew(self.hands).facts

    @property
    def lines(self) -> list[str]:
        return self.logged.getvalue().splitlines()


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Room:
    """One in which nobody is heard of yet."""
    return Room(monkeypatch)


def test_all_are_asked_each_interval(room: Room) -> None:
    """Whoever is there, at once and then seldom."""
    for at in range(0, 130, 5):
        room.think(at)
    assert [()] * 3 == room.voice.asked
    assert 3 == room.interview.rounds


def test_who_does_not_lead_does_not_ask(room: Room) -> None:
    """And does so at once when it begins to lead."""
    room.leads = False
    room.think(0)
    room.think(100)
    assert [] == room.voice.asked
    room.leads = True
    room.think(101)
    room.leads = False
    room.think(102)
    room.leads = True
    room.think(103)
    assert [()] * 2 == room.voice.asked


def test_a_new_worker_is_asked_soon_and_again(room: Room) -> None:
    """As long as it does not answer, a few times; and once more when it is another process."""
    room.think(0)
    room.hands = {"a": Hand(State.UP, pid=1), "dead": Hand(State.DOWN, pid=2)}
    for at in range(1, 55):
        room.think(at)
    assert [(), *[("a",)] * len(NEW_AFTER)] == room.voice.asked
    room.voice.said = {"a": answer("etl")}
    room.hands["a"] = Hand(State.UP, pid=3)
    for at in range(55, 60):
        room.think(at)
    assert [("a",)] == room.voice.asked[1 + len(NEW_AFTER) :]
    assert ("etl",) == room.known(60)["a"].queues
    room.hands["a"] = Hand(State.UP, pid=4)
    assert {} == room.known(60)


def test_many_new_workers_are_asked_without_their_names(room: Room) -> None:
    """As all others are, and not each second, however many come."""
    room.think(0)
    for at in range(1, 30):
        for number in range(MOST_NAMED + 1):
            room.hands[f"{at}-{number}"] = Hand(State.UP, pid=1)
        room.think(at)
    assert {()} == set(room.voice.asked[1:])
    assert 1 + 29 / ROLL_OUT >= len(room.voice.asked) - 1


def test_answers_that_cannot_be_read_are_told(room: Room) -> None:
    """Once, with what helps."""
    room.voice.unreadable = 6
    room.think(0)
    room.think(INTERVAL)
    (line,) = room.lines
    assert "answers_unreadable" in line
    assert "task_serializer" in line


def test_too_many_queues_are_not_looked_at_and_told(room: Room) -> None:
    """Once, with what helps."""
    room.voice.said = {f"w{n}": answer(f"q{n}", f"r{n}") for n in range(MOST_QUEUES)}
    room.think(0)
    for _ in range(2):
        assert MOST_QUEUES == len(room.interview.queues)
    (line,) = room.lines
    assert "queues_not_looked_at" in line
    assert f"queues={MOST_QUEUES}" in line


def test_what_many_workers_know_is_kept_once(room: Room) -> None:
    """They are many, and the names of their tasks are long."""
    told = {"registered": [f"task {number}" for number in range(100)]}
    room.voice.said = {f"w{number}": dict(told) for number in range(100)}
    room.think(0)
    names = {id(facts.registered) for facts in room.known(0).values()}
    assert 1 == len(names)


def test_what_hardly_changes_is_known_as_long_as_the_process_lives(room: Room) -> None:
    """All else as long as it is fresh; of one that was never heard, nothing longer than that."""
    room.hands = {"a": Hand(State.UP, pid=1), "b": Hand(State.UP, pid=1)}
    room.voice.said = dict.fromkeys(("a", "b", "unheard"), answer("etl"))
    room.think(0)
    whole = WorkerFacts(pool_size=4, prefetch=16, queues=("etl",))
    assert dict.fromkeys(("a", "b", "unheard"), whole) == room.known(FRESH * INTERVAL)
    room.hands["b"] = Hand(State.DOWN, pid=1)
    assert {"a": WorkerFacts(pool_size=4, queues=("etl",))} == room.known(FRESH * INTERVAL + 1)
    room.voice.said = {}
    room.think(FRESH * INTERVAL + 1)
    room.hands = {}
    assert {} == room.known(FRESH * INTERVAL + 1)


def test_a_refusal_is_told_once_and_counted(room: Room) -> None:
    """With what helps; and it is tried again much later only."""
    room.voice.said = AskRefused("access refused")
    for at in (0, 100, AGAIN_AFTER + 1, 2 * AGAIN_AFTER):
        room.think(at)
    pipeline = Pipeline()
    room.interview.note(pipeline, NOON)
    counted = {s.metric: n for s, n in pipeline.flush(NOON).counters if s.family == "broker"}
    assert (0, 2) == (counted["asks"], counted["asks_failed"])
    assert 0 == room.interview.rounds
    (line,) = room.lines
    assert "workers_not_asked" in line
    assert "inspect_interval" in line


def test_a_failure_speaks_once_and_when_it_ends(room: Room) -> None:
    """A fault of ours is one more failure."""
    for at, said in ((0, BrokerLost("gone")), (70, ZeroDivisionError()), (140, {})):
        room.voice.said = said
        room.think(at)
    assert "workers_not_asked" in room.lines[0]
    assert "workers_asked" in room.lines[-1]
    assert 1 == room.interview.rounds


def test_what_was_answered_is_told_of_those_who_are_heard(room: Room) -> None:
    """Beside what their events tell; who is dead has no slots any more."""
    pipeline, now = Pipeline(), NOON
    pipeline.begin(now)
    pipeline.feed(body(Process("a", 7).beat(now, 0)), now)
    room.hands = pipeline.hands(now)
    room.voice.said = {"a": answer("etl", "bcast.1"), "unheard": answer("mails")}
    room.think(0)
    room.interview.note(pipeline, now)
    told = {(s.entity, s.metric): value for s, value in pipeline.flush(now).gauges}
    assert (4, 16, 2) == tuple(told["a", m] for m in ("pool_size", "prefetch_count", "queues"))
    assert not [entity for entity, _ in told if entity == "unheard"]
    assert ("etl", "mails") == room.interview.queues
    pipeline.tick(now + 30)
    room.hands = pipeline.hands(now + 30)
    room.interview.note(pipeline, now + 30)
    told = {(s.entity, s.metric): value for s, value in pipeline.flush(now + 30).gauges}
    assert (0, 0, 0) == tuple(told["a", m] for m in ("up", "pool_size", "queues"))
    shown = described(pipeline.workers(now), room.interview.crew(room.hands), now)
    assert {"state": "down", "version": "5.7.0", "pool_size": 4.0}.items() <= shown["a"].items()
    assert ("unknown", ("mails",)) == (shown["unheard"]["state"], shown["unheard"]["queues"])


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (WorkerFacts(), {}),
        (WorkerFacts(pool_size=0), {"pool_size": 0}),
        (WorkerFacts(scheduled=0), {"scheduled": 0, "eta_ahead_s": 0}),
        (WorkerFacts(scheduled=1, eta_at=NOON + 9), {"scheduled": 1, "eta_ahead_s": 9}),
        (WorkerFacts(scheduled=1, eta_at=NOON - 9), {"scheduled": 1, "eta_ahead_s": 0}),
        (WorkerFacts(registered=("a", "b"), queues=("q",)), {"registered": 2, "queues": 1}),
        (WorkerFacts(revoked=3, prefetch=4, reserved=5), {"revoked_ids": 3, "prefetch_count": 4}),
    ],
)
def test_what_is_not_known_is_left_out(facts: WorkerFacts, expected: dict[str, float]) -> None:
    """`reserved` is told by events."""
    assert expected == dict(gauges_of(facts, NOON))


def test_it_ends_when_it_is_told_to(room: Room) -> None:
    """And waits for no answer."""
    stopping = threading.Event()
    stopping.set()
    room.interview.run(stopping)
    room.interview.close()
    assert ([], True) == (room.voice.asked, room.voice.hung_up)
    assert Crew() == room.interview.crew({})
