"""Which usual tasks are looked at closely: those of which `endings` or `queues` could say
something, and no others as long as all goes well."""

from collections.abc import Sequence

import pytest

from celery_statsd import suspects
from celery_statsd.events import decode
from celery_statsd.lanes import Lane
from celery_statsd.life import Life
from celery_statsd.passage import Passage
from celery_statsd.queues import Line
from tests.bodies import NOON, Process, body

PATIENCE = 60.0


def life_of(process: Process, reserved: int = 0, running: int = 0) -> Life:
    (event,) = decode(body(process.online(NOON))).events
    life = Life(event)
    life.unusual_reserved, life.unusual_running = reserved, running
    return life


def passage(life: Life | None, started: float | None = None, sent: float | None = None) -> Passage:
    lane = Lane("shop.pay", "q", Line())
    received = None if life is None else NOON
    return Passage(lane, life=life, sent=sent, received=received, started=started)


def doubted(tasks: dict[str, Passage], life: Life, starts: Sequence[float] = ()) -> set[str]:
    return set(suspects.doubted(tasks, [life], lambda _: list(starts), PATIENCE))


def test_all_that_a_worker_held_when_it_went_is_judged() -> None:
    """Also an attempt whose next one another worker has received."""
    gone, other = life_of(Process(), 1, 2), life_of(Process("w2@web2", 202), 1)
    gone.gone_at = NOON
    again = passage(other)
    again.earlier = passage(gone, NOON + 1)
    tasks = {"a": passage(gone), "b": passage(gone, NOON + 1), "c": again, "d": passage(other)}
    assert {"a", "b", "c"} == doubted(tasks, gone)
    assert set() == doubted(tasks, other)


@pytest.mark.parametrize(("idle_for", "found"), [(PATIENCE - 1, set()), (PATIENCE, {"a"})])
def test_what_an_idle_worker_holds_is_judged_when_it_is_so_for_long(
    idle_for: float, found: set[str]
) -> None:
    """Its start must have gone unheard."""
    idle = life_of(Process(), reserved=1)
    idle.idle_stamp, idle.beat_stamp = NOON, NOON + idle_for
    assert found == doubted({"a": passage(idle)}, idle)


@pytest.mark.parametrize(
    ("active", "began", "unusual", "found"),
    [
        (2, (0, 1), (), set()),  # as many as it says
        (1, (0, 1), (), {"a", "b"}),  # one too many, begun long before it said so
        (1, (0, 200), (), set()),  # the other began after it said so
        (1, (0,), (200,), set()),
        (1, (0,), (1,), {"a"}),
        (1, (90, 95), (), set()),  # too young to be told from a late event
        (0, (90, 95), (), {"a", "b"}),  # but when it says that none runs
    ],
)
def test_what_runs_beyond_what_a_worker_says_is_judged(
    active: int, began: tuple[float, ...], unusual: tuple[float, ...], found: set[str]
) -> None:
    """By the last but one of its heartbeats, 100 seconds in; unusual ones count."""
    life = life_of(Process(), running=len(began) + len(unusual))
    life.proven_stamp, life.proven_active = NOON + 100, active
    tasks = {uuid: passage(life, NOON + at) for uuid, at in zip("abc", began, strict=False)}
    assert found == doubted(tasks, life, [NOON + at for at in unusual])


def test_what_a_queue_has_left_behind_is_judged() -> None:
    """What was sent before its lane's time; the oldest of the rest is known from then on."""
    tasks = {uuid: passage(None, sent=NOON + at) for uuid, at in (("a", 5), ("b", 1), ("c", 3))}
    lane = tasks["a"].lane
    for waiting in tasks.values():
        waiting.lane = lane
    tasks["d"] = passage(None, sent=NOON)
    tasks["e"] = passage(life_of(Process()), sent=NOON)  # it waits no more
    tasks["e"].lane = lane
    assert ["b"] == suspects.overtaken(tasks, {lane: NOON + 2})
    assert NOON + 3 == lane.oldest
