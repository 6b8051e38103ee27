"""What a tired person must see first: the numbers that should be 0, and one word for the whole."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

from celery_statsd.lengths import span
from celery_statsd.top import words
from celery_statsd.top.facts import Facts
from celery_statsd.top.frame import Frame

HEARD_AFTER = 8.0
"""Seconds in which a worker with heartbeats has been heard, whatever its interval (2 s, mostly)."""

NEVER_TAKEN, LONG = 10.0, 60.0
"""Seconds in which nothing is taken from a queue until that is told: as long as the window is, but
within these."""

MANY_FAIL = 0.05
"""The part of what ended from which failures are more than a nuisance."""

CAREFUL, BAD = 2, 3
"""Levels of a queue (`queue_levels`)."""

SHOWN = 3
"""Names told of those that are in trouble."""


class Grade(Enum):
    """How bad something is, and the sign it is marked by where there are no colours."""

    GOOD = " "
    PAST = "~"
    CAREFUL = "?"
    BAD = "!"


def nothing(frame: Frame) -> int:  # noqa: ARG001
    """Nothing."""
    return 0


@dataclass(frozen=True, slots=True)
class Zero:
    """A number that should be 0: what it is called, what it means; how much of it there is and, of
    what is counted, how much since the view began."""

    label: str
    meaning: str
    now: Callable[[Frame], int]
    ever: Callable[[Frame], int] = nothing

    def grade(self, frame: Frame) -> Grade:
        """Bad while it goes on; past when it has come, but not of late."""
        if self.now(frame):
            return Grade.BAD
        return Grade.PAST if self.ever(frame) else Grade.GOOD

    def text(self, frame: Frame) -> str:
        """The label and the number; of what is counted all of it, and in brackets what is new."""
        now, ever = self.now(frame), self.ever(frame)
        new = f" ({words.count(now)} new)" if now and ever > now else ""
        return f"{self.grade(frame).value}{self.label} {words.count(max(now, ever))}{new}"


def _counted(metric: str) -> tuple[Callable[[Frame], int], Callable[[Frame], int]]:
    return lambda frame: frame.total.lately(metric), lambda frame: frame.total.total(metric)


def down(frame: Frame) -> list[str]:
    """The workers that are gone and did not say goodbye."""
    return [worker.entity for worker in frame.workers if worker.state == "down"]


def untaken(frame: Frame) -> list[Facts]:
    """The queues from which nothing was taken for a while, where the broker does not tell whether
    anybody takes: Redis. As far as events tell, so only of queues whose sendings are heard."""
    long = min(max(frame.total.span, NEVER_TAKEN), LONG)
    return [
        queue
        for queue in frame.queues
        if queue.gauge("consumers") is None
        and queue.gauge("length")
        and not queue.timed("wait")
        and (queue.gauge("oldest_age_s") or 0.0) > long
    ]


def unconsumed(frame: Frame) -> list[str]:
    """The queues in which messages wait, and of which nobody takes any."""
    return [queue.entity for queue in frame.queues if queue.gauge("unconsumed")]


ZEROS = (
    Zero("lost", "went down with their worker and came nowhere again", *_counted("lost")),
    Zero("failed", "raised, hit a time limit, or lost their process", *_counted("failed")),
    Zero(
        "unreported",
        "their living worker no longer runs them, and said nothing",
        *_counted("unreported"),
    ),
    Zero(
        "recv-ended",
        "received, and neither ended nor reserved nor running",
        lambda frame: abs(frame.total.difference),
    ),
    Zero(
        "unheard",
        "starts no event told of: then other numbers are too low",
        lambda frame: sum(worker.lately("events_lost") for worker in frame.workers),
        lambda frame: sum(worker.total("events_lost") for worker in frame.workers),
    ),
    Zero(
        "unconsumed",
        "messages in queues that nobody takes from",
        lambda frame: round(sum(q.gauge("unconsumed") or 0.0 for q in frame.queues)),
    ),
    Zero("down", "workers that are gone without a goodbye", lambda frame: len(down(frame))),
)
"""What should be 0, in the order of the head."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One word, how bad it is, and the reasons."""

    word: str
    grade: Grade
    text: str


Case = tuple[str, Callable[[Frame], Iterator[tuple[Grade, str]]]]


def verdict(frame: Frame) -> Verdict:
    """The first case that holds gives the word; all that hold give reasons."""
    found = [(word, grade, text) for word, look in CASES for grade, text in look(frame)]
    if not found:
        return Verdict("FINE", Grade.GOOD, _fine(frame))
    worst = next((row for row in found if row[1] is Grade.BAD), found[0])
    return Verdict(worst[0], worst[1], "; ".join(text for _, _, text in found))


def _deaf(frame: Frame) -> Iterator[tuple[Grade, str]]:
    if not frame.connected:
        yield Grade.BAD, "the broker is away, what stands here is old"


def _silent(frame: Frame) -> Iterator[tuple[Grade, str]]:
    if frame.connected and not frame.workers and frame.time - frame.began > HEARD_AFTER:
        yield Grade.BAD, "no worker is heard (are they up, and started with -E?)"


def _lost(frame: Frame) -> Iterator[tuple[Grade, str]]:
    lost = frame.total.lately("lost")
    if lost:
        yield Grade.BAD, f"{_tasks(lost)} lost"
    if frame.total.difference:
        yield Grade.BAD, f"{_tasks(abs(frame.total.difference))} unaccounted for"


def _down(frame: Frame) -> Iterator[tuple[Grade, str]]:
    gone = down(frame)
    if gone:
        alone = ", and no other is heard" if len(gone) == len(frame.workers) else ""
        yield Grade.BAD, f"{_some(gone)} down{alone}"


def _blind(frame: Frame) -> Iterator[tuple[Grade, str]]:
    unheard = sum(worker.lately("events_lost") for worker in frame.workers)
    if unheard:
        yield Grade.BAD, f"{unheard} starts unheard, the numbers are too low"
    unreported = frame.total.lately("unreported")
    if unreported:  # some tasks mean to: they raise Ignore, or let another take their place
        yield Grade.CAREFUL, f"{_tasks(unreported)} ended without a word"


def _waiting(frame: Frame) -> Iterator[tuple[Grade, str]]:
    stuck = unconsumed(frame)
    if stuck:
        yield Grade.BAD, f"nobody takes from {_some(stuck)}"
    for queue in untaken(frame)[:SHOWN]:
        age = span(queue.gauge("oldest_age_s"))
        yield Grade.CAREFUL, f"{_some([queue.entity])} waits for {age}, nothing is taken"
    queued = frame.total.gauge("queued") or 0
    waits = queued and not frame.total.lately("received", "started")
    if waits and frame.total.span and not stuck:
        yield Grade.BAD, f"{_tasks(round(queued))} wait and none begins"
    for level, grade, word in ((BAD, Grade.BAD, "bad"), (CAREFUL, Grade.CAREFUL, "long")):
        long = [q.entity for q in frame.queues if q.gauge("level") == level]
        if long:
            yield grade, f"{_some(long)} {word}: {words.count(_length(frame, long))} wait"


def _failing(frame: Frame) -> Iterator[tuple[Grade, str]]:
    failed, ended = frame.total.lately("failed"), frame.total.lately("failed", "succeeded")
    if failed:
        grade = Grade.BAD if failed > MANY_FAIL * ended else Grade.CAREFUL
        yield grade, f"{_tasks(failed)} failed, {100 * failed / ended:.1f}% of what ended"


CASES: tuple[Case, ...] = (
    ("DEAF", _deaf),
    ("LOST", _lost),
    ("DOWN", _down),
    ("SILENT", _silent),
    ("BLIND", _blind),
    ("WAITING", _waiting),
    ("FAILING", _failing),
)
"""The words, the gravest first."""


def _fine(frame: Frame) -> str:
    if frame.time - frame.began <= HEARD_AFTER and not frame.workers:
        return "listening"
    up = sum(worker.state in ("up", "unknown") for worker in frame.workers)
    total = frame.total
    return (
        f"nothing is lost, {words.count(total.gauge('queued') or 0)} queued,"
        f" {words.count(total.gauge('running') or 0)} run on {up} worker{'s' * (up != 1)}"
    )


def _tasks(number: int) -> str:
    return f"{words.count(number)} task{'s' * (number != 1)}"


def _some(names: Iterable[str]) -> str:
    """The first names, and how many there are beside."""
    known = [words.safe(name) for name in names]
    more = len(known) - SHOWN
    return ", ".join(known[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def _length(frame: Frame, names: Iterable[str]) -> float:
    chosen = set(names)
    return sum(q.gauge("length") or 0.0 for q in frame.queues if q.entity in chosen)
