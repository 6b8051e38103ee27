"""The figures as a live table in a terminal: the one of `celery-statsd top`."""

from collections.abc import Iterator
from typing import Self, TextIO

from celery_statsd.demo.figures import Figures, vitals
from celery_statsd.top import words
from celery_statsd.top.frame import Tab
from celery_statsd.top.lines import EMPTY, Line, Piece, Style, fit, line, text
from celery_statsd.top.painter import table
from celery_statsd.top.screen import Screen, require_terminal


class Table:
    """Draws over the whole terminal, and leaves one last table behind on `stream`. Raises
    ConfigError where nothing can be drawn."""

    def __init__(self, stream: TextIO) -> None:
        require_terminal(keys=False)
        self._stream = stream
        self._screen = Screen()
        self._columns = 80

    def __enter__(self) -> Self:
        self._screen.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        """Give the terminal back as it was."""
        self._screen.__exit__()

    def draw(self, figures: Figures, note: str) -> None:
        """Show `figures` and `note` in place of the last ones."""
        rows, self._columns = self._screen.size
        self._screen.draw(drawing(figures, note, self._columns)[:rows])

    def end(self, figures: Figures) -> None:
        """Give the terminal back, and write `figures` where they stay."""
        self._screen.__exit__()
        for one in grid(figures, self._columns):
            self._stream.write(f"{text(one)}\n")
        self._stream.write("\n")


def drawing(figures: Figures, note: str, columns: int) -> list[Line]:
    """All lines, for a terminal of so many columns."""
    lines = [
        *head(figures),
        *grid(figures, columns),
        *(line(Piece(one, Style.DIM)) for one in foot(figures)),
        line(Piece(note, Style.BOLD)),
    ]
    return [fit(one, columns) for one in lines]


def head(figures: Figures) -> Iterator[Line]:
    """The time that has passed, and the state of the parts."""
    title = Piece("celery-statsd demo", Style.BOLD)
    yield line(title, f"  {words.clock(figures.seconds)}")
    yield line("   ".join(vitals(figures)))
    yield EMPTY


def grid(figures: Figures, columns: int) -> list[Line]:
    """The rows, for a terminal of so many columns."""
    return table(Tab.TASKS, figures.rows, columns, figures.total)


def foot(figures: Figures) -> Iterator[str]:
    """What one looks at."""
    yield ""
    yield "Broker in memory > Celery worker > events > agent > StatsD over UDP > this."
    yield "diff: received - ended - reserved - running. A wider terminal shows more."
    yield f"{figures.rows[0].entity} ok, as Graphite has it behind a StatsD:"
    yield f"  stats.counters.{figures.example}.count"
    yield ""
