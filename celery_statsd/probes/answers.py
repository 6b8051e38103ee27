"""What the answers of workers mean: facts out of Celery's own words (celery.worker.control)."""

from collections.abc import Mapping
from typing import Any

from celery_statsd.crew import WorkerFacts
from celery_statsd.events import epoch

QUESTIONS = ("stats", "active_queues", "reserved", "scheduled", "revoked", "registered")
"""What is asked for them."""

MOST_NAMES = 1000
"""Names (of tasks, of queues) that are kept of one worker."""


def facts_of(answers: Mapping[str, Any]) -> WorkerFacts:
    """The facts in one worker's answers, by question; whatever is not as expected is not known."""
    stats = answers.get("stats")
    return WorkerFacts(
        pool_size=_pool_size(_at(stats, "pool")),
        prefetch=_number(_at(stats, "prefetch_count")),
        reserved=_length(answers.get("reserved")),
        scheduled=_length(answers.get("scheduled")),
        revoked=_length(answers.get("revoked")),
        registered=_names(answers.get("registered")),
        queues=_names(_each(answers.get("active_queues"), "name")),
        eta_at=_farthest(answers.get("scheduled")),
    )


def _pool_size(pool: Any) -> int | None:
    """The processes there are (they change with autoscale), else how many tasks may run at once."""
    return _length(_at(pool, "processes")) or _number(_at(pool, "max-concurrency"))


def _farthest(scheduled: Any) -> float | None:
    etas = _each(scheduled, "eta") or ()
    known = [when for when in map(epoch, filter(_is_text, etas)) if when is not None]
    return max(known, default=None)


def _each(rows: Any, key: str) -> list[Any] | None:
    return [_at(row, key) for row in rows] if isinstance(rows, list) else None


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _names(rows: Any) -> tuple[str, ...] | None:
    """What stands before the first blank of each: `registered` has attributes behind it."""
    if not isinstance(rows, list):
        return None
    names = (row.partition(" [")[0][:255] for row in rows if _is_text(row))
    return tuple(dict.fromkeys(names))[:MOST_NAMES]


def _length(value: Any) -> int | None:
    return len(value) if isinstance(value, list) else None


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _at(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, Mapping) else None
