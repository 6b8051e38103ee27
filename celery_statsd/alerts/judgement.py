"""From the points of a series to a state: `for:` and hysteresis without a file of states.

What others keep between two checks is in the series itself: the rule is judged at each full minute
of the time that matters and at last now, as if a check had run each minute. So it matters to none
when the others ran, or on which machine.

Laws:
1. A moment's value is what the points in (moment - window, moment] reduce to; nulls are no points.
2. Past a bound at all moments of `hold` seconds, it fires; one moment that is not begins anew.
3. What fires goes on until `until` is passed, or, without one, until the bound is not.
4. A moment without a value is neither: what fired is over, as the series is.
5. What fired longer ago than MEMORY, and has been between the two bounds since, is over.
"""

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from celery_statsd.alerts.rule import REDUCERS, AlertRule, Bound, Point, State

STEP = 60.0
"""Seconds between two moments."""

MEMORY = 3600.0
"""Seconds that hysteresis looks back."""


class Verdict(NamedTuple):
    """The state of one series. `value` is None when there is none; `since` (epoch seconds) is when
    the bound was first passed, also by what is not held long enough to fire (`pending`); None when
    it was passed before all that was looked at."""

    state: State
    value: float | None = None
    bound: Bound | None = None
    since: float | None = None
    pending: bool = False


def reach(rule: AlertRule) -> float:
    """How many seconds of points a judgement needs."""
    return rule.window + rule.hold + STEP + (MEMORY if rule.remembers else 0.0)


def moments(rule: AlertRule, now: float) -> list[float]:
    """When the rule is judged, to be judged at `now`."""
    earliest = now - (reach(rule) - rule.window)
    last = now // STEP * STEP
    count = int((last - earliest) // STEP) + 1
    full = [last - STEP * back for back in range(count - 1, -1, -1)]
    return full if full and full[-1] == now else [*full, now]


def judged(rule: AlertRule, points: Sequence[Point], now: float) -> Verdict:
    """What `points` (rising times) mean at `now`; those after it do not count."""
    at = moments(rule, now)
    values = [value_at(rule, points, moment) for moment in at]
    value = values[-1]
    if value is None:
        return Verdict(rule.no_data)
    pending = None
    for state, bound in rule.levels:
        fires, since = _fires(bound, rule.hold, at, values)
        if fires:
            return Verdict(state, value, bound, since if since != at[0] else None)
        if since is not None and pending is None:
            pending = Verdict(State.OK, value, bound, since, pending=True)
    return pending or Verdict(State.OK, value)


def value_at(rule: AlertRule, points: Sequence[Point], moment: float) -> float | None:
    """Law 1."""
    begin = bisect_right(points, moment - rule.window, key=_time)
    end = bisect_right(points, moment, key=_time)
    values = [value for _, value in points[begin:end]]
    return float(REDUCERS[rule.reduce](values)) if values else None


def _time(point: Point) -> float:
    return point[0]


def _fires(
    bound: Bound, hold: float, at: Sequence[float], values: Sequence[float | None]
) -> tuple[bool, float | None]:
    """Whether it fires at the last moment, and since when the bound is passed (laws 2 to 4)."""
    fires, since = False, None
    for moment, value in zip(at, values, strict=True):
        if value is None or not _past(bound, value, fires):
            fires, since = False, None
            continue
        since = moment if since is None else since
        fires = fires or moment - since >= hold
    return fires, since


def _past(bound: Bound, value: float, fires: bool) -> bool:
    if fires and bound.until:
        return not bound.until.passed(value)
    return bound.passed(value)
