"""Who takes from what, and what nobody can know."""

import pytest

from celery_statsd.crew import Crew, Hand, WorkerFacts
from celery_statsd.life import State

UP, DOWN, LEFT, UNKNOWN = State.UP, State.DOWN, State.LEFT, State.UNKNOWN


def crew(**workers: tuple[Hand | None, WorkerFacts | None]) -> Crew:
    """Workers by name, each with its hand and its facts, as far as there are any."""
    return Crew(
        {name: hand for name, (hand, _) in workers.items() if hand},
        {name: facts for name, (_, facts) in workers.items() if facts},
    )


def takes(*queues: str, size: int | None = 4, **more: int) -> WorkerFacts:
    return WorkerFacts(pool_size=size, queues=queues, **more)


@pytest.mark.parametrize(
    ("workers", "expected"),
    [
        ({}, 0),
        ({"a": (Hand(UP), takes("q"))}, 1),
        ({"a": (Hand(UP), takes("q")), "b": (Hand(UP), takes("q", "r"))}, 2),
        ({"a": (Hand(UP), takes("r"))}, 0),
        ({"a": (Hand(DOWN), takes("q")), "b": (Hand(LEFT), takes("q"))}, 0),
        ({"a": (Hand(DOWN), None)}, 0),
        ({"a": (Hand(UP), None)}, None),
        ({"a": (Hand(UP), WorkerFacts(pool_size=4))}, None),
        ({"a": (Hand(UNKNOWN), takes("q"))}, None),
        ({"a": (None, takes("q"))}, None),
        ({"a": (Hand(UNKNOWN), takes("r"))}, 0),
        ({"a": (Hand(UP), takes("q")), "b": (Hand(UP), None)}, 1),
        ({"a": (Hand(UP), takes("r")), "b": (Hand(UP), None)}, None),
    ],
)
def test_consumers_are_the_living_who_say_so(workers, expected):
    """None, and no 0, as long as somebody might be one."""
    assert expected == crew(**workers).consumers("q")


@pytest.mark.parametrize(
    ("workers", "expected"),
    [
        ({}, 0),
        ({"a": (Hand(UP, active=0), takes("q"))}, 0),
        ({"a": (Hand(UP, active=2, running=1, reserved=3), takes("q"))}, 5),
        ({"a": (Hand(UP, running=2), takes("q"))}, 2),
        ({"a": (Hand(UP), takes("q", reserved=1, scheduled=2))}, 3),
        ({"a": (Hand(UP, active=2), takes("r"))}, 0),
        ({"a": (Hand(DOWN, running=2), takes("q"))}, 0),
        ({"a": (Hand(UP), None)}, None),
        ({"a": (None, takes("q"))}, None),
        ({"a": (None, takes("r"))}, 0),
    ],
)
def test_what_is_held_is_what_any_taker_has(workers, expected):
    """By whatever is known of it; None when somebody's queues are not known, or what he runs."""
    assert expected == crew(**workers).held("q")


def test_slots_are_free_where_nothing_runs_nor_is_to_run():
    """Of the living whose pool is known."""
    made = crew(
        a=(Hand(UP, active=1, reserved=1), takes("q")),
        b=(Hand(UP, active=4), takes("q")),
        c=(Hand(UNKNOWN), takes("q")),
        d=(Hand(UP), takes("q", size=None)),
    )
    assert {"a": 2} == dict(made.free())
    assert (None, 5) == (made.slots("q"), made.active("q"))
    assert 8 == crew(a=(Hand(UP), takes("q")), b=(Hand(UP), takes("q"))).slots("q")


def test_the_dead_begin_nothing():
    """Only the living are added up."""
    made = crew(a=(Hand(UP, processed=5), takes("q")), b=(Hand(DOWN, processed=7), takes("q")))
    assert 5 == made.processed("q")
    assert ["a"] == made.takers("q")
