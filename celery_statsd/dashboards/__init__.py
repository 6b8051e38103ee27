"""Dashboards for Grafana on Graphite: what stands on them, as rows, and who writes them."""

from celery_statsd.dashboards import agents, overview, queues, task, workers
from celery_statsd.dashboards.panels import Dashboard

DASHBOARDS: tuple[Dashboard, ...] = (
    overview.DASHBOARD, task.DASHBOARD, workers.DASHBOARD, queues.DASHBOARD, agents.DASHBOARD,
)  # fmt: skip
"""In the order of their links."""
