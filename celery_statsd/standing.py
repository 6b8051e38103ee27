"""How things stand at a flush: what waits and runs, and which workers are there."""

from collections.abc import Iterable, Mapping

from celery_statsd.aggregator import Aggregator
from celery_statsd.crew import ALIVE, Hand
from celery_statsd.life import Life
from celery_statsd.metric import Kind
from celery_statsd.roster import Roster
from celery_statsd.rules import CATALOGUE
from celery_statsd.rules.base import nothing
from celery_statsd.rules.worker import Sight
from celery_statsd.task import Stage

WORKER_GAUGES = tuple(
    rule for rule in CATALOGUE if rule.kind is Kind.GAUGE and rule.families == ("worker",)
)

_READ = tuple((rule.metric, rule.value) for rule in WORKER_GAUGES if rule.value is not nothing)
"""Those that its life tells; the others are answered, if at all."""

FOLDS = {rule.metric: rule.fold for rule in WORKER_GAUGES}
"""How one value is made of those of workers that are one in the metrics."""


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


def note_workers(
    aggregator: Aggregator, roster: Roster, now: float, answers: Mapping[str, Mapping[str, float]]
) -> None:
    """Gauge each worker, with what it answered, and close those of whom nothing more is to be
    said."""
    folded: dict[str, list[dict[str, float]]] = {}
    for life in roster:
        gauges = gauges_of(life, roster, now) | dict(answers.get(life.hostname, {}))
        if life.entity == life.hostname:
            aggregator.gauge_each("worker", life.hostname, gauges)
        else:
            folded.setdefault(life.entity, []).append(_of_many(life, gauges))
    for entity, some in folded.items():
        for metric, fold in FOLDS.items():
            values = [gauges[metric] for gauges in some if metric in gauges]
            if values:
                aggregator.gauge("worker", entity, metric, fold(values))
    roster.retire(now)
    aggregator.close_others("worker", {life.entity for life in roster})


def _of_many(life: Life, gauges: dict[str, float]) -> dict[str, float]:
    """What one of those counts for that are one in the metrics: the dead only for `up`."""
    if life.state in ALIVE:
        return gauges
    return {"up": gauges["up"]} if "up" in gauges else {}


def gauges_of(life: Life, roster: Roster, now: float) -> dict[str, float]:
    """Those of one worker's gauges that are known."""
    sight = Sight(life, now, roster.clocks.lag(life.host))
    values = [(metric, value(sight)) for metric, value in _READ]
    return {metric: value for metric, value in values if value is not None}


def hands_of(roster: Roster, now: float) -> dict[str, Hand]:
    """What each worker does, by its events."""
    return {
        life.hostname: Hand(
            *(life.state, life.active, life.processed, life.reserved, life.running),
            flapping=life.is_flapping(now),
            pid=life.pid,
        )
        for life in roster
    }


def shown(roster: Roster, now: float) -> dict[str, dict[str, float | str]]:
    """Each worker's state, Celery's version, and the gauges that are known."""
    return {
        life.hostname: {
            "state": life.state.value,
            "version": life.version,
            **gauges_of(life, roster, now),
        }
        for life in roster
    }
