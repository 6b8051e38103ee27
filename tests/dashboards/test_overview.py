"""The overview: its tiles are exact, and what is red is red for the reason it tells."""

import pytest

from celery_statsd.dashboards import task
from celery_statsd.dashboards.overview import DASHBOARD
from celery_statsd.dashboards.targets import ENDED, INTO
from celery_statsd.graphite import Graphite
from tests.dashboards.tiles import numbers, tiles
from tests.dashboards.world import RANGES, World

pytestmark = pytest.mark.e2e

IN, OUT = (words.strip("{}").split(",") for words in (INTO, ENDED))

HOUR = 3600

SUMS = ("Received - ended", "Failed", "Lost")
UNACCOUNTED = "Unaccounted"


@pytest.mark.parametrize("app", ["shop", "dropped", "nulls", "killed"])
@pytest.mark.parametrize("seconds", RANGES.values(), ids=RANGES)
def test_sums_and_differences_are_exact(
    seconds: int, app: str, world: World, asked: Graphite
) -> None:
    """Over roll-ups, over nulls, with dropped datagrams, after a restart: what the agent counted
    and StatsD got is what is shown, to the unit."""
    story, since = world.stories[app], world.since(seconds)
    found = numbers(tiles(DASHBOARD, asked, world.end, seconds, app, SUMS))

    came, went = (story.count(words, since, world.end) for words in (IN, OUT))
    assert came > 0
    assert came - went == found["Received - ended"]
    for title, metric in (("Failed", "failed"), ("Lost", "lost")):
        assert story.count([metric], since, world.end) == found[title]


@pytest.mark.parametrize("seconds", RANGES.values(), ids=RANGES)
def test_however_few_points_are_drawn(seconds: int, world: World, asked: Graphite) -> None:
    """Each then stands for hours, and is neither their mean nor their first."""
    story, since = world.stories["shop"], world.since(seconds)
    metrics = {"Received": "received", "Succeeded": "succeeded"}
    for points in (7, 30):
        found = numbers(
            tiles(task.DASHBOARD, asked, world.end, seconds, only=metrics, points=points)
        )
        lately = min(seconds, world.details)
        assert {
            title: story.count([metric], max(since, world.end - lately), world.end)
            for title, metric in metrics.items()
        } == found


def test_the_difference_is_what_the_work_in_hand_grew_by(world: World, asked: Graphite) -> None:
    """With nothing lost on the way; counted from the attempts alone."""
    in_hand = world.stories["shop"].in_hand
    for seconds in (300, HOUR):
        found = numbers(tiles(DASHBOARD, asked, world.end, seconds, only=SUMS))
        grown = sum(in_hand(world.end).values()) - sum(in_hand(world.end - seconds).values())
        assert grown == found["Received - ended"]


@pytest.mark.parametrize("seconds", RANGES.values(), ids=RANGES)
def test_unaccounted_is_zero_when_all_arrived(seconds: int, world: World, asked: Graphite) -> None:
    """However busy the cluster is; nulls and a clean restart of the agent change nothing."""
    for app in ("shop", "nulls"):
        tile = tiles(DASHBOARD, asked, world.end, seconds, app, [UNACCOUNTED])[UNACCOUNTED]
        assert (0, "green") == (tile.number, tile.colour)


@pytest.mark.parametrize("seconds", RANGES.values(), ids=RANGES)
def test_unaccounted_tells_what_was_dropped(seconds: int, world: World, asked: Graphite) -> None:
    """The number is what the dropped datagrams of the last hour held, and it is red."""
    story = world.stories["dropped"]
    hour = world.end - HOUR, world.end
    came, went = (
        world.stories["shop"].count(words, *hour) - story.count(words, *hour) for words in (IN, OUT)
    )
    tile = tiles(DASHBOARD, asked, world.end, seconds, "dropped", [UNACCOUNTED])[UNACCOUNTED]

    assert 0 != came - went
    assert went - came == tile.number
    assert "red" == tile.colour


@pytest.mark.parametrize("seconds", RANGES.values(), ids=RANGES)
def test_unaccounted_tells_what_a_killed_agent_forgot(
    seconds: int, world: World, asked: Graphite
) -> None:
    """Without its journal it no longer knows what was in hand; for an hour that is red."""
    forgotten = sum(world.stories["shop"].in_hand(world.killed_at).values())
    tile = tiles(DASHBOARD, asked, world.end, seconds, "killed", [UNACCOUNTED])[UNACCOUNTED]

    assert forgotten == tile.number
    assert "red" == tile.colour


def test_unaccounted_while_an_agent_is_stopped(world: World, asked: Graphite) -> None:
    """Its gauges are 0 then, and that is no news: neither now nor an hour later, though something
    was in progress."""
    away = world.stopped_at + 30
    progress, told = (world.stories[app].in_hand(world.stopped_at) for app in ("shop", "stopped"))
    assert 0 == sum(told.values()) < sum(progress.values())
    moments = (away, world.stopped_at + 60, world.stopped_at + 1800, away + HOUR, world.end)
    for until in moments:
        tile = tiles(DASHBOARD, asked, until, 300, "stopped", [UNACCOUNTED])[UNACCOUNTED]
        assert (0, "green") == (tile.number, tile.colour), until - away


def test_the_tiles(world: World, asked: Graphite) -> None:
    """Each outage of the made world is where it belongs, in its colour."""
    found = tiles(DASHBOARD, asked, world.end, 3 * HOUR)
    shown = {title: (tile.number, tile.colour) for title, tile in found.items()}
    in_hand = world.stories["shop"].in_hand(world.end)

    assert (431, "red") == shown["Unconsumed"]
    assert (1, "red") == shown["Workers down"]
    assert (1, "red") == shown["Agents silent"]
    assert (5, "red") == shown["Agent errors"]
    assert (2, "green") == shown["Workers online"]
    assert (1671, "red") == shown["Backlog"]
    assert 12 + sum(in_hand.values()) == shown["In flight"][0]
    assert in_hand["running"] + 2 == shown["Busy"][0]


def test_rates_and_ratios(world: World, asked: Graphite) -> None:
    """Finished a minute over the range; failed of a hundred in ten minutes."""
    found = numbers(tiles(DASHBOARD, asked, world.end, 300))
    story = world.stories["shop"]
    finished = story.count(["succeeded", "failed"], world.end - 300, world.end)
    assert finished / 5 == pytest.approx(found["Done per min"])
    failed, all_of = (
        story.count(metrics, world.end - 600, world.end)
        for metrics in (["failed"], ["succeeded", "failed"])
    )
    assert 100 * failed / all_of == pytest.approx(found["Failing, 10 min"])
