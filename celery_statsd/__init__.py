"""Celery events as exact counters, timers and gauges for StatsD and Graphite.

`instrument(app, sink=...)` counts inside of workers and clients instead: see `inprocess`.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`instrument`, loaded when it is asked for: nothing else here needs Celery."""
    if name == "instrument":
        return import_module("celery_statsd.inprocess").instrument
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
