"""The task dashboard on a known world."""

import pytest

from celery_statsd.dashboards.evaluation import filled
from celery_statsd.dashboards.grafana import shown
from celery_statsd.dashboards.task import DASHBOARD
from celery_statsd.graphite import Graphite, Span
from tests.dashboards.attempts import TASKS
from tests.dashboards.tiles import TASTE, numbers, tiles
from tests.dashboards.world import World

pytestmark = pytest.mark.e2e

TILES = {
    "Received": "received", "Succeeded": "succeeded", "Failed": "failed", "Retried": "retried",
    "Lost": "lost",
}  # fmt: skip


@pytest.mark.parametrize("seconds", [300, 3600])
def test_the_tiles_are_exact(seconds: int, world: World, asked: Graphite) -> None:
    """Of all tasks together, over the chosen time."""
    found = numbers(tiles(DASHBOARD, asked, world.end, seconds))
    truth = {
        title: world.count(seconds, lambda told, metric=metric: told.metric == metric)
        for title, metric in TILES.items()
    }
    ended = sum(truth[title] for title in TILES if title != "Received")
    assert truth | {"Received - ended": truth["Received"] - ended} == found


def test_each_task_has_its_own_line(world: World, asked: Graphite) -> None:
    """Received - ended of ten minutes; only the task that was chosen, if one was."""
    panel = next(p for p in DASHBOARD.panels if p.title == "Received - ended, 10 min, by task")
    begin = world.end - 600
    span = Span(begin - 610, world.end)
    for chosen, names in (("*", set(TASKS)), (TASKS[0], {TASKS[0]})):
        (target,) = shown(panel, TASTE.layout)
        answers = asked.render([filled(target, {"app": "shop", "task": chosen})], span)
        assert names == {answer.name for answer in answers}
        for answer in answers:
            told = [
                1 if one.metric == "received" else -1
                for one in world.stories["shop"].told
                if begin <= one.slot < world.end
                and one.attempt.task == answer.name
                and one.metric not in ("sent", "started")
            ]
            assert sum(told) == {at: value for value, at in answer.points}[begin]
