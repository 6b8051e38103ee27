"""What is said of a worker: its life's counters, and what is read of it at a flush."""

import pytest

from celery_statsd.events import Moment, decode
from celery_statsd.life import Life, State
from celery_statsd.metric import Kind
from celery_statsd.rules import worker
from celery_statsd.rules.base import nothing
from celery_statsd.rules.worker import Sight
from tests.bodies import NOON, Process, body

GAUGES = {
    rule.metric: rule.value
    for rule in worker.RULES
    if rule.kind is Kind.GAUGE and rule.value is not nothing
}


def life(**fields: object) -> Life:
    (event,) = decode(body(Process().beat(NOON, 42, active=3))).events
    made = Life(event)
    made.note_beat(event, NOON)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def seen(of: Life, lag: float | None = 0.25) -> dict[str, float | None]:
    """All gauges, five seconds past noon."""
    return {metric: value(Sight(of, NOON + 5, lag)) for metric, value in GAUGES.items()}


def test_a_worker_that_beats():
    """All its heartbeat says, its age, and how far its clock is ahead."""
    assert {
        "up": 1.0, "active": 3, "reserved": 2, "processed": 42, "heartbeat_age_s": 5.0,
        "loadavg_1m": 0.5, "loadavg_5m": 0.25, "loadavg_15m": 0.125, "clock_skew_ms": -250.0,
        "flapping": 0.0,
    } == seen(life(state=State.UP, unusual_reserved=2))  # fmt: skip


@pytest.mark.parametrize(
    ("state", "up"),
    [(State.UP, 1.0), (State.DOWN, 0.0), (State.LEFT, 0.0), (State.UNKNOWN, None)],
)
def test_up_is_absent_when_nobody_can_know(state, up):
    """A missing fact is no 0."""
    assert up == seen(life(state=state))["up"]


def test_what_was_never_told_is_absent():
    """A worker without heartbeat: only what we count ourselves."""
    (event,) = decode(body(Process().started("a", NOON))).events
    assert {"reserved": 0, "flapping": 0} == {
        metric: value for metric, value in seen(Life(event), lag=None).items() if value is not None
    }


def test_an_age_is_never_negative():
    """A beat from a moment ago, by a clock that was set back."""
    assert 0.0 == seen(life(beat_at=NOON + 9))["heartbeat_age_s"]


def test_a_load_average_may_be_short():
    """Some systems tell none."""
    values = seen(life(loadavg=(1.5,)))
    assert (1.5, None, None) == tuple(values[f"loadavg_{m}m"] for m in (1, 5, 15))


def test_the_counters_of_a_life():
    """Each by its moment."""
    counters = {rule.metric: rule.needs for rule in worker.RULES if rule.kind is Kind.COUNTER}
    assert {
        "offline": (Moment.OFFLINE,),
        "restarts": (Moment.RESTARTED,),
        "events_lost": (Moment.EVENTS_LOST,),
    } == counters


@pytest.mark.parametrize(
    ("restarts", "flaps"), [((), 0), ((0, 1), 0), ((0, 1, 2), 1), ((-600, 1, 2), 0)]
)
def test_who_begins_anew_three_times_in_ten_minutes_flaps(restarts, flaps):
    """Whatever was before."""
    of, (event,) = life(), decode(body(Process().beat(NOON, 0))).events
    for after in restarts:
        born = Life(event)
        born.succeed(of, NOON + 5 + after)
        of = born
    assert flaps == seen(of)["flapping"]
