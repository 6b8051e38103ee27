"""What listens: on a broker in memory and on a real Redis, beside others, and never for them."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest
import redis

from celery_statsd.errors import ConfigError
from celery_statsd.log import Log
from celery_statsd.metric import Batch
from celery_statsd.pipeline import Pipeline
from celery_statsd.probes import probe_for
from celery_statsd.source import source_for
from celery_statsd.source.base import Broker, Facts, Message, Source
from celery_statsd.survey import Survey
from celery_statsd.top.ear import Ear
from celery_statsd.top.frame import Detail, Tab
from celery_statsd.top.witness import Witness
from tests.bodies import Process, body
from tests.servers.process import free_port, wait_until
from tests.servers.redis import Redis
from tests.source.stream import send

LOG = Log("error")
JSON = Facts("application/json", "utf-8", "w1@web1")
W1 = Process()


class Script(Source):
    """A source that gives what it is told, as a broker would: `give` from any thread."""

    def __init__(self) -> None:
        super().__init__(LOG)
        self.acks = 0
        self.left = False
        self.fault: Exception | None = None
        self._given: list[Message] = []
        self._news = threading.Condition()

    def give(self, *messages: Message) -> None:
        """These come next."""
        with self._news:
            self._given += messages
            self._news.notify_all()

    @property
    def place(self) -> str:
        return "script://"

    def ack(self) -> None:
        self.acks += 1

    def _open(self) -> None:
        pass

    def _read(self, timeout: float) -> list[Message]:
        with self._news:
            self._news.wait_for(lambda: self._given or self.fault, timeout)
            if self.fault:
                raise self.fault
            given, self._given = self._given, []
        return given

    def _drop(self) -> None:
        pass

    def _leave(self) -> None:
        self.left = True


@pytest.fixture
def script() -> Script:
    """A source under the test's hand."""
    return Script()


@pytest.fixture
def ear(script: Script) -> Iterator[Ear]:
    """What listens to it."""
    with Ear(script, Pipeline(), Witness()) as listening:
        yield listening


def counted(batches: list[Batch], metric: str) -> int:
    """A counter of all tasks together."""
    return sum(
        v for b in batches for s, v in b.counters if (s.family, s.metric) == ("cluster", metric)
    )


def until(ear: Ear, condition: Callable[[list[Batch]], bool]) -> list[Batch]:
    """The batches until they hold what is waited for."""
    batches: list[Batch] = []

    def holds() -> bool:
        batches.append(ear.batch(time.time())[0])
        return condition(batches)

    wait_until(holds, 10, "it is heard")
    return batches


def test_what_is_said_is_counted_and_acknowledged(ear: Ear, script: Script) -> None:
    """Each once, however often one asks; what is no JSON is refused, and counted."""
    now = time.time()
    events = [W1.received("a", now), W1.started("a", now), W1.succeeded("a", now)]
    script.give(*(Message(body(event), JSON) for event in events))
    script.give(Message(b"\x80", Facts("application/x-pickle")))
    batches = until(ear, lambda found: counted(found, "succeeded") > 0)
    batches += [ear.batch(time.time())[0]]
    assert (1, 1) == (counted(batches, "received"), counted(batches, "succeeded"))
    bad = [v for b in batches for s, v in b.counters if s.metric == "events_bad"]
    assert 1 == sum(bad)
    wait_until(lambda: script.acks > 1, 5, "the broker may forget it")


def test_one_can_be_looked_into(ear: Ear, script: Script) -> None:
    """A task and a worker; a queue holds nothing to look into."""
    now = time.time()
    for uuid, last in (("a", W1.started), ("b", W1.failed)):
        script.give(*(Message(body(e), JSON) for e in (W1.received(uuid, now), last(uuid, now))))
    until(ear, lambda found: counted(found, "failed") > 0)
    task, worker = ear.detail(Tab.TASKS, "shop.pay"), ear.detail(Tab.WORKERS, "w1@web1")
    assert ["a"] == [one.uuid for one in task.running] == [one.uuid for one in worker.running]
    assert ((("KeyError", 1),), ()) == (task.classes, worker.classes)
    assert 1 == len(task.failures) == len(worker.failures)
    assert Detail() == ear.detail(Tab.QUEUES, "q") == ear.detail(Tab.TASKS, "")
    assert Detail() == ear.detail(Tab.TASKS, "other")


def test_who_said_goodbye_runs_nothing(ear: Ear, script: Script) -> None:
    """Once the farewell counts."""
    now = time.time() - 20
    events = (
        W1.beat(now, 0, freq=0.2),
        W1.received("a", now),
        W1.started("a", now),
        W1.offline(now + 1, freq=0.2),
    )
    script.give(*(Message(body(event), JSON) for event in events))

    until(ear, lambda found: counted(found, "started") > 0)
    wait_until(lambda: not ear.batch(time.time())[1], 10, "it has left")
    assert () == ear.detail(Tab.WORKERS, "w1@web1").running


def test_bounds_are_kept_while_nobody_asks(script: Script) -> None:
    """As in a pause: more tasks than it may remember, and no refresh."""
    pipeline = Pipeline(max_attempts=50)
    with Ear(script, pipeline, witness := Witness(50)):
        now = time.time()
        for number in range(300):
            script.give(
                Message(body(W1.received(str(number), now), W1.started(str(number), now)), JSON)
            )
        heard = lambda: 600 <= pipeline.ledger.events  # noqa: E731
        wait_until(heard, 10, "all is heard")
        wait_until(lambda: pipeline.balance["running"] <= 50, 10, "what is too much is forgotten")
        wait_until(lambda: len(witness) <= 100, 10, "here, too")


def test_a_fault_of_ours_reaches_whoever_draws(ear: Ear, script: Script) -> None:
    """A view of nothing that looks alive would be worse than none."""
    script.fault = ZeroDivisionError("ours")
    script.give(Message(b"{}", JSON))
    with pytest.raises(ZeroDivisionError, match="ours"):
        until(ear, lambda _: False)


def test_leaving_takes_leave_of_the_broker(script: Script) -> None:
    """And leaves no thread."""
    before = threading.active_count()
    with Ear(script, Pipeline(), Witness()) as ear:
        assert (True, "script://", False) == (ear.connected, ear.place, ear.probed)
    assert (True, before) == (script.left, threading.active_count())


def test_a_broker_out_of_reach_is_told_before_anything_is_drawn() -> None:
    """With the cure."""
    url = f"redis://127.0.0.1:{free_port()}/0"
    ear = Ear(source_for(Broker((url,)), LOG), Pipeline(), Witness())
    with pytest.raises(ConfigError, match=r"cannot be listened to .* start the broker"):
        ear.__enter__()


def test_on_redis_it_hears_and_looks(redis_server: Redis) -> None:
    """The events of others, and the queues: those that are named, and those events tell of."""
    url = redis_server.fresh_url()
    pipeline = Pipeline()
    ear = Ear(source_for(Broker((url,)), LOG), pipeline, Witness())
    probe = probe_for(Broker((url,)))
    assert probe is not None
    ear.survey = Survey(probe, lambda: ear.names(("etl",)), LOG, interval=0.1)
    with redis.Redis.from_url(url) as client:
        client.lpush("etl", "{}", "{}")
    with ear:
        send(url, ["a", "b"])
        pipeline.feed(
            body(Process("gen1@app1", 7).sent("c", time.time(), queue="mails")), time.time()
        )
        lengths: dict[str, float] = {}

        def seen() -> bool:
            gauges = ear.batch(time.time())[0].gauges
            lengths.update((s.entity, v) for s, v in gauges if s.metric == "length")
            return {"etl", "mails"} <= set(lengths)

        wait_until(seen, 10, "both queues")
        wait_until(lambda: "worker@host" in ear.batch(time.time())[1], 10, "the sender")
    assert {"etl": 2, "mails": 0} == lengths
