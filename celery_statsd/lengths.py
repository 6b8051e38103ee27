"""`celery-statsd queues`: how long the queues are, for people, for programs, and for cron.

The exit code is Nagios's: 0 when all is good or fine, 1 when one queue needs care, or holds what
nobody takes, 2 when one is bad, 3 when nobody can tell.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from celery_statsd.probes.base import QueueFacts, Sight
from celery_statsd.rules.queue import level, thresholds_of
from celery_statsd.survey import Levels

UNKNOWN = 3
"""The exit code when the broker did not answer, or nobody named a queue."""

NAMELESS = "queues: none is named; name them by -Q, or the app that declares them by -A"
"""What is said when there is nothing to tell of."""

WORDS = ("good", "fine", "careful", "bad")
"""What the levels are called."""

COLOURS = ("green", "cyan", "yellow", "red")

_EXITS = (0, 0, 1, 2)
_SPANS = (
    ("m", 60, "s", 1, 3600),
    ("h", 3600, "m", 60, 86_400),
    ("d", 86_400, "h", 3600, math.inf),
)  # the two units, their seconds, and where the next ones begin
_HEADS = ("queue", "length", "unacked", "consumers", "oldest", "a second", "drained in", "level")


@dataclass(frozen=True, slots=True)
class Row:
    """One queue. `oldest_age_s` and `drained_in_s` are in seconds; `rate` is how many messages a
    second the queue grows by, None after the first look."""

    name: str
    length: int | None
    unacked: int | None
    consumers: int | None
    memory_bytes: int | None
    oldest_age_s: float | None
    rate: float | None
    drained_in_s: float | None
    level: int | None

    @property
    def unconsumed(self) -> int:
        """Messages that nobody takes, as far as that is known."""
        return (self.length or 0) if self.consumers == 0 else 0

    @property
    def exit_code(self) -> int:
        """What it alone would end with."""
        found = UNKNOWN if self.level is None else _EXITS[self.level]
        return max(found, 1) if self.unconsumed else found

    @property
    def word(self) -> str:
        """Its level, for people."""
        if self.level is None:
            return "unknown"
        return f"{WORDS[self.level]}, nobody takes it" if self.unconsumed else WORDS[self.level]

    @property
    def colour(self) -> str:
        """The colour of its level; red when nobody takes what waits."""
        return "red" if self.level is None or self.unconsumed else COLOURS[self.level]


Past = tuple[Sight, float]
"""A look, and when it was (epoch seconds)."""


def rows(sight: Sight, now: float, levels: Levels, before: Past | None = None) -> list[Row]:
    """The queues of a look at `now` (epoch seconds), by name; `before` is the look before it."""
    lengths = {facts.name: facts.length for facts in before[0].queues} if before else {}
    passed = now - before[1] if before else 0.0
    queues = sorted(sight.queues, key=lambda facts: facts.name)
    return [_row(facts, now, levels, _rate(facts, lengths, passed)) for facts in queues]


def verdict(found: Iterable[Row]) -> int:
    """The exit code: the worst; what cannot be told is worse than what needs care, and of no queue
    at all nothing can be told."""
    codes = {row.exit_code for row in found} or {UNKNOWN}
    return next((code for code in (2, UNKNOWN, 1) if code in codes), 0)


def as_json(found: Iterable[Row], long: bool) -> str:
    """A plain object of name and length or, when `long`, of name and all that is known."""
    if not long:
        return json.dumps({row.name: row.length for row in found})
    fields = [field for field in Row.__slots__ if field != "name"]
    facts = {row.name: {field: getattr(row, field) for field in fields} for row in found}
    return json.dumps(facts, indent=1)


def as_table(found: Sequence[Row]) -> Iterator[tuple[str, str | None]]:
    """The lines of a table, each with its colour."""
    cells = [_HEADS, *(_cells(row) for row in found)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line, row in zip(cells, (None, *found), strict=True):
        name, *numbers, word = line
        middle = "  ".join(map(str.rjust, numbers, widths[1:]))
        yield f"{name.ljust(widths[0])}  {middle}  {word}", row.colour if row else None


def span(seconds: float | None) -> str:
    """A duration for people, in six characters: 4.2s, 3m10s, 2h05m, 3d04h; a dash for None."""
    if seconds is None:
        return "-"
    if seconds < 59.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole >= 100 * 86_400:
        return f"{whole // 86_400}d"
    large, in_large, small, in_small = next(row for row in _SPANS if whole < row[4])[:4]
    return f"{whole // in_large}{large}{whole % in_large // in_small:02}{small}"


def _row(facts: QueueFacts, now: float, levels: Levels, rate: float | None) -> Row:
    length, age = facts.length, None
    if facts.oldest_at is not None:
        age = max(0.0, now - facts.oldest_at)
    return Row(
        facts.name, length, facts.unacked, facts.consumers, facts.memory_bytes, age, rate,
        length / -rate if length and rate is not None and rate < 0 else None,
        None if length is None else level(length, thresholds_of(facts.name, levels)),
    )  # fmt: skip


def _rate(facts: QueueFacts, lengths: Mapping[str, int | None], passed: float) -> float | None:
    before = lengths.get(facts.name)
    if before is None or facts.length is None or passed <= 0:
        return None
    return (facts.length - before) / passed


def _cells(row: Row) -> tuple[str, ...]:
    numbers = (row.length, row.unacked, row.consumers)
    counted = ("-" if number is None else str(number) for number in numbers)
    rate = "-" if row.rate is None else f"{row.rate:+.1f}"
    return (row.name, *counted, span(row.oldest_age_s), rate, span(row.drained_in_s), row.word)
