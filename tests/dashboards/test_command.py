"""`celery-statsd dashboards check` on a Graphite that holds a known world."""

import time

import pytest

from tests.cli.program import run
from tests.dashboards.world import World
from tests.servers.graphite import Graphite

pytestmark = pytest.mark.e2e


def test_check(graphite: Graphite, world: World) -> None:
    """Each app there is, or one; panels that are empty without excuse end it with 1."""
    hours = str((time.time() - world.end) / 3600 + 1)
    fine = run("dashboards", "check", "--graphite", graphite.url, "--app", "shop", "--hours", hours)
    assert (0, "") == (fine.returncode, fine.stderr)
    assert "MISSING" not in fine.stdout
    assert fine.stdout.splitlines()[-1].startswith("app shop: ")

    bare = run("dashboards", "check", "--graphite", graphite.url, "--app", "dropped", "--all")
    assert 1 == bare.returncode
    missing = next(line for line in bare.stdout.splitlines() if "Workers down" in line)
    assert missing.startswith("MISSING  Overview: Workers down")
    assert missing.endswith("No series is called stats.gauges.celery.dropped.worker.*.up.*.")
    lost = next(line for line in bare.stdout.splitlines() if "Overview: Lost " in line)
    assert ["ok", "Overview:", "Lost"] == lost.split()[:3]
    assert lost.split()[3].isdigit()


@pytest.mark.usefixtures("world")
def test_check_finds_the_flavour(graphite: Graphite) -> None:
    """Where there is nothing under these names, it says under which there is."""
    found = run("dashboards", "check", "--graphite", graphite.url, "--prefix", "nobody")
    assert 2 == found.returncode
    assert "has no series stats.counters.nobody.*; start an agent" in found.stderr
