"""The agents' dashboard on a known world: one speaks, one fell silent, one was removed."""

import pytest

from celery_statsd.dashboards.agents import DASHBOARD
from celery_statsd.graphite import Graphite
from tests.dashboards.tiles import numbers, tiles
from tests.dashboards.world import World

pytestmark = pytest.mark.e2e

HOUR = 3600


def test_the_tiles(world: World, asked: Graphite) -> None:
    """Three failed sends and two folded values; nothing else is wrong."""
    found = tiles(DASHBOARD, asked, world.end, HOUR)
    assert {
        "Silent": (1, "red"), "Send errors": (3, "red"), "Values given up": (0, "green"),
        "StatsD overrun": (0, "green"), "Starts unheard": (0, "green"), "Bad events": (0, "green"),
        "Past the bounds": (2, "red"), "Unmatched": (0, "green"),
    } == {title: (tile.number, tile.colour) for title, tile in found.items()}  # fmt: skip


@pytest.mark.parametrize("seconds", [300, HOUR, 24 * HOUR, 72 * HOUR, 168 * HOUR])
def test_a_silent_agent_is_seen_over_any_range(seconds: int, world: World, asked: Graphite) -> None:
    """Also when its last word is older than the range; one that was removed is not counted."""
    assert {"Silent": 1} == numbers(tiles(DASHBOARD, asked, world.end, seconds, only=["Silent"]))


def test_silence_is_told_after_a_minute(world: World, asked: Graphite) -> None:
    """Not at the first flush that is late."""
    last = world.end - 7200
    before, after = (
        numbers(tiles(DASHBOARD, asked, last + late, HOUR, only=["Silent"])) for late in (50, 60)
    )
    assert ({"Silent": 0}, {"Silent": 1}) == (before, after)
