"""The metrics of queues and of the broker, as a probe sees them. Whoever looks sets them."""

from collections.abc import Mapping, Sequence

from celery_statsd.metric import Kind
from celery_statsd.rules.base import Rule

LEVELS = (100, 500, 1000)
"""Messages from which a queue is no longer good, no longer fine, and needs more than care."""

DEFAULT = "default"
"""The name under which the thresholds of all other queues are set."""


def level(length: int, thresholds: Sequence[int] = LEVELS) -> int:
    """How many of the thresholds `length` has reached: 0 (good) to 3 (bad)."""
    return sum(length >= threshold for threshold in thresholds)


def thresholds_of(queue: str, levels: Mapping[str, Sequence[int]]) -> Sequence[int]:
    """Those of `queue`: its own, else those of all others."""
    return levels.get(queue) or levels.get(DEFAULT) or LEVELS


def _gauge(metric: str, text: str, unit: str = "messages") -> Rule:
    return Rule(metric, Kind.GAUGE, text, ("queue",), unit)


QUEUE = (
    _gauge("length", "Messages that wait, of all priorities; not those that workers hold."),
    _gauge("unacked", "Messages that workers hold: running, prefetched, or kept for an ETA."),
    _gauge(
        "consumers",
        "Who takes from it; on Redis the living workers that say so. Absent if nobody knows.",
        "1",
    ),
    _gauge("unconsumed", "Its length while nobody takes from it, else 0."),
    _gauge("oldest_age_s", "Since the oldest that waits was sent, where that is known.", "s"),
    _gauge("memory_bytes", "What the broker needs for it.", "bytes"),
    _gauge(
        "level",
        "How long is too long, by `queue_levels`: 0 good, 1 fine, 2 be careful, 3 bad.",
        "1",
    ),
    _gauge(
        "drain_s", "Until it is empty, at the pace of the last minute; absent if it grows.", "s"
    ),
    _gauge(
        "safe_to_scale_down",
        "1 while nothing waits, nor is in the hands of those who take from it; else, and while "
        "nobody knows, 0.",
        "1",
    ),
    _gauge("stuck", "1 while nothing moves though its workers are idle, else 0.", "1"),
    _gauge("head_of_line", "1 while one task has all slots and others wait, else 0.", "1"),
    _gauge("idle_elsewhere", "1 while it waits and slots of empty queues are free, else 0.", "1"),
)

CLUSTER = (
    Rule("findings", Kind.GAUGE, "What is wrong between queues and workers.", ("cluster",), "1"),
)

BROKER = (
    Rule("reconnects", Kind.COUNTER, "Times the broker had to be connected again.", ("broker",)),
    Rule("up", Kind.GAUGE, "1 while the agent listens, 0 while the broker is away.", ("broker",)),
    Rule("connections", Kind.GAUGE, "Clients the broker has.", ("broker",), "1"),
    Rule("memory_bytes", Kind.GAUGE, "What the broker uses.", ("broker",), "bytes"),
    Rule(
        "unacked",
        Kind.GAUGE,
        "Messages that workers hold, of whatever queue.",
        ("broker",),
        "messages",
    ),
    Rule("looks", Kind.COUNTER, "Looks at the queues that were answered.", ("broker",)),
    Rule("looks_failed", Kind.COUNTER, "Looks at the queues that were not.", ("broker",)),
    Rule("asks", Kind.COUNTER, "Times the workers were asked what they do.", ("broker",)),
    Rule("asks_failed", Kind.COUNTER, "Times they could not be asked.", ("broker",)),
    Rule("ping", Kind.TIMER, "The broker's answer to a simple question.", ("broker",), "ms"),
)
