"""The metrics of tasks: what became of them, where they are, how long it took."""

from collections.abc import Iterable
from typing import Protocol

from celery_statsd.events import Moment
from celery_statsd.metric import Kind
from celery_statsd.rules.base import Rule

LONGEST = 10 * 365 * 86400.0
"""Seconds: no honest duration is longer; what is comes of a broken clock."""

ALL = ("cluster", "task", "worker")
UNSENT = ("cluster", "task")


class _Timed(Protocol):
    """What a timer may ask of an attempt. All times but `sent` are the worker's clock; `apart` is
    what that stands off the sender's, in seconds."""

    sent: float | None
    planned: float | None
    eta: float | None
    received: float | None
    started: float | None
    ended: float | None
    runtime: float | None
    apart: float


def _counter(moment: Moment, text: str, families: tuple[str, ...] = ALL) -> Rule:
    return Rule(moment.word, Kind.COUNTER, text, families, "1", (moment,))


def _waited(attempts: Iterable[_Timed]) -> list[float]:
    """Seconds from the sending (or the planned ETA, if later) to the start."""
    return [
        one.started - max(one.sent, one.planned or one.eta or 0.0) + one.apart
        if one.planned or one.eta
        else one.started - one.sent + one.apart
        for one in attempts
        if one.sent is not None and one.started is not None
    ]


def _held(attempts: Iterable[_Timed]) -> list[float]:
    """Seconds from the receipt (or the planned ETA, if later) to the start."""
    return [
        one.started - (max(one.received, one.eta) if one.eta else one.received)
        for one in attempts
        if one.received is not None and one.started is not None
    ]


def _late(attempts: Iterable[_Timed]) -> list[float]:
    """As `_held`, for tasks with an ETA only."""
    return _held([one for one in attempts if one.eta is not None])


def _ran(attempts: Iterable[_Timed]) -> list[float]:
    """Seconds the child says it took; nothing where it does not say."""
    return [one.runtime for one in attempts if one.runtime is not None]


def _ran_until_end(attempts: Iterable[_Timed]) -> list[float]:
    """Seconds from the start to the end, for ends that carry no runtime."""
    return [
        one.ended - one.started
        for one in attempts
        if one.started is not None and one.ended is not None
    ]


_RUNTIME_HELP = "From the start of the body to its end, attempts that failed or retried included."

RULES = (
    _counter(Moment.SENT, "Publications of a task, retries included.", (*UNSENT, "queue")),
    _counter(Moment.RECEIVED, "Attempts: receipts by a worker."),
    _counter(Moment.ON_ARRIVAL, "Attempts that ended unreceived: revoked, expired, unregistered."),
    _counter(Moment.FOUND, "Attempts first seen in their middle, or seen again once given up."),
    _counter(Moment.STARTED, "Attempts accepted by the pool."),
    _counter(Moment.SUCCEEDED, "Attempts that returned."),
    _counter(Moment.FAILED, "Attempts that raised, hit a time limit, or lost their process."),
    _counter(Moment.RETRIED, "Attempts that asked for another one."),
    _counter(Moment.REVOKED, "Attempts revoked, expired, or terminated."),
    _counter(Moment.REJECTED, "Attempts that gave their message back or to the dead letters."),
    _counter(Moment.RETURNED, "Attempts whose message went back to the broker unfinished."),
    _counter(Moment.UNREPORTED, "Attempts their living worker no longer runs, without a word."),
    _counter(Moment.LOST, "Attempts that went down with their worker and came nowhere again."),
    _counter(Moment.EXPIRED, "Publications that expired before any worker took them.", UNSENT),
    _counter(
        Moment.UNSEEN, "Publications whose queue has long moved on: events off, or lost.", UNSENT
    ),
    Rule(
        "failed", Kind.COUNTER, "Failed attempts, by the class of the exception.",
        ("exception",), "1", (Moment.FAILED,),
    ),
    Rule("queued", Kind.GAUGE, "Sent and not yet received.", UNSENT, "tasks"),
    Rule("reserved", Kind.GAUGE, "Received and not yet started.", UNSENT, "tasks"),
    Rule("running", Kind.GAUGE, "Started and not yet ended.", UNSENT, "tasks"),
    Rule(
        "wait", Kind.TIMER, "From the sending to the start; a planned ETA is not waiting.",
        ("cluster", "task", "queue"), "ms", (Moment.TRACED, Moment.STARTED), times=_waited,
    ),
    Rule(
        "prefetch", Kind.TIMER, "From the receipt to the start; a planned ETA is not counted.",
        UNSENT, "ms", (Moment.RECEIVED, Moment.STARTED), times=_held,
    ),
    Rule(
        "lateness", Kind.TIMER, "From the ETA (or the receipt, if later) to the start.",
        UNSENT, "ms", (Moment.RECEIVED, Moment.STARTED), times=_late,
    ),
    Rule(
        "runtime", Kind.TIMER, _RUNTIME_HELP, UNSENT, "ms", (Moment.SUCCEEDED,), times=_ran,
    ),
    Rule(
        "runtime", Kind.TIMER, _RUNTIME_HELP, UNSENT, "ms",
        (Moment.STARTED, Moment.FAILED), times=_ran_until_end,
    ),
    Rule(
        "runtime", Kind.TIMER, _RUNTIME_HELP, UNSENT, "ms",
        (Moment.STARTED, Moment.RETRIED), times=_ran_until_end,
    ),
)  # fmt: skip
