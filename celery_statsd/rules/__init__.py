"""The catalogue: every metric there is, as rows; adding a metric is adding a row."""

from celery_statsd.metric import Kind
from celery_statsd.rules import agent, doctor, queue, task, worker
from celery_statsd.rules.base import Rule

CATALOGUE: tuple[Rule, ...] = (
    *task.RULES, *queue.CLUSTER, *queue.QUEUE, *worker.RULES, *queue.BROKER, *agent.RULES,
    *doctor.RULES,
)  # fmt: skip
"""In the order of the README."""

FAMILIES = ("cluster", "task", "queue", "worker", "exception", "broker", "agent", "doctor")
"""The order in which batches are written: `cluster` first, all in one datagram."""

COUNTERS = {
    family: tuple(
        dict.fromkeys(
            rule.metric
            for rule in CATALOGUE
            if family in rule.families and rule.kind is Kind.COUNTER
        )
    )
    for family in FAMILIES
}
"""Each family's counters: what is written as 0 when nothing happened."""

WORDS = frozenset(FAMILIES) | {rule.metric for rule in CATALOGUE}
"""What no entity may be called (see `names`)."""
