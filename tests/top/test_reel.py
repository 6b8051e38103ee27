"""Frames of batches: each entity in its table, workers with their state."""

from celery_statsd.log import Log
from celery_statsd.pipeline import Pipeline
from celery_statsd.source import source_for
from celery_statsd.source.base import Broker
from celery_statsd.top.ear import Ear
from celery_statsd.top.frame import Frame
from celery_statsd.top.reel import Reel
from celery_statsd.top.witness import Witness
from tests.bodies import NOON, Process, body, client

W1, W2, CLIENT = Process("w1@web1", 101), Process("w2@web1", 102), client()


class Film:
    """A reel of a pipeline that a test feeds; nothing else is heard."""

    def __init__(self) -> None:
        self.pipeline = Pipeline(host="here")
        self.pipeline.begin(NOON)
        source = source_for(Broker(("memory://",)), Log("error"))
        self._ear = Ear(source, self.pipeline, Witness())
        self._reel = Reel(10.0, "here", NOON)

    def frame(self, at: float) -> Frame:
        """The next one."""
        return self._reel.frame(self._ear, NOON + at, "said")


def test_a_frame_holds_all_there_is() -> None:
    """Tasks, workers, queues, their sum, and what is said of oneself."""
    film = Film()
    events = [
        CLIENT.sent("a", NOON), W1.received("a", NOON), W1.started("a", NOON + 0.5),
        CLIENT.sent("b", NOON, queue="r"), W1.beat(NOON + 1, 1, active=1),
    ]  # fmt: skip
    film.pipeline.feed(body(*events), NOON + 1)
    frame = film.frame(2)
    (task,), (worker,) = frame.tasks, frame.workers
    assert ("shop.pay", 2, 1.0) == (task.entity, task.total("sent"), task.rate("sent"))
    assert (1, 1, 500.0) == (task.gauge("running"), task.gauge("queued"), task.upper("wait", 95))
    assert ("w1@web1", "up", 1) == (worker.entity, worker.state, worker.gauge("active"))
    assert ["q", "r"] == [queue.entity for queue in frame.queues]
    assert ("all tasks", 2, 0) == (
        frame.total.entity,
        frame.total.total("sent"),
        frame.total.difference,
    )
    assert (5, "said", False) == (frame.agent.total("events"), frame.said, frame.probed)
    assert (NOON + 2, NOON) == (frame.time, frame.began)


def test_a_worker_that_said_goodbye_has_no_row() -> None:
    """Once that counts; what it did before stays in the sums of all."""
    film = Film()
    film.pipeline.feed(body(W1.beat(NOON, 0), W2.received("a", NOON), W2.beat(NOON, 0)), NOON)
    assert ["w1@web1", "w2@web1"] == [worker.entity for worker in film.frame(2).workers]
    film.pipeline.feed(body(W2.offline(NOON + 3, 0)), NOON + 3)
    film.frame(4)
    frame = film.frame(30)
    assert (["w1@web1"], 1) == ([w.entity for w in frame.workers], frame.total.total("received"))


def test_nothing_heard_is_a_frame_too() -> None:
    """Of empty tables."""
    frame = Film().frame(2)
    assert ((), (), ()) == (frame.tasks, frame.workers, frame.queues)
    assert 0 == frame.total.difference
