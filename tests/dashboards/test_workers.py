"""The workers' dashboard on a known world: one works, one idles, one died, one left."""

import pytest

from celery_statsd.dashboards.workers import DASHBOARD
from celery_statsd.graphite import Graphite
from tests.dashboards.tiles import tiles
from tests.dashboards.world import World

pytestmark = pytest.mark.e2e


def test_the_tiles(world: World, asked: Graphite) -> None:
    """One that left counts as neither down nor online; one that never worked idles."""
    found = tiles(DASHBOARD, asked, world.end, 3600)
    running = world.stories["shop"].in_hand(world.end)["running"]
    assert {
        "Online": (2, "green"),
        "Down": (1, "red"),
        "Went away": (1, "yellow"),
        "Restarts": (0, "green"),
        "Busy": (running + 2, "blue"),
        "Idle all the time": (2, "blue"),
        "Events unheard": (0, "green"),
        "Clock ahead": (1500, "yellow"),
    } == {title: (tile.number, tile.colour) for title, tile in found.items()}
