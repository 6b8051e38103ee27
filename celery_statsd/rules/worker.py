"""The metrics of workers: as their events tell, gauges being read from a Life; and what they answer
when they are asked, each `inspect_interval` seconds: whoever asks sets it."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from celery_statsd.events import Moment
from celery_statsd.life import Life, State
from celery_statsd.metric import Kind
from celery_statsd.rules.base import Rule, nothing

FAMILY = ("worker",)


class Sight(NamedTuple):
    """A life, looked at: `now` in epoch seconds, `lag` the smallest lag of its host's events."""

    life: Life
    now: float
    lag: float | None


_UP = {State.UP: 1.0, State.DOWN: 0.0, State.LEFT: 0.0}


def _up(sight: Sight) -> float | None:
    return _UP.get(sight.life.state)


def _load(place: int) -> Callable[[Sight], float | None]:
    """The host's load average over 1, 5 or 15 minutes: `place` 0, 1 or 2."""

    def load(sight: Sight) -> float | None:
        loadavg = sight.life.loadavg
        return loadavg[place] if place < len(loadavg) else None

    return load


def _age(sight: Sight) -> float | None:
    return None if sight.life.beat_at is None else max(0.0, sight.now - sight.life.beat_at)


def _skew(sight: Sight) -> float | None:
    return None if sight.lag is None else -1000.0 * sight.lag


def _flapping(sight: Sight) -> float:
    return float(sight.life.is_flapping(sight.now))


def _gauge(
    metric: str,
    text: str,
    unit: str,
    value: Callable[[Sight], float | None],
    fold: Callable[[Sequence[float]], float] = sum,
) -> Rule:
    return Rule(metric, Kind.GAUGE, text, FAMILY, unit, (), value, fold=fold)


def _told(
    metric: str, text: str, unit: str, fold: Callable[[Sequence[float]], float] = sum
) -> Rule:
    return Rule(metric, Kind.GAUGE, f"{text} As it answered.", FAMILY, unit, (), nothing, fold=fold)


def _farthest(skews: Sequence[float]) -> float:
    return max(skews, key=abs)


RULES = (
    Rule("offline", Kind.COUNTER, "Deaths and departures; a reconnect is neither.",
         FAMILY, "1", (Moment.OFFLINE,)),
    Rule("restarts", Kind.COUNTER, "New lives under a name that was known.",
         FAMILY, "1", (Moment.RESTARTED,)),
    Rule("events_lost", Kind.COUNTER, "Starts the worker counted whose event never came.",
         FAMILY, "1", (Moment.EVENTS_LOST,)),
    _gauge("up", "1 while it lives, 0 when it is gone; absent when nobody can know.", "1", _up),
    _gauge("active", "Tasks in the pool, by its last heartbeat.", "tasks",
           lambda sight: sight.life.active),
    _gauge("reserved", "Tasks it has received and not yet started.", "tasks",
           lambda sight: sight.life.reserved),
    _gauge("processed", "Tasks its pool has accepted since it began.", "tasks",
           lambda sight: sight.life.processed),
    _gauge("heartbeat_age_s", "Since its last heartbeat.", "s", _age, max),
    _gauge("loadavg_1m", "Load of its host over 1 minute.", "1", _load(0), max),
    _gauge("loadavg_5m", "Load of its host over 5 minutes.", "1", _load(1), max),
    _gauge("loadavg_15m", "Load of its host over 15 minutes.", "1", _load(2), max),
    _gauge("clock_skew_ms", "How far its clock is ahead of the agent's; some ms are the way here.",
           "ms", _skew, _farthest),
    _gauge("flapping", "1 after three new lives within ten minutes, else 0.", "1", _flapping),
    _told("pool_size", "Tasks it can run at once.", "tasks"),
    _told("prefetch_count", "Messages it takes ahead and for an ETA; 0 for no limit.", "messages"),
    _told("scheduled", "Tasks it keeps for an ETA.", "tasks"),
    _told("eta_ahead_s", "Until the last of these is due.", "s", max),
    _told("revoked_ids", "Revoked tasks it remembers.", "tasks"),
    _told("registered", "Names of tasks it knows.", "1", max),
    _told("queues", "Queues it takes from.", "1", max),
    _told("redelivered", "1 while it keeps a task for longer than Redis allows, else 0.", "1"),
)  # fmt: skip
