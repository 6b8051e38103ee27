"""A real terminal: tmux, with a shell in it, as a person at the other end of SSH has one."""

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self

from tests.servers.process import REPOSITORY, program, wait_until

PATIENCE = 30.0
"""Seconds until a wait gives up; only a broken test ever waits that long."""

PROGRAM = f"{sys.executable} -m celery_statsd"


class Terminal:
    """A terminal of so many rows and columns, whose shell begins in `folder`. Raises
    MissingProgramError without tmux."""

    def __init__(
        self, folder: Path, rows: int = 24, columns: int = 80, env: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder
        self._tmux = [program("tmux"), "-S", str(folder / "tmux"), "-f", os.devnull]
        self._size = ("-x", str(columns), "-y", str(rows))
        shell = f"{program('bash')} --norc --noprofile"
        kept = {n: v for n, v in os.environ.items() if n not in ("NO_COLOR", "COLUMNS", "LINES")}
        kept = {n: v for n, v in kept.items() if not n.startswith(("CELERY_STATSD_", "TMUX"))}
        self._env = {**kept, "PS1": "$ ", "PYTHONPATH": str(REPOSITORY), **(env or {})}
        self._told("new-session", "-d", "-s", "t", *self._size, shell)
        if env and "TERM" in env:
            self.type(f"export TERM={env['TERM']}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run([*self._tmux, "kill-server"], check=False, capture_output=True)

    def run(self, command: str) -> None:
        """Have the shell note the terminal's settings, and run `command`."""
        self.type("stty -g >before")
        self.type(command)

    def ended(self) -> tuple[int, bool]:
        """The exit code of what was run, once it has ended, and whether the terminal is as it was:
        its settings, its screen and its cursor."""
        code, after = self.folder / "code", self.folder / "after"
        self.wait_for_prompt()
        self.type("echo $? >code; stty -g >after; echo >done")
        wait_until((self.folder / "done").exists, PATIENCE, "the shell answers")
        same = (self.folder / "before").read_text() == after.read_text()
        screen = self._told("display-message", "-p", "#{alternate_on} #{cursor_flag}").strip()
        return int(code.read_text()), same and screen == "0 1"

    def wait_for_prompt(self) -> None:
        """Wait until the shell is in the foreground again."""
        wait_until(lambda: self.command == "bash", PATIENCE, f"a prompt\n{self.text}")

    @property
    def command(self) -> str:
        """What runs in the foreground."""
        return self._told("display-message", "-p", "#{pane_current_command}").strip()

    def type(self, text: str) -> None:
        """Type a line to the shell."""
        self._told("send-keys", "-l", text)
        self.press("Enter")

    def press(self, *keys: str) -> None:
        """Press keys, by tmux's names: Enter, Tab, Down, C-c, or a character."""
        self._told("send-keys", *keys)

    def resize(self, rows: int, columns: int) -> None:
        """Pull at the terminal's corner."""
        self._told("resize-window", "-x", str(columns), "-y", str(rows))

    @property
    def lines(self) -> list[str]:
        """What is to be seen."""
        return self._told("capture-pane", "-p").splitlines()

    @property
    def text(self) -> str:
        """The same in one."""
        return "\n".join(self.lines)

    @property
    def drawn(self) -> str:
        """The same with its colours, as escape sequences."""
        return self._told("capture-pane", "-p", "-e")

    def wait_for(self, text: str) -> None:
        """Wait until that is to be seen."""
        try:
            wait_until(lambda: text in self.text, PATIENCE, text, poll=0.05)
        except TimeoutError as error:
            raise AssertionError(f"{error}\n{self.text}") from None

    def rows(self, names: Iterable[str]) -> dict[str, dict[str, str]]:
        """The rows of a table that are to be seen, by the heads of its columns."""
        lines = self.lines
        heads = next((line.split() for line in lines if " in/s " in line or " beat " in line), [])
        found = {}
        for name in names:
            line = next((line for line in lines if line[1:].startswith(f"{name} ")), "")
            cells = line[1 + len(name) :].split()
            if heads and line:
                found[name] = dict(zip(heads[1:], cells, strict=True))
        return found

    def row(self, name: str) -> dict[str, str]:
        """One of them; {} when it is not to be seen."""
        return self.rows([name]).get(name, {})

    def _told(self, *words: str) -> str:
        ended = subprocess.run(
            [*self._tmux, *words],
            check=True,
            capture_output=True,
            text=True,
            env=self._env,
            cwd=self.folder,
            timeout=PATIENCE,
        )
        return ended.stdout
