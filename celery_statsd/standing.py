"""How things stand at a flush: what waits and runs, and which workers are there."""

from collections.abc import Iterable

from celery_statsd.aggregator import Aggregator
from celery_statsd.life import Life
from celery_statsd.metric import Kind
from celery_statsd.roster import Roster
from celery_statsd.rules import CATALOGUE
from celery_statsd.rules.worker import Sight
from celery_statsd.task import Stage

WORKER_GAUGES = tuple(
    rule for rule in CATALOGUE if rule.kind is Kind.GAUGE and rule.families == ("worker",)
)


def note_in_flight(
    aggregator: Aggregator, in_flight: Iterable[tuple[Stage, str, int]], whole: bool
) -> None:
    """Gauge how much is in each stage, by task and in all. A part of the cluster (not `whole`) does
    not know what waits."""
    aggregator.silence("task")
    by_stage: dict[Stage, dict[str, int]] = {
        stage: {} for stage in Stage if whole or stage is not Stage.QUEUED
    }
    for stage, name, number in in_flight:
        if stage in by_stage:
            by_name = by_stage[stage]
            by_name[name] = by_name.get(name, 0) + number
    for stage, by_name in by_stage.items():
        aggregator.gauge("cluster", "all", stage.value, sum(by_name.values()))
        aggregator.gauge_all("task", by_name, stage.value)


def note_workers(aggregator: Aggregator, roster: Roster, now: float) -> None:
    """Gauge each worker, and close those of whom nothing more is to be said."""
    for life in roster:
        for metric, value in gauges_of(life, roster, now).items():
            aggregator.gauge("worker", life.hostname, metric, value)
    roster.retire(now)
    aggregator.close_others("worker", roster)


def gauges_of(life: Life, roster: Roster, now: float) -> dict[str, float]:
    """Those of one worker's gauges that are known."""
    sight = Sight(life, now, roster.clocks.lag(life.host))
    values = ((rule.metric, rule.value(sight)) for rule in WORKER_GAUGES)
    return {metric: value for metric, value in values if value is not None}
