"""Readings made of numbers, as if a StatsD had received them."""

from collections.abc import Mapping

from celery_statsd.demo.figures import Reading
from celery_statsd.demo.statsd import Sums

HEAD = "celery.shop"

Numbers = Mapping[str, float]


def reading(
    counters: Numbers | None = None,
    gauges: Numbers | None = None,
    timers: Mapping[str, list[float]] | None = None,
) -> Reading:
    """A reading; a name is `family.entity.metric`, its reporter is added."""
    sums = Sums()
    rows = [
        *((name, value, "c") for name, value in (counters or {}).items()),
        *((name, value, "g") for name, value in (gauges or {}).items()),
        *((name, value, "ms") for name, values in (timers or {}).items() for value in values),
    ]
    for name, value, kind in rows:
        reporter = "self" if name.startswith("agent.") else "all"
        sums.take(f"{HEAD}.{name}.{reporter}:{value:g}|{kind}".encode())
    return Reading(sums.read())
