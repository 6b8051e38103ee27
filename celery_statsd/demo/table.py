"""The figures as a live table in a terminal. Needs rich (the extra `demo`)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self, TextIO

from rich.box import SIMPLE
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table as Grid
from rich.text import Text

from celery_statsd.demo.figures import Figures, Row, milliseconds, vitals
from celery_statsd.demo.statsd import Timed

WIDE = 128
"""Columns of a terminal from which on nothing is folded."""

Cell = Callable[[Row], Text]


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its head, how many characters it needs, and what stands in it."""

    head: str
    width: int
    cell: Cell


def short(value: int) -> str:
    """A count in four characters."""
    return str(value) if value < 10_000 else f"{value // 1000}k"


def _count(metric: str, style: str = "", text: Callable[[int], str] = str) -> Cell:
    """A number; a 0 is faint."""

    def cell(row: Row) -> Text:
        value = getattr(row, metric)
        return Text(text(value), style=style if value else "dim")

    return cell


def _mean(metric: str) -> Cell:
    def cell(row: Row) -> Text:
        timed: Timed = getattr(row, metric)
        return Text(milliseconds(timed.mean), style="" if timed.count else "dim")

    return cell


def _upper(metric: str) -> Cell:
    def cell(row: Row) -> Text:
        timed: Timed = getattr(row, metric)
        return Text(milliseconds(timed.upper_90 if timed.count else None), style="dim")

    return cell


def _rate(row: Row) -> Text:
    return Text(f"{row.rate:.1f}")


def _flight(row: Row) -> Text:
    flying = (row.queued, row.reserved, row.running)
    return Text("/".join(map(short, flying)), style="cyan" if any(flying) else "dim")


def _difference(row: Row) -> Text:
    return Text(str(row.difference), style="bold white on red" if row.difference else "green")


NARROW_COLUMNS = (
    Column("/s", 4, _rate),
    Column("sent", 4, _count("sent", text=short)),
    Column("recv", 4, _count("received", text=short)),
    Column("q/r/r", 6, _flight),
    Column("wait", 5, _mean("wait")),
    Column("run", 5, _mean("runtime")),
    Column("ok", 4, _count("succeeded", "green", short)),
    Column("fail", 4, _count("failed", "red", short)),
    Column("retr", 4, _count("retried", "yellow", short)),
    Column("rvk", 3, _count("revoked", "magenta", short)),
    Column("diff", 4, _difference),
)

WIDE_COLUMNS = (
    Column("per s", 5, _rate),
    Column("sent", 5, _count("sent")),
    Column("received", 8, _count("received")),
    Column("q/r/r", 6, _flight),
    Column("wait", 5, _mean("wait")),
    Column("p90", 5, _upper("wait")),
    Column("run", 5, _mean("runtime")),
    Column("p90", 5, _upper("runtime")),
    Column("succeeded", 9, _count("succeeded", "green")),
    Column("failed", 6, _count("failed", "red")),
    Column("retried", 7, _count("retried", "yellow")),
    Column("revoked", 7, _count("revoked", "magenta")),
    Column("diff", 4, _difference),
)


class Table:
    """Draws over the whole terminal `stream`, and leaves one last table behind."""

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream, highlight=False)
        self._live = Live(console=self._console, screen=True, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Give the terminal back as it was."""
        self._live.stop()

    def draw(self, figures: Figures, note: str) -> None:
        """Show `figures` and `note` in place of the last ones."""
        drawing = Group(
            head(figures),
            grid(figures, self._console.width),
            *(Text(line, style="dim", overflow="ellipsis", no_wrap=True) for line in foot(figures)),
            Text(note, style="italic", overflow="ellipsis", no_wrap=True),
        )
        self._live.update(drawing, refresh=True)

    def end(self, figures: Figures) -> None:
        """Give the terminal back, and print `figures` where they stay."""
        self._live.stop()
        self._console.print(grid(figures, self._console.width), end="\n\n")


def head(figures: Figures) -> Text:
    """The time that has passed, and the state of the parts."""
    minutes, seconds = divmod(int(figures.seconds), 60)
    text = Text(overflow="ellipsis", no_wrap=True)
    text.append("celery-statsd demo", style="bold")
    text.append(f"  {minutes:02}:{seconds:02}\n", style="cyan")
    text.append("   ".join(vitals(figures)) + "\n")
    return text


def grid(figures: Figures, width: int) -> Grid:
    """The rows, for a terminal of `width` characters."""
    wide = width >= WIDE
    columns = WIDE_COLUMNS if wide else NARROW_COLUMNS
    total = figures.total
    drawn = Grid(box=SIMPLE, padding=(0, int(wide), 0, 0), show_edge=False, show_footer=True)
    drawn.add_column("task", Text(total.name), no_wrap=True)
    for column in columns:
        drawn.add_column(
            column.head, column.cell(total), justify="right", no_wrap=True, min_width=column.width
        )
    for row in figures.rows:
        drawn.add_row(row.name, *(column.cell(row) for column in columns))
    return drawn


def foot(figures: Figures) -> Iterator[str]:
    """What one looks at."""
    yield ""
    yield "Broker in memory > Celery worker > events > agent > StatsD over UDP > this."
    yield "q/r/r: queued, reserved, running. diff: received - ended - reserved - running."
    yield f"{figures.rows[0].name} ok, as Graphite has it behind a StatsD:"
    yield f"  stats.counters.{figures.example}.count"
    yield ""
