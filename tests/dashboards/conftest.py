"""One made world in the session's Graphite, for all tests of dashboards."""

import time

import pytest

from celery_statsd.dashboards.graphite import Graphite as Asked
from tests.dashboards.world import World
from tests.servers.graphite import Graphite


@pytest.fixture(scope="session")
def world(graphite: Graphite) -> World:
    """Three days that ended a moment ago, in Graphite."""
    made = World(int(time.time()) // 600 * 600)
    made.write(graphite.whisper)
    return made


@pytest.fixture(scope="session")
def asked(graphite: Graphite) -> Asked:
    """The session's Graphite, as the dashboards ask it."""
    return Asked(graphite.url)
