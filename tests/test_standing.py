"""How things stand at a flush; the numbers themselves are tried with the pipeline."""

from celery_statsd.aggregator import Aggregator
from celery_statsd.events import decode
from celery_statsd.names import Names
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
