"""The columns of the three tables, as rows: adding a column is adding a row.

A narrow terminal shows those of low rank, in the table's order; a wide one shows all.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from celery_statsd.lengths import span
from celery_statsd.top import words
from celery_statsd.top.facts import CAME, ENDED, Facts
from celery_statsd.top.frame import Tab
from celery_statsd.top.verdict import Grade

LEAST_NAME, NAMES = 24, 4
"""Columns of a terminal that the name has, whatever else there is no room for; in a wide one it has
one of so many."""

Value = float | str | None
Show = Callable[[float | None], str]


def _good(facts: Facts) -> Grade:  # noqa: ARG001
    return Grade.GOOD


def _counting(metric: str, worst: Grade) -> Callable[[Facts], Grade]:
    """As bad as that while it goes on; what should never be is remembered."""

    def grade(facts: Facts) -> Grade:
        if facts.lately(metric):
            return worst
        return Grade.PAST if worst is Grade.BAD and facts.total(metric) else Grade.GOOD

    return grade


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its head, its width, what it means, the value and how that is shown and graded.

    The lower `rank`, the narrower a terminal may be; `ascending`: sorted with the least first.
    """

    head: str
    width: int
    rank: int
    meaning: str
    value: Callable[[Facts], Value]
    show: Show = words.count
    grade: Callable[[Facts], Grade] = _good
    ascending: bool = False

    def text(self, facts: Facts) -> str:
        """What stands in it."""
        value = self.value(facts)
        return value if isinstance(value, str) else self.show(value)

    def exact(self, facts: Facts) -> str:
        """The same where there is more room: a count is not shortened."""
        value = self.value(facts)
        whole = self.show is words.count and isinstance(value, int | float)
        return str(round(value)) if whole else self.text(facts)  # type: ignore[arg-type]

    def key(self, facts: Facts) -> tuple[bool, float, str]:
        """By which it is sorted; what is not known is last, whichever way."""
        value = self.value(facts)
        number = 0.0 if value is None or isinstance(value, str) else float(value)
        unknown = value is None
        return unknown, number if self.ascending else -number, str(value)


def _total(metric: str) -> Callable[[Facts], Value]:
    return lambda facts: facts.total(metric)


def _gauge(metric: str) -> Callable[[Facts], Value]:
    return lambda facts: facts.gauge(metric)


def _upper(metric: str, percent: float) -> Callable[[Facts], Value]:
    return lambda facts: facts.upper(metric, percent)


def _counter(head: str, rank: int, metric: str, meaning: str, worst: Grade = Grade.GOOD) -> Column:
    width = max(5, len(head) + 1)
    grade = _counting(metric, worst)
    return Column(head, width, rank, meaning, _total(metric), words.count, grade)


def _times(metric: str, head: str, ranks: tuple[int, int], meaning: str) -> tuple[Column, ...]:
    return tuple(
        Column(
            f"{head}{percent}", 7, rank, f"{meaning}: {percent}% took no longer",
            _upper(metric, percent), words.milliseconds,
        )
        for percent, rank in zip((50, 95), ranks, strict=True)
    )  # fmt: skip


def _in(facts: Facts) -> Value:
    return facts.rate("received", "on_arrival")


def _share(facts: Facts) -> Value:
    failed, ended = facts.lately("failed"), facts.lately("failed", "succeeded")
    return 100 * failed / ended if ended else None


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


_WAIT = _times("wait", "wait", (31, 3), "from the sending to the start")

TASKS = (
    Column("in/s", 6, 0, "received, a second", _in, words.rate),
    Column("out/s", 6, 20, "ended, a second", lambda f: f.rate(*ENDED), words.rate),
    _counter("sent", 21, "sent", "publications, retries included"),
    Column("came", 6, 22, "received, ended on arrival, or found", lambda f: f.total(*CAME)),
    Column("queue", 6, 1, "sent and not yet received", _gauge("queued")),
    Column("resv", 5, 6, "received and not yet started", _gauge("reserved")),
    Column("run", 5, 2, "started and not yet ended", _gauge("running")),
    *_WAIT,
    *_times("lateness", "late", (50, 32), "from the ETA to the start"),
    *_times("runtime", "run", (30, 4), "from the start of the body to its end"),
    _counter("ok", 10, "succeeded", "returned"),
    _counter("fail", 5, "failed", "raised, hit a time limit, lost their process", Grade.BAD),
    Column("fail%", 6, 23, "of what ended in the window", _share, _percent,
           _counting("failed", Grade.BAD)),
    _counter("retr", 12, "retried", "asked for another attempt"),
    _counter("revk", 24, "revoked", "revoked, expired, terminated"),
    _counter("rejc", 25, "rejected", "gave back, or to the dead letters", Grade.CAREFUL),
    _counter("retn", 26, "returned", "their message went back unfinished", Grade.CAREFUL),
    _counter("unrp", 13, "unreported", "their living worker no longer runs them", Grade.BAD),
    _counter("lost", 7, "lost", "went down with their worker", Grade.BAD),
    _counter("expd", 27, "expired", "expired before any worker took them", Grade.CAREFUL),
    _counter("unsn", 28, "unseen", "sent, and passed over: events off, or lost", Grade.CAREFUL),
    _counter("found", 29, "found", "first seen in their middle"),
    Column(
        "diff", 5, 8, "came - ended - reserved - running", lambda f: f.difference,
        grade=lambda f: Grade.BAD if f.difference else Grade.GOOD,
    ),
)  # fmt: skip

_STATES = {"down": Grade.BAD, "unknown": Grade.CAREFUL}


def _state(facts: Facts) -> Grade:
    return _STATES.get(facts.state, Grade.GOOD)


WORKERS = (
    Column(
        "state", 8, 0, "up; down: gone without a goodbye; unknown: too busy to tell",
        lambda f: f.state, grade=_state, ascending=True,
    ),
    Column("beat", 7, 1, "since the last heartbeat", _gauge("heartbeat_age_s"), span),
    Column("run", 5, 2, "tasks in the pool, by its last heartbeat", _gauge("active")),
    Column("resv", 5, 3, "received and not yet started", _gauge("reserved")),
    Column("start/s", 8, 4, "started, a second", lambda f: f.rate("started"), words.rate),
    _counter("ok", 9, "succeeded", "returned"),
    _counter("fail", 5, "failed", "raised, hit a time limit, lost their process", Grade.BAD),
    _counter("retr", 11, "retried", "asked for another attempt"),
    _counter("revk", 13, "revoked", "revoked, expired, terminated"),
    _counter("rejc", 14, "rejected", "gave back, or to the dead letters", Grade.CAREFUL),
    _counter("retn", 15, "returned", "their message went back unfinished", Grade.CAREFUL),
    _counter("unrp", 10, "unreported", "it no longer runs them, and said nothing", Grade.BAD),
    _counter("lost", 6, "lost", "went down with it", Grade.BAD),
    _counter("unheard", 7, "events_lost", "starts it counted that no event told of", Grade.BAD),
    _counter("again", 12, "restarts", "new lives under its name", Grade.CAREFUL),
    Column("pool", 8, 16, "tasks its pool has accepted since it began", _gauge("processed")),
    Column("load", 6, 8, "load of its host over 1 minute", _gauge("loadavg_1m"), words.rate),
    Column(
        "clock", 8, 17, "how far its clock is ahead", _gauge("clock_skew_ms"), words.milliseconds
    ),
)  # fmt: skip

_LEVELS = ("good", "fine", "careful", "bad")
_GRADES = {"careful": Grade.CAREFUL, "bad": Grade.BAD}


def _level(facts: Facts) -> Value:
    level = facts.gauge("level")
    return None if level is None else _LEVELS[int(level)]


def _graded(facts: Facts) -> Grade:
    return _GRADES.get(str(_level(facts)), Grade.GOOD)


def _taken(facts: Facts) -> Grade:
    return Grade.CAREFUL if facts.gauge("consumers") == 0 else Grade.GOOD


def _stuck(facts: Facts) -> Grade:
    return Grade.BAD if facts.gauge("unconsumed") else Grade.GOOD


QUEUES = (
    Column("level", 8, 0, "how long is too long, by queue_levels", _level, grade=_graded),
    Column("length", 7, 1, "messages that wait", _gauge("length")),
    Column("held", 6, 3, "messages that workers hold", _gauge("unacked")),
    Column("takers", 7, 4, "who takes from it", _gauge("consumers"), grade=_taken),
    Column("stuck", 6, 5, "messages that nobody takes", _gauge("unconsumed"), grade=_stuck),
    Column("oldest", 7, 2, "since the oldest was sent", _gauge("oldest_age_s"), span),
    Column("sent/s", 7, 6, "sent to it, a second", lambda f: f.rate("sent"), words.rate),
    *_times("wait", "wait", (9, 7), "from the sending to the start"),
    _counter("sent", 8, "sent", "publications"),
    Column("memory", 8, 10, "what the broker needs for it", _gauge("memory_bytes"), words.size),
)  # fmt: skip

COLUMNS = {Tab.TASKS: TASKS, Tab.WORKERS: WORKERS, Tab.QUEUES: QUEUES}

SORTED = {Tab.TASKS: "in/s", Tab.WORKERS: "state", Tab.QUEUES: "length"}
"""The head of the column by which each table is sorted at first."""

NAME = "name"
"""What sorting by the entity's name is called."""


def fitting(columns: Sequence[Column], width: int) -> tuple[Column, ...]:
    """Those for which there is room beside the name, in a terminal of `width` columns."""
    left, chosen = width - max(LEAST_NAME, width // NAMES), set()
    for column in sorted(columns, key=lambda column: column.rank):
        left -= column.width
        if left < 0:
            break
        chosen.add(column.head)
    return tuple(column for column in columns if column.head in chosen)


def heads(tab: Tab) -> tuple[str, ...]:
    """By what a table can be sorted."""
    return NAME, *(column.head for column in COLUMNS[tab])


def sort(tab: Tab, rows: Iterable[Facts], head: str, turned: bool) -> list[Facts]:
    """The rows by a column (or by name), those that are equal by name; `turned`: the other way
    round, but what is not known stays last."""
    named = sorted(rows, key=lambda facts: facts.entity, reverse=turned and head == NAME)
    column = next((one for one in COLUMNS[tab] if one.head == head), None)
    if column is None:
        return named
    known = [facts for facts in named if not column.key(facts)[0]]
    unknown = [facts for facts in named if column.key(facts)[0]]
    return sorted(known, key=column.key, reverse=turned) + unknown


def grade(tab: Tab, facts: Facts) -> Grade:
    """The worst of a row."""
    found = {column.grade(facts) for column in COLUMNS[tab]}
    return next((one for one in _WORST_FIRST if one in found), Grade.GOOD)


_WORST_FIRST = (Grade.BAD, Grade.CAREFUL, Grade.PAST)
