"""What the tiles of a dashboard show of the made world."""

from collections.abc import Collection
from dataclasses import replace

from celery_statsd.dashboards.evaluation import Finding, evaluate
from celery_statsd.dashboards.files import COMMITTED
from celery_statsd.dashboards.panels import Dashboard, Row
from celery_statsd.graphite import Graphite, Span

TASTE = COMMITTED["dashboards"]

POINTS = 100
"""Of a tile: Grafana asks for about as many as it is wide."""


def tiles(  # noqa: PLR0913, PLR0917
    dashboard: Dashboard,
    graphite: Graphite,
    until: int,
    seconds: int,
    app: str = "shop",
    only: Collection[str] = (),
    points: int = POINTS,
) -> dict[str, Finding]:
    """Each tile, or only those of these titles, by its title."""
    asked = tuple(
        panel
        for panel in dashboard.panels
        if panel.type == "stat" and (not only or panel.title in only)
    )
    row = Row("Tiles", asked)
    span = Span(until - seconds, until, points)
    found = evaluate(replace(dashboard, rows=(row,)), TASTE, graphite, span, app)
    return {one.panel.title: one for one in found}


def numbers(found: dict[str, Finding]) -> dict[str, float | None]:
    """What they show, as numbers."""
    return {title: one.number for title, one in found.items()}
