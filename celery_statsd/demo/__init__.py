"""The demo: the whole river on embedded parts, with nothing installed but this package.

publisher -> broker in memory -> Celery worker -> events -> agent -> StatsD on UDP -> table
    |_____________________ counts of their own _____|                                 |
                                   |__________________ compared at the end ___________|
"""

import math
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import FrameType
from typing import Protocol, Self, TextIO

from celery_statsd.demo.figures import Figures
from celery_statsd.demo.lines import Lines
from celery_statsd.demo.stage import FLUSH_EVERY, Stage
from celery_statsd.demo.workload import LONGEST
from celery_statsd.errors import ConfigError

SHORTEST = 1.0
"""Seconds in which at least something is published."""

GRACE = 1.5
"""Seconds the last tasks may take over what they should."""

SETTLED = 0.3
"""Seconds after a flush until all of it has arrived: a table never mixes two flushes."""


GREETING = "celery-statsd demo: broker, Celery worker, agent and StatsD in one process."
CURE = "A live table takes a Python that was built with curses."
PLAYING = "Ctrl-C ends this, and compares what was counted with what was done."
ENDING = "Nothing more is published; the last tasks end."


class View(Protocol):
    """How figures are shown."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def draw(self, figures: Figures, note: str) -> None:
        """Show `figures`, and `note`: what the user may do or is to wait for."""

    def end(self, figures: Figures) -> None:
        """Show `figures` for the last time, to stay."""


def show(seconds: float | None, plain: bool) -> int:
    """Run the demo for about `seconds`, or until Ctrl-C; print the comparison.

    0 when the workload's own counts equal the agent's, 1 when not.
    """
    began = time.monotonic()
    out = sys.stdout
    with _interruption() as interrupted, Stage() as stage:
        with _view(out, plain) as view:
            _play(stage, view, interrupted, _last(began, seconds))
            stage.finish()
            view.end(stage.figures())
        comparison = stage.comparison()
    out.writelines(f"{line}\n" for line in comparison.lines(_colourful(out)))
    sys.stderr.write(stage.complaints)
    return 0 if comparison.equal else 1


def _play(stage: Stage, view: View, interrupted: threading.Event, last: float) -> None:
    """Show what happens until `last` (monotonic) or an interruption, and while the rest ends."""
    view.draw(stage.figures(), PLAYING)
    while not interrupted.wait(min(_until_settled(), last - time.monotonic())):
        if time.monotonic() >= last:
            break
        view.draw(stage.figures(), PLAYING)
    stage.wind_down()
    view.draw(stage.figures(), ENDING)
    deadline = time.monotonic() + LONGEST + GRACE
    while not stage.wait_until_done(_until_settled()) and time.monotonic() < deadline:
        view.draw(stage.figures(), ENDING)


def _last(began: float, seconds: float | None) -> float:
    """When to publish for the last time, so that all has ended `seconds` after it `began`."""
    if seconds is None:
        return math.inf
    return max(began + seconds - LONGEST, time.monotonic() + SHORTEST)


def _until_settled() -> float:
    """Seconds until the next flush (they fall on multiples of the interval) has arrived."""
    now = time.time() - SETTLED
    return (now // FLUSH_EVERY + 1) * FLUSH_EVERY - now


def _view(stream: TextIO, plain: bool) -> View:
    """A table where one can be drawn, lines anywhere else."""
    if plain or not stream.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        return Lines(stream, GREETING)
    try:
        view: View = import_module("celery_statsd.demo.table").Table(stream)
    except ModuleNotFoundError as error:
        if (error.name or "").strip("_") != "curses":
            raise
        return Lines(stream, f"{GREETING}\n{CURE}")
    except ConfigError:  # no such terminal
        return Lines(stream, GREETING)
    return view


def _colourful(stream: TextIO) -> bool:
    """Whether colours are understood and wanted (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR")


@contextmanager
def _interruption() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C or SIGTERM sets; the second one does what it always did."""
    interrupted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        interrupted.set()
        restore()

    for number in before:
        signal.signal(number, interrupt)
    try:
        yield interrupted
    finally:
        restore()
