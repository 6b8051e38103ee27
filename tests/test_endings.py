"""The ends that nobody tells: each cause, and what looks like it and is none."""

import pytest

from celery_statsd.endings import WARM_SHUTDOWN, doubtful, endings
from celery_statsd.events import Moment, decode
from celery_statsd.life import Life
from celery_statsd.task import Attempt, Stage, Task
from tests.bodies import NOON, Process, body

LOST_AFTER, UNREPORTED_AFTER = 30.0, 60.0
RETURNED, LOST, UNREPORTED = Moment.RETURNED, Moment.LOST, Moment.UNREPORTED


def life() -> Life:
    (event,) = decode(body(Process().online(NOON))).events
    return Life(event)


def attempt(of: Life, started: float | None = None, retries: int = 0) -> Attempt:
    """An attempt that was received at noon and started `started` seconds later, if at all."""
    made = Attempt(Task("a"), of, NOON)
    made.task.attempts.append(made)
    made.received, made.retries = NOON, retries
    made.stage = Stage.RESERVED
    if started is not None:
        made.started, made.stage = NOON + started, Stage.RUNNING
    return made


def again(of: Attempt, after: float = 1.0, retries: int = 0) -> None:
    """Somebody receives the task once more."""
    second = Attempt(of.task, life(), of.arrived + after)
    second.received, second.retries = NOON + after, retries
    of.task.attempts.append(second)


def over(of: Life, *held: Attempt, after: float) -> list[Moment | None]:
    """What each of `held` came to, `after` seconds past noon."""
    found = dict(endings(of, list(held), NOON + after, LOST_AFTER, UNREPORTED_AFTER))
    return [found.get(one) for one in held]


def test_a_life_of_which_nothing_is_doubtful() -> None:
    """No look at what it holds is needed until something is."""
    alive = life()
    assert not doubtful(alive)
    for field in ("gone_at", "rejoined_stamp", "idle_stamp"):
        one = life()
        setattr(one, field, NOON)
        assert doubtful(one)
    alive.proven_active, alive.unusual_running = 2, 2
    assert not doubtful(alive)
    alive.unusual_running = 3
    assert doubtful(alive)


@pytest.mark.parametrize("started", [None, 1.0], ids=["reserved", "running"])
def test_a_killed_worker(started: float | None) -> None:
    """What it held is lost when nobody has received it again in time; else it was returned."""
    killed = life()
    killed.gone_at = NOON
    one, two = attempt(killed, started), attempt(killed, started)
    again(two)
    assert [None, RETURNED] == over(killed, one, two, after=LOST_AFTER - 1)
    assert [LOST, RETURNED] == over(killed, one, two, after=LOST_AFTER)


def test_a_retry_is_no_redelivery() -> None:
    """Another message of the same task: the first one is lost all the same."""
    killed = life()
    killed.gone_at = NOON
    one = attempt(killed, 1.0)
    again(one, retries=1)
    assert [LOST] == over(killed, one, after=LOST_AFTER)


def test_a_warm_shutdown() -> None:
    """What had not started went back to the broker; what runs may take its time, and is lost when
    that is up."""
    leaving = life()
    leaving.gone_at = leaving.farewell_at = NOON
    held = attempt(leaving), attempt(leaving, 1.0)
    assert [RETURNED, None] == over(leaving, *held, after=0)
    assert [RETURNED, None] == over(leaving, *held, after=WARM_SHUTDOWN - 1)
    assert [RETURNED, LOST] == over(leaving, *held, after=WARM_SHUTDOWN)


def test_a_warm_shutdown_of_one_whose_starts_were_lost() -> None:
    """Nobody can say that it had not started: it is `unreported`, not `returned`."""
    leaving = life()
    leaving.gone_at = leaving.farewell_at = NOON
    leaving.lost = 1
    assert [UNREPORTED] == over(leaving, attempt(leaving), after=0)


def test_a_lost_connection_gives_back_what_waits() -> None:
    """The broker delivers again what was not acknowledged: what the worker held unstarted from
    before is returned once it was received again; what runs goes on."""
    back = life()
    back.rejoined_stamp = NOON + 5
    waits, came_again, runs = attempt(back), attempt(back), attempt(back, 1.0)
    again(came_again)
    again(runs)
    assert [None, RETURNED, None] == over(back, waits, came_again, runs, after=10)
    back.rejoined_stamp = NOON - 1
    assert [None] == over(back, came_again, after=10)


def test_an_idle_worker_holds_nothing_for_ever() -> None:
    """Received long ago, due, and the worker is idle all the while: its start went unheard."""
    idle = life()
    idle.idle_stamp = NOON
    waits, planned = attempt(idle), attempt(idle)
    planned.eta = NOON + 100
    idle.beat_stamp = NOON + UNREPORTED_AFTER - 1
    assert [None, None] == over(idle, waits, planned, after=100)
    idle.beat_stamp = NOON + UNREPORTED_AFTER
    assert [UNREPORTED, None] == over(idle, waits, planned, after=100)
    idle.beat_stamp = NOON + 100 + UNREPORTED_AFTER
    assert [UNREPORTED, UNREPORTED] == over(idle, waits, planned, after=100)


def test_a_heartbeat_that_says_nothing_runs() -> None:
    """All that had started before it is over; what started behind it is not."""
    alive = life()
    alive.proven_stamp, alive.proven_active = NOON + 2, 0
    before, behind, waits = attempt(alive, 1.0), attempt(alive, 3.0), attempt(alive)
    assert [UNREPORTED, None, None] == over(alive, before, behind, waits, after=10)


def test_a_heartbeat_that_says_fewer_run() -> None:
    """So many of the oldest are over, if they are old: short tasks come and go between beats."""
    alive = life()
    alive.proven_stamp, alive.proven_active = NOON + 100, 2
    held = [attempt(alive, started) for started in (30.0, 10.0, 95.0, 96.0)]
    assert [UNREPORTED, UNREPORTED, None, None] == over(alive, *held, after=101)
    alive.proven_active = 3
    assert [None, UNREPORTED, None, None] == over(alive, *held, after=101)
    alive.proven_stamp = NOON + 10 + UNREPORTED_AFTER - 1
    assert [None] * 4 == over(alive, *held[:2], *held[:2], after=101)


def test_without_a_heartbeat_nothing_is_concluded() -> None:
    """No `active` was ever told."""
    alive = life()
    assert [None, None] == over(alive, attempt(alive, 1.0), attempt(alive), after=10_000)
