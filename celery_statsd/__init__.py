"""Celery events as exact counters, timers and gauges for StatsD and Graphite."""

__version__ = "0.1.0"
