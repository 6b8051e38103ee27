"""Graphite, asked for what a rule judges: every point as it is stored, without nulls."""

from collections.abc import Mapping, Sequence

from celery_statsd.alerts.rule import Point
from celery_statsd.graphite import Graphite, Span

MAX_POINTS = 43_200
"""Points a series may have before Graphite draws some of them together."""

TIMEOUT = 10.0
"""Seconds for one answer."""

Answer = Mapping[str, Sequence[Point]]
"""The series by their names, points in the order of time."""


class Series:
    """The series of one Graphite."""

    def __init__(self, url: str, timeout: float = TIMEOUT) -> None:
        """Raises ConfigError when `url` is no address."""
        self._graphite = Graphite(url, timeout)

    def ask(self, target: str, begin: float, end: float) -> Answer:
        """The series of `target` in (begin, end]; those of one name are one. Raises GraphiteAway
        when nobody answers, BadTarget when Graphite does not understand the query."""
        found: dict[str, list[Point]] = {}
        for name, points in self._graphite.render([target], Span(int(begin), int(end), MAX_POINTS)):
            known = found.setdefault(name, [])
            known.extend((float(at), float(value)) for value, at in points if value is not None)
        return {name: sorted(points) for name, points in found.items()}
