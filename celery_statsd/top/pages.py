"""The pages behind the tables: one task, worker or queue that is looked into, and the help."""

from collections.abc import Iterator
from datetime import UTC, datetime

from celery_statsd.lengths import span
from celery_statsd.top import words
from celery_statsd.top.columns import COLUMNS
from celery_statsd.top.facts import Facts
from celery_statsd.top.frame import Detail, Tab
from celery_statsd.top.lines import GRADED, Line, Piece, Style, flow, line
from celery_statsd.top.state import HELP
from celery_statsd.top.verdict import ZEROS, Grade
from celery_statsd.top.witness import Failure, Running

MOST_RUNNING = 15
"""Running tasks shown of one that is looked into: those that run for longest."""

TIMERS = ("wait", "prefetch", "lateness", "runtime")

PERCENTILES = (50, 95, 99)

_LABEL = 10
"""Columns of what stands before a number."""


def detail_page(tab: Tab, facts: Facts, detail: Detail, now: float, columns: int) -> list[Line]:
    """All that is known of one at `now` (epoch seconds), for a terminal of so many columns."""
    runs = [*_running(tab, facts, detail, now)]
    failed = [*_classes(detail), *_failures(detail, columns)]
    return [
        _title(tab.value.removesuffix("s"), facts.entity),
        *_numbers(tab, facts, columns),
        *_times(facts),
        *((*runs, *failed) if tab is Tab.WORKERS else (*failed, *runs)),
    ]


def help_page(tab: Tab) -> list[Line]:
    """The keys, the signs, and what the columns of the table mean."""
    return [
        _heading("keys"),
        *(line(f"  {keys:<30}", text) for keys, text in HELP),
        _heading("should be 0. !: it is not; ~: it was not, but is now"),
        *(line(f"  {zero.label:<15}", zero.meaning) for zero in ZEROS),
        _heading(f"columns of {tab.value}; a wider terminal shows more"),
        *(line(f"  {column.head:<10}", column.meaning) for column in COLUMNS[tab]),
        line("  Counts are since the view began; rates and times of the last seconds"),
        line("  that the title names."),
    ]


def _title(kind: str, name: str) -> Line:
    return line(f" {kind} ", Piece(words.safe(name), Style.BOLD))


def _heading(text: str) -> Line:
    return line(Piece(f" {text}", Style.HEAD))


def _numbers(tab: Tab, facts: Facts, columns: int) -> Iterator[Line]:
    """Each column of the table but the times; what is 0 is only named."""
    parts, zeros = [], []
    for column in COLUMNS[tab]:
        said, worst = column.exact(facts), column.grade(facts)
        if column.show is words.milliseconds:
            continue  # times stand below
        if said in ("0", "-"):
            zeros.append(column.head)
        else:
            style = GRADED[worst] if worst is not Grade.GOOD else Style.BOLD
            parts.append(line(f"{worst.value}{column.head} ", Piece(said, style)))
    yield from (line(" ", *part) for part in flow(parts, columns - 1, " "))
    for part in flow(
        [line(Piece(head, Style.DIM)) for head in ["none:", *zeros]], columns - 2, " "
    ):
        yield line("  ", *part)


def _times(facts: Facts) -> Iterator[Line]:
    known = [metric for metric in TIMERS if facts.timed(metric)]
    if known:
        heads = "".join(f"{f'{percent}%':>9}" for percent in PERCENTILES)
        yield _heading(f"{'times':<{_LABEL + 1}}{'number':>9}{heads}{'longest':>9}")
    for metric in known:
        values = (*(facts.upper(metric, percent) for percent in PERCENTILES), facts.highest(metric))
        cells = "".join(f"{words.milliseconds(value):>9}" for value in values)
        yield line(f"  {metric:<{_LABEL}}{facts.timed(metric):>9}{cells}")


def _classes(detail: Detail) -> Iterator[Line]:
    if detail.classes:
        yield _heading("exceptions, of failures and of retries")
    for error, number in detail.classes:
        yield line(f"  {number:>8}  ", words.safe(error))


def _failures(detail: Detail, columns: int) -> Iterator[Line]:
    if detail.failures:
        yield _heading("the last ones (UTC)")
    for failure in detail.failures:
        yield from _failure(failure, columns)


def _failure(failure: Failure, columns: int) -> Iterator[Line]:
    what = Piece("retried ", Style.CAREFUL) if failure.retried else Piece("failed  ", Style.BAD)
    told = f"{failure.task} on {failure.worker}"
    yield line(f"  {_time_of_day(failure.at)}  ", what, words.safe(told))
    text = failure.text if failure.error in failure.text else f"{failure.error} {failure.text}"
    yield line("    ", Piece(words.safe(text), Style.BOLD))
    if failure.where:
        yield line("    ", Piece(words.tail(words.safe(failure.where), columns - 4), Style.DIM))


def _running(tab: Tab, facts: Facts, detail: Detail, now: float) -> Iterator[Line]:
    if tab is Tab.QUEUES:
        return
    yield _heading(f"runs now, the longest first: {len(detail.running)}")
    for task in detail.running[:MOST_RUNNING]:
        yield _open(task, now, task.worker if tab is Tab.TASKS else task.name)
    if len(detail.running) > MOST_RUNNING:
        yield line(f"  ... and {len(detail.running) - MOST_RUNNING} more")
    told = facts.gauge("running" if tab is Tab.TASKS else "active")
    if told is not None and told > len(detail.running):
        yield line(Piece("  what began before the view did is not known by its name", Style.DIM))
    if tab is Tab.WORKERS and told is not None and told < len(detail.running):
        said = f"  its last heartbeat tells of {words.count(told)}: others end without a word"
        yield line(Piece(said, Style.DIM))


def _open(task: Running, now: float, other: str) -> Line:
    lasted = span(max(0.0, now - task.since))
    return line(f"  {lasted:>8}  ", words.safe(f"{other}  {task.uuid}"))


def _time_of_day(stamp: float) -> str:
    try:
        return datetime.fromtimestamp(stamp, UTC).strftime("%H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return "--:--:--"
