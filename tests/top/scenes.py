"""Frames as they could be, made of a few numbers."""

from collections.abc import Mapping
from typing import Any

from celery_statsd.metric import Batch, Kind, Series, Timing
from celery_statsd.top.facts import Facts
from celery_statsd.top.frame import Frame, Tab
from celery_statsd.top.witness import Failure, Running
from tests.bodies import NOON

SPAN = 10.0
"""Seconds of the window."""


def timing(*values: float, count: int | None = None) -> Timing:
    """What a timer took in; `count` when that was more than was kept."""
    return Timing(count or len(values), sum(values), min(values), max(values), values)


def facts(  # noqa: PLR0913, PLR0917
    entity: str,
    lately: Mapping[str, int] | None = None,
    gauges: Mapping[str, float] | None = None,
    timers: Mapping[str, Timing] | None = None,
    before: Mapping[str, int] | None = None,
    state: str = "",
) -> Facts:
    """One of which that happened in the window, and that `before` it."""
    recent, past = dict(lately or {}), dict(before or {})
    totals = {m: recent.get(m, 0) + past.get(m, 0) for m in (*past, *recent)}
    kept = {metric: (one,) for metric, one in (timers or {}).items()}
    return Facts(entity, totals, recent, gauges or {}, kept, SPAN, state)


WELL = facts(
    "all tasks",
    {"sent": 130, "received": 120, "started": 118, "succeeded": 110},
    {"queued": 10, "reserved": 6, "running": 4},
    {"wait": timing(40.0), "runtime": timing(230.0)},
)
"""All tasks together, when all is well."""

UP = (facts("w1@web1", gauges={"up": 1}, state="up"), facts("w2@web1", state="up"))


def frame(
    total: Facts = WELL,
    tasks: tuple[Facts, ...] = (),
    workers: tuple[Facts, ...] = UP,
    queues: tuple[Facts, ...] = (),
    **fields: Any,
) -> Frame:
    """What is known 751 s after the view began."""
    agent = facts("web1", {"events": 4600}, timers={"event_lag": timing(9.0)})
    tables = {Tab.TASKS: tasks, Tab.WORKERS: workers, Tab.QUEUES: queues}
    usual = {"time": NOON + 751, "began": NOON, "place": "redis://10.0.0.5:6379/0"}
    told = {**usual, "connected": True, **fields}
    return Frame(total=total, agent=agent, tables=tables, **told)


SHOP = (
    facts(
        "shop.tasks.pay",
        {"sent": 90, "received": 80, "succeeded": 70, "failed": 5},
        {"queued": 10, "reserved": 4, "running": 1},
        {"wait": timing(12.0), "runtime": timing(80.0)},
    ),
    facts(
        "shop.tasks.mail",
        {"sent": 40, "received": 40, "succeeded": 37},
        {"queued": 0, "reserved": 2, "running": 1},
        {"wait": timing(1500.0), "runtime": timing(3.25)},
        before={"received": 12_000, "succeeded": 11_997, "failed": 3},
    ),
    facts("reports.daily_summary_of_all_shops", {"sent": 3}, {"queued": 3}),
)
"""Three tasks: one that fails, one that has failed, one that only waits."""

ILL = frame(
    facts(
        "all tasks",
        {"sent": 133, "received": 120, "succeeded": 107, "failed": 5, "lost": 1},
        {"queued": 13, "reserved": 6, "running": 1},
        {"wait": timing(12.0, 1500.0), "runtime": timing(3.25, 80.0)},
        before={"received": 12_000, "succeeded": 11_997, "failed": 3},
    ),
    SHOP,
    (
        facts("w1@web1", {"started": 118}, {"heartbeat_age_s": 1.2, "active": 1}, state="up"),
        facts("w2@web1", {"lost": 1}, {"heartbeat_age_s": 41.0, "active": 1}, state="down"),
    ),
    (
        facts("reports", {"sent": 3}, {"length": 3, "unacked": 0, "oldest_age_s": 9, "level": 0}),
        facts("shop", {"sent": 130}, {"length": 640, "oldest_age_s": 3.0, "level": 2}),
    ),
)
"""A cluster in trouble: a worker is down, a task is lost, some fail, a queue is long."""


def failure(at: float = NOON, **fields: Any) -> Failure:
    """An attempt that failed."""
    usual = Failure(
        at, "shop.tasks.pay", "w1@web1", "CardDeclined", "CardDeclined('no money')",
        'File "/srv/shop/tasks.py", line 14, in pay', retried=False,
    )  # fmt: skip
    return usual._replace(**fields)


def running(uuid: str, since: float, name: str = "shop.tasks.pay") -> Running:
    """An attempt that runs."""
    return Running(uuid, name, "w1@web1", 101, since)


def batch(
    at: float,
    interval: float = 2.0,
    counters: Mapping[str, int] | None = None,
    gauges: Mapping[str, float] | None = None,
    timers: Mapping[str, Timing] | None = None,
) -> Batch:
    """A batch; a name is `family/entity/metric`."""

    def rows(kind: Kind, told: Mapping[str, Any] | None) -> Any:
        return tuple((Series(*name.split("/"), kind, name), v) for name, v in (told or {}).items())

    return Batch(
        at, interval, rows(Kind.COUNTER, counters), rows(Kind.GAUGE, gauges),
        rows(Kind.TIMER, timers),
    )  # fmt: skip
