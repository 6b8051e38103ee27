"""Values for examinations, made by hand: what was heard, what was answered, what is said of it."""

from collections.abc import Iterable
from typing import Any

from celery_statsd.check.facts import Facts
from celery_statsd.check.finding import Finding
from celery_statsd.check.heard import Beat, Heard, Voice

W1 = "w1@web1"


def voice(name: str = W1, **changes: Any) -> Voice:
    """A worker that beats every 2 s for 10 s, sends events of tasks, and gossips."""
    usual: dict[str, Any] = {
        "beats": beats(2, 4, 6, 8, 10),
        "freq": 2.0,
        "tasks": 4,
        "ran": 2,
        "lag": 0.001,
        "west": 0.0,
        "software": "py-celery",
        "version": "5.7.0",
        "last_at": 10.0,
    }
    return Voice(name, **{**usual, **changes})


def beats(*at: float, moves: int = 1) -> tuple[Beat, ...]:
    """Heartbeats at these times; between two the clock moves by `moves` more than by events."""
    return tuple(Beat(when, n * (1 + moves), n) for n, when in enumerate(at, 1))


def heard(*voices: Voice, **changes: Any) -> Heard:
    """Ten seconds in which these were heard."""
    usual: dict[str, Any] = {"seconds": 10.0, "until": 10.0, "messages": 20, "bytes": 6000}
    return Heard(voices={one.name: one for one in voices}, **{**usual, **changes})


def conf(**settings: Any) -> dict[str, Any]:
    """What a worker answers, its settings being these."""
    return {"conf": {"task_send_sent_event": True, "enable_utc": True, **settings}}


def facts(*voices: Voice, **changes: Any) -> Facts:
    """Those who were heard answer, too."""
    answers = changes.pop("answers", {one.name: conf() for one in voices})
    return Facts(heard=changes.pop("heard", heard(*voices)), answers=answers, **changes)


def rows(found: Iterable[Finding]) -> list[tuple[str, str, str]]:
    """Severity, name and subject of each."""
    return [(finding.severity.word, finding.name, finding.subject) for finding in found]
