"""The terminal: drawn on, asked for keys, and given back as it was, in a real one."""

import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from celery_statsd.errors import ConfigError
from celery_statsd.top.lines import Style
from celery_statsd.top.screen import COLOURS, PLAIN, require_terminal
from tests.conftest import running
from tests.servers.process import REPOSITORY, wait_until
from tests.top.tmux import PATIENCE, Terminal

ECHO = """
import signal, sys
from celery_statsd.top.lines import Piece, Style, line
from celery_statsd.top.screen import Screen, require_terminal

require_terminal()
signal.signal(signal.SIGINT, signal.SIG_IGN)
said = []
with Screen() as screen:
    while said[-1:] != ["q"]:
        rows, columns = screen.size
        styles = [line(Piece(style.value, style)) for style in Style]
        corner = line("." * (columns - 1) + "#")
        body = [line(f"{rows}x{columns} ready"), line(" ".join(said)), *styles, line("\\u4e16|")]
        screen.draw([*body, *[()] * (rows - len(body) - 1), corner])
        key = screen.key(5)
        said += [key] if key else []
        if key == "x":
            raise RuntimeError("boom")
"""
"""Draws its size, the keys so far, each style, and a line to the last corner; x breaks it."""

Open = Callable[..., Terminal]


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Open]:
    """Opens a terminal, with the program ECHO running in it."""
    with ExitStack() as stack:

        def start(rows: int = 24, columns: int = 80, **env: str) -> Terminal:
            (tmp_path / "echo.py").write_text(ECHO)
            make = lambda: Terminal(tmp_path, rows, columns, env)  # noqa: E731
            opened = stack.enter_context(running(make))
            opened.run(f"{sys.executable} echo.py")
            opened.wait_for(f"{rows}x{columns} ready")
            return opened

        yield start


def attributes(terminal: Terminal, word: str) -> set[str]:
    """The codes (ECMA-48, SGR) that are in force where a line begins with `word`."""
    before = re.split(rf"(?:^|\n)(?:\x1b\[[\d;]*m)+(?={word}\b)", terminal.drawn)[0]
    drawn = terminal.drawn[: terminal.drawn.index(word, len(before))]
    codes: dict[str, str] = {}  # one for the text's colour (3x), one for the ground's (4x)
    for code in ";".join(re.findall(r"\x1b\[([\d;]*)m", drawn)).split(";"):
        if code in ("0", ""):
            codes.clear()
        else:
            codes[code[0] if len(code) == 2 else code] = code
    return set(codes.values()) - {"39", "49"}


def test_keys_have_names(terminal: Open) -> None:
    """Arrows, Esc and function keys are no letters; letters are themselves, of any script."""
    opened = terminal(24, 160)
    opened.press("Up", "Down", "Left", "Right", "PPage", "NPage", "Home", "End", "Tab", "BTab")
    opened.wait_for("backtab")
    opened.press("Enter", "BSpace", "F1", "F6", "F10", "a", "/", "?", " ")
    opened.wait_for("/ ?")
    opened.press("Escape")
    opened.wait_for("escape")
    opened.press("\u4e16")
    opened.wait_for("escape \u4e16")
    assert (
        "up down left right pageup pagedown home end tab backtab enter backspace f1 f6 f10 a / ?"
        "   escape \u4e16"
    ) == opened.lines[1]
    opened.press("q")
    assert (0, True) == opened.ended()


def test_the_last_corner_is_drawn_and_a_new_size_is_noticed(terminal: Open) -> None:
    """Smaller and larger, at once."""
    opened = terminal()
    for rows, columns in ((24, 80), (30, 100), (20, 60)):
        opened.resize(rows, columns)
        opened.wait_for(f"{rows}x{columns} ready")
        assert "." * (columns - 1) + "#" == opened.lines[rows - 1]
        assert rows == len(opened.lines)
    assert "resize" in opened.text
    assert any(line.startswith("\u4e16|") for line in opened.lines)
    opened.press("q")
    assert (0, True) == opened.ended()


def test_ctrl_z_is_never_lost(terminal: Open) -> None:
    """Again and again, whatever is drawn meanwhile: the shell has a sane terminal, and `fg` brings
    all of it back."""
    opened = terminal()
    for letter in "abc":
        opened.press(letter)
        wait_until(lambda key=letter: key in opened.lines[1].split(), PATIENCE, letter)
        opened.press("C-z")  # by this a terminal forgets what was typed and not yet read
        opened.wait_for_prompt()
        opened.type("clear; stty -a | grep -o ' icanon\\| echo ' | xargs echo sane:")
        opened.wait_for("sane: icanon echo")
        opened.type("fg")
        opened.wait_for("24x80 ready")
    assert ["a", "b", "c"] == [key for key in opened.lines[1].split() if key != "resize"]
    opened.press("q")
    assert (0, True) == opened.ended()


def test_a_fault_gives_the_terminal_back_and_is_told(terminal: Open) -> None:
    """With its traceback, where it can be read."""
    opened = terminal()
    opened.press("x")
    opened.wait_for("RuntimeError: boom")
    assert (1, True) == opened.ended()


def test_colours_are_used_where_there_are_any(terminal: Open) -> None:
    """Red ground for what is bad."""
    opened = terminal()
    assert {"1", "37", "41"} == attributes(opened, "bad")
    assert {"1", "32"} == attributes(opened, "good")
    opened.press("q")


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "vt100"}], ids=str)
def test_without_colours_it_is_bold_and_inverse(terminal: Open, env: dict[str, str]) -> None:
    """By https://no-color.org, and on a terminal that has none."""
    opened = terminal(**env)
    assert not re.search(r"\x1b\[(?:\d+;)*[34][0-7][;m]", opened.drawn)
    assert {"1", "7"} == attributes(opened, "bad")
    assert {"7"} == attributes(opened, "head")
    opened.press("q")
    assert (0, True) == opened.ended()


def test_a_locale_that_knows_no_unicode_breaks_nothing(terminal: Open) -> None:
    """What it does not know is a question mark."""
    opened = terminal(LC_ALL="POSIX", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert "?|" in opened.text
    opened.press("q")
    assert (0, True) == opened.ended()


def test_each_style_has_a_look() -> None:
    """Without colours all, and with them those that need one."""
    assert set(Style) == set(PLAIN)
    assert {Style.BAD, Style.CAREFUL, Style.GOOD} <= set(COLOURS)


def test_where_nothing_can_be_drawn_that_is_said() -> None:
    """Here: under pytest, which is no terminal."""
    if sys.stdin.isatty() and sys.stdout.isatty():
        pytest.skip("this is a terminal")
    with pytest.raises(ConfigError, match="needs a terminal"):
        require_terminal()


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("no-such", "TERM: this machine does not know the terminal 'no-such'; try TERM=xterm"),
        ("dumb", "TERM: the terminal 'dumb' has no cursor to move"),
        ("", "TERM: the terminal 'dumb' has no cursor to move"),
    ],
)
def test_a_terminal_that_cannot_do_it_is_refused(kind: str, said: str) -> None:
    """In one sentence, with the cure, before anything is written to it."""
    reader, writer = pty.openpty()
    code = "from celery_statsd.top.screen import require_terminal as r\ntry: r()\n"
    code += "except Exception as e: print(e, file=open('/dev/fd/2', 'w'))"
    ended = subprocess.run(
        [sys.executable, "-c", code],
        stdin=writer,
        stdout=writer,
        stderr=subprocess.PIPE,
        cwd=REPOSITORY,
        env={**os.environ, "TERM": kind},
        check=True,
        text=True,
        timeout=20,
    )
    os.close(writer)
    os.close(reader)
    assert said in ended.stderr
