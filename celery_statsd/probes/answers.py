"""What the answers of workers mean: facts out of Celery's own words (celery.worker.control)."""

import sys
from collections.abc import Callable, Mapping
from typing import Any

from celery_statsd.crew import WorkerFacts
from celery_statsd.events import epoch

MOST_NAMES = 1000
"""Names (of tasks, of queues) that are kept of one worker."""


def facts_of(answers: Mapping[str, Any]) -> WorkerFacts:
    """The facts in one worker's answers, by question; whatever is not as expected is not known."""
    return merged({question: brief(question, answer) for question, answer in answers.items()})


def brief(question: str, answer: Any) -> dict[str, Any]:
    """What one answer holds of a worker's facts: a fraction of its size, as a rule."""
    return {field: read(answer) for field, read in FACTS.get(question, {}).items()}


def merged(briefs: Mapping[str, Mapping[str, Any]]) -> WorkerFacts:
    """The facts of one worker, by question."""
    return WorkerFacts(**{field: fact for told in briefs.values() for field, fact in told.items()})


def _pool_size(stats: Any) -> int | None:
    """The processes there are (they change with autoscale), else how many tasks may run at once."""
    pool = _at(stats, "pool")
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
    names = (sys.intern(str(row.partition(" [")[0][:255])) for row in rows if _is_text(row))
    return tuple(dict.fromkeys(names))[:MOST_NAMES]


def _length(value: Any) -> int | None:
    return len(value) if isinstance(value, list) else None


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _at(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, Mapping) else None


FACTS: Mapping[str, Mapping[str, Callable[[Any], Any]]] = {
    "stats": {
        "pool_size": _pool_size,
        "prefetch": lambda told: _number(_at(told, "prefetch_count")),
    },
    "active_queues": {"queues": lambda told: _names(_each(told, "name"))},
    "reserved": {"reserved": _length},
    "scheduled": {"scheduled": _length, "eta_at": _farthest},
    "revoked": {"revoked": _length},
    "registered": {"registered": _names},
}
"""The facts in the answer to each question, and how they are read."""

QUESTIONS = tuple(FACTS)
"""What is asked for them."""
