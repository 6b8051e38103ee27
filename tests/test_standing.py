"""How things stand at a flush; the numbers themselves are tried with the pipeline."""

from celery_statsd.aggregator import Aggregator
from celery_statsd.events import decode
from celery_statsd.folding import folder
from celery_statsd.names import Names
from celery_statsd.pipeline import Pipeline
from celery_statsd.roster import Roster
from celery_statsd.rules import COUNTERS
from celery_statsd.standing import gauges_of, note_in_flight, note_workers
from celery_statsd.task import Stage
from tests.bodies import NOON, Process, body


def adding() -> Aggregator:
    return Aggregator(Names("celery", "default", "all", ()), COUNTERS)


def gauges(aggregator: Aggregator) -> dict[tuple[str, str, str], float]:
    batch = aggregator.drain(NOON)
    return {(s.family, s.entity, s.metric): value for s, value in batch.gauges}


def test_what_is_in_flight_is_added_up_by_task_and_in_all() -> None:
    """A task that has none any more stands at 0; a stage that nobody is in, too."""
    made = adding()
    note_in_flight(made, [(Stage.QUEUED, "a", 2), (Stage.QUEUED, "a", 1)], whole=True)
    assert {
        ("task", "a", "queued"): 3, ("cluster", "all", "queued"): 3,
        ("cluster", "all", "reserved"): 0, ("cluster", "all", "running"): 0,
    } == gauges(made)  # fmt: skip
    note_in_flight(made, [], whole=True)
    assert 0 == gauges(made)["task", "a", "queued"]


def test_a_part_of_the_cluster_does_not_know_what_waits() -> None:
    """It says nothing of it."""
    made = adding()
    note_in_flight(made, [(Stage.QUEUED, "a", 2), (Stage.RUNNING, "a", 1)], whole=False)
    found = gauges(made)
    assert {"reserved", "running"} == {metric for _, _, metric in found}
    assert 1 == found["cluster", "all", "running"]


def test_a_worker_is_gauged_by_what_is_known_of_it() -> None:
    """And closed when nothing more is to be said."""
    made, roster = adding(), Roster()
    (event,) = decode(body(Process().beat(NOON, 7, active=1))).events
    roster.observe(event, NOON)
    (life,) = roster
    known = gauges_of(life, roster, NOON + 1)
    assert {"up": 1.0, "processed": 7, "heartbeat_age_s": 1.0}.items() <= known.items()
    note_workers(
        made, roster, NOON + 1, {"w1@web1": {"pool_size": 4.0}, "w2@web1": {"queues": 1.0}}
    )
    known["pool_size"] = 4.0
    assert known == {metric: value for (_, _, metric), value in gauges(made).items()}
    (farewell,) = decode(body(Process().offline(NOON + 2))).events
    roster.observe(farewell, NOON + 2)
    roster.tick(NOON + 60)
    note_workers(made, roster, NOON + 60, {})
    assert {0.0} == set(gauges(made).values())
    note_workers(made, roster, NOON + 61, {})
    assert {} == gauges(made)


def test_workers_of_one_template_are_one() -> None:
    """Counters add up to the unit; `up` is how many live, what they do is added up, a load is the
    highest; who is dead counts no more, and the series stay while pods come and go."""
    pipeline = Pipeline(fold=folder("deployment"))
    pipeline.begin(NOON)
    pods = [Process(f"celery@web-6d5f7c9b8-x7k2{n}", n) for n in (5, 6, 7)]
    alone = Process("celery@etl", 9)
    for number, pod in enumerate((*pods, alone), 1):
        beat = pod.beat(NOON, 0, active=number, loadavg=[number, 0, 0])
        pipeline.feed(body(beat), NOON)
        for task in range(number):
            uuid = f"{number}-{task}"
            pipeline.feed(body(pod.received(uuid, NOON)), NOON)
            pipeline.feed(body(pod.started(uuid, NOON)), NOON)
            pipeline.feed(body(pod.succeeded(uuid, NOON)), NOON)
    pipeline.answers = {pod.hostname: {"pool_size": 4.0, "queues": 2.0} for pod in pods[:2]}
    batch = pipeline.flush(NOON + 1)
    told = {(s.entity, s.metric): value for s, value in (*batch.counters, *batch.gauges)}
    workers = {s.entity for s, _ in batch.gauges if s.family == "worker"}
    assert {"celery@web-*", "celery@etl"} == workers
    assert (6, 6, 4) == (
        told["celery@web-*", "received"],
        told["celery@web-*", "succeeded"],
        told["celery@etl", "succeeded"],
    )
    expected = {"up": 3, "active": 6, "loadavg_1m": 3, "pool_size": 8, "queues": 2, "flapping": 0}
    assert expected == {metric: told["celery@web-*", metric] for metric in expected}
    assert ["celery.default.worker.celery_at_web--_.up.all"] == [
        s.path for s, _ in batch.gauges if (s.entity, s.metric) == ("celery@web-*", "up")
    ]
    for pod in pods[1:]:
        pipeline.feed(body(pod.beat(NOON + 20, 0, active=1)), NOON + 20)
    batch = pipeline.flush(NOON + 21)
    told = {(s.entity, s.metric): value for s, value in (*batch.counters, *batch.gauges)}
    assert (2, 2, 1) == tuple(told["celery@web-*", m] for m in ("up", "active", "offline"))


def test_the_name_of_a_template_outlives_a_restart() -> None:
    """And one that has changed meanwhile holds for those who were there before."""
    old = Pipeline(fold=folder("pods"))
    old.feed(body(Process("celery@etl-0").beat(NOON, 0)), NOON)
    for template, name in (("pods", "celery@etl-*"), (None, "celery@etl-0")):
        new = Pipeline(fold=folder(template))
        new.load(old.dump())
        told = {(s.entity, s.metric): value for s, value in new.flush(NOON + 1).gauges}
        assert 1 == told[name, "up"]
