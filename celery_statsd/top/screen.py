"""The terminal: lines on it, keys off it, and everything as it was when it is left.

It is the standard library's curses, which knows what each terminal understands (terminfo) and sends
only what has changed. There is nothing to install. Textual was judged, and rich: see docs/top.md.

Ctrl-Z is answered here: curses does it in the signal's handler, and not at all while it draws.
"""

import contextlib
import curses
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any, Self

from celery_statsd.errors import ConfigError
from celery_statsd.top.lines import Line, Style
from celery_statsd.top.painter import Size

ESCAPE_WITHIN = 50
"""Milliseconds in which the rest of a key's sequence follows its ESC."""

NAMED: dict[int | str, str] = {
    curses.KEY_UP: "up",
    curses.KEY_DOWN: "down",
    curses.KEY_LEFT: "left",
    curses.KEY_RIGHT: "right",
    curses.KEY_PPAGE: "pageup",
    curses.KEY_NPAGE: "pagedown",
    curses.KEY_HOME: "home",
    curses.KEY_END: "end",
    curses.KEY_BTAB: "backtab",
    curses.KEY_ENTER: "enter",
    curses.KEY_BACKSPACE: "backspace",
    curses.KEY_RESIZE: "resize",
    **{curses.KEY_F0 + number: f"f{number}" for number in range(1, 13)},
    "\t": "tab",
    "\n": "enter",
    "\r": "enter",
    "\x1b": "escape",
    "\x7f": "backspace",
    "\b": "backspace",
    "\x03": "interrupt",
}
"""What curses calls a key, and what `state` does."""

PLAIN = {
    Style.PLAIN: curses.A_NORMAL,
    Style.DIM: curses.A_NORMAL,  # where there are no colours, faint is unreadable as a rule
    Style.BOLD: curses.A_BOLD,
    Style.HEAD: curses.A_REVERSE,
    Style.CHOSEN: curses.A_REVERSE,
    Style.GOOD: curses.A_BOLD,
    Style.PAST: curses.A_NORMAL,
    Style.CAREFUL: curses.A_BOLD,
    Style.BAD: curses.A_BOLD | curses.A_REVERSE,
}
"""How each style looks without colours."""

COLOURS = {
    Style.GOOD: (curses.COLOR_GREEN, -1, curses.A_BOLD),
    Style.PAST: (curses.COLOR_YELLOW, -1, curses.A_NORMAL),
    Style.CAREFUL: (curses.COLOR_YELLOW, -1, curses.A_BOLD),
    Style.BAD: (curses.COLOR_WHITE, curses.COLOR_RED, curses.A_BOLD),
    Style.DIM: (-1, -1, curses.A_DIM),
}
"""What colours add: the text's, the ground's (-1: the terminal's own), and what else."""


def require_terminal(keys: bool = True) -> None:
    """Raises ConfigError where nothing can be drawn (or no `keys` be read): in a pipe, on a
    terminal that curses does not know or that has no cursor to move."""
    cure = "use `celery-statsd events` or `queues` there"
    if not (sys.stdout.isatty() and (sys.stdin.isatty() or not keys)):
        raise ConfigError("top", "it needs a terminal to read keys from and to draw on", cure)
    kind = os.environ.get("TERM", "")
    try:
        curses.setupterm(kind or "dumb", sys.stdout.fileno())
    except curses.error:
        problem = f"this machine does not know the terminal {kind!r}"
        raise ConfigError("TERM", problem, "try TERM=xterm, or install ncurses-term") from None
    if not curses.tigetstr("cup"):
        raise ConfigError("TERM", f"the terminal {kind or 'dumb'!r} has no cursor to move", cure)


class Screen:
    """The whole terminal, while it is entered. Used by the main thread."""

    def __init__(self) -> None:
        self._attributes = dict(PLAIN)
        self._suspending = False
        self._before: Any = signal.SIG_DFL

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGTSTP, self._on_suspend)
        self._window = curses.initscr()
        try:
            self._set_up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Give the terminal back as it was."""
        if not curses.isendwin():
            self._window.keypad(False)
            curses.endwin()
            signal.signal(signal.SIGTSTP, self._before)

    @property
    def size(self) -> Size:
        """How large it is now."""
        with contextlib.suppress(OSError):
            now = os.get_terminal_size(sys.stdout.fileno())
            if curses.is_term_resized(now.lines, now.columns):
                curses.resizeterm(now.lines, now.columns)
                self._window.clearok(True)  # nobody knows what a terminal makes of what it shows
        return Size(*self._window.getmaxyx())

    def key(self, timeout: float) -> str | None:
        """The next key, by its name in NAMED or as its character, waiting up to so many seconds;
        None when there was none. "resize" also when all has to be drawn again."""
        if self._suspending:
            self._suspend()
            return "resize"
        self._window.timeout(max(0, int(timeout * 1000)))
        try:
            key = self._window.get_wch()
        except curses.error:
            return None
        if key == curses.KEY_RESIZE:
            self._window.clearok(True)
        return NAMED.get(key, key if isinstance(key, str) else None)

    def draw(self, lines: Sequence[Line]) -> None:
        """Show these in place of what was there."""
        if self._suspending:
            self._suspend()
        rows = self._window.getmaxyx()[0]
        self._window.erase()
        for row, pieces in enumerate(lines[:rows]):
            self._window.move(row, 0)
            for piece in pieces:
                known = self._window.encoding
                text = piece.text.encode(known, "replace").decode(known)
                # The lower right corner cannot be written without an error; it is written.
                with contextlib.suppress(curses.error):
                    self._window.addstr(text, self._attributes[piece.style])
        self._window.refresh()

    def _on_suspend(self, *_: object) -> None:
        """Ctrl-Z: as soon as nothing is being drawn."""
        self._suspending = True

    def _suspend(self) -> None:
        """Stop, with the terminal as it was; go on when the shell says so."""
        curses.def_prog_mode()
        curses.endwin()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTSTP)  # to this thread: we stop before it returns
        signal.signal(signal.SIGTSTP, self._on_suspend)
        self._suspending = False
        curses.reset_prog_mode()
        self._window.clearok(True)

    def _set_up(self) -> None:
        curses.noecho()
        curses.cbreak()
        curses.set_escdelay(ESCAPE_WITHIN)
        self._window.keypad(True)
        with contextlib.suppress(curses.error):
            curses.curs_set(0)
        if curses.has_colors() and not os.environ.get("NO_COLOR"):
            with contextlib.suppress(curses.error):  # no colours, then
                self._set_up_colours()

    def _set_up_colours(self) -> None:
        curses.start_color()
        curses.use_default_colors()
        for number, (style, (text, ground, more)) in enumerate(COLOURS.items(), 1):
            curses.init_pair(number, text, ground)
            self._attributes[style] = curses.color_pair(number) | more
