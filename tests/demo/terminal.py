"""A Python process with its output in a pipe, or in a terminal of its own (a pty)."""

import os
import pty
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Sequence
from typing import Self

PATIENCE = 40.0
"""Seconds until a process is given up and killed; only a broken test ever waits that long."""

DEMO = ("-m", "celery_statsd", "demo")


class Run:
    """Python running with `arguments`; with a `size` (rows, columns) in a terminal.

    `left_clean`: the terminal's settings were the same after the end as before the start.
    """

    def __init__(
        self, arguments: Sequence[str], size: tuple[int, int] | None = None, **variables: str
    ) -> None:
        self._reader, self._writer = pty.openpty() if size else os.pipe()
        self._settings = self._tune(size)
        environment = {**os.environ, "TERM": "xterm-256color", **variables}
        for variable in {"NO_COLOR", "COLUMNS", "LINES"} - set(variables):
            environment.pop(variable, None)
        self._child = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=self._writer,
            stderr=subprocess.PIPE,
            env=environment,
        )
        self.left_clean = False
        self._errors = b""
        self._heard = bytearray()
        self._news = threading.Condition()
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.kill()
        self._child.wait()
        if self._writer >= 0:
            os.close(self._writer)
        self._listener.join(PATIENCE)
        assert self._child.stderr is not None
        self._child.stderr.close()

    def wait_for(self, text: str) -> None:
        """Wait until `text` has been written."""
        with self._news:
            assert self._news.wait_for(lambda: text.encode() in self._heard, PATIENCE), self._heard

    def interrupt(self) -> None:
        """What Ctrl-C does."""
        self._child.send_signal(signal.SIGINT)

    def finish(self) -> tuple[int, str, str]:
        """Its exit code, its output and its errors, once it has ended."""
        if self._writer >= 0:
            self._errors = self._child.communicate(timeout=PATIENCE)[1]
            self.left_clean = self._settings == self._read_settings()
            os.close(self._writer)
            self._writer = -1
            self._listener.join(PATIENCE)
        return self._child.returncode, self._heard.decode(), self._errors.decode()

    def _tune(self, size: tuple[int, int] | None) -> object:
        if size:
            termios.tcsetwinsize(self._writer, size)
        return self._read_settings()

    def _read_settings(self) -> object:
        return termios.tcgetattr(self._writer) if os.isatty(self._writer) else None

    def _listen(self) -> None:
        """Read until nobody can write any more; a pty says that by an error."""
        while True:
            try:
                heard = os.read(self._reader, 65536)
            except OSError:
                heard = b""
            with self._news:
                self._heard += heard
                self._news.notify_all()
            if not heard:
                os.close(self._reader)
                return
