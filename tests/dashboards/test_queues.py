"""The queues' dashboard on a known world: one usual, one long, one forgotten, one empty."""

import pytest

from celery_statsd.dashboards.queues import DASHBOARD
from celery_statsd.graphite import Graphite
from tests.dashboards.tiles import tiles
from tests.dashboards.world import World

pytestmark = pytest.mark.e2e


def test_the_tiles(world: World, asked: Graphite) -> None:
    """Whatever the range."""
    for seconds in (300, 3600):
        found = tiles(DASHBOARD, asked, world.end, seconds)
        assert {
            "Backlog": (1671, "red"),
            "Longest": (1200, "red"),
            "Unconsumed": (431, "red"),
            "No consumer": (1, "red"),
            "Oldest message": (86_000, "red"),
            "Held by workers": (9, "blue"),
            "Broker": (1, "green"),
            "Looks that failed": (0, "green"),
            "Findings": (2, "red"),
        } == {title: (tile.number, tile.colour) for title, tile in found.items()}
