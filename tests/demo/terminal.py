"""A process with its output in a pipe, or in a terminal of its own (a pty)."""

import os
import pty
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Sequence

PATIENCE = 40.0
"""Seconds until a process is given up and killed; only a broken test ever waits that long."""

DEMO = ("-m", "celery_statsd", "demo")


class Run:
    """Python running with `arguments`; `size` (rows, columns) gives it a terminal."""

    def __init__(
        self, arguments: Sequence[str], size: tuple[int, int] | None = None, **variables: str
    ) -> None:
        self._began = time.monotonic()
        self._chunks: list[bytes] = []
        self._reader, writer = pty.openpty() if size else os.pipe()
        if size:
            termios.tcsetwinsize(writer, size)
        self.settings = termios.tcgetattr(self._reader) if size else None
        unwanted = ("NO_COLOR", "COLUMNS", "LINES")
        kept = {key: value for key, value in os.environ.items() if key not in unwanted}
        self._child = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=writer,
            stderr=subprocess.PIPE,
            env={**kept, "TERM": "xterm-256color", **variables},
        )
        self._writer = writer
        self._errors: list[bytes] = []
        self._changed = threading.Condition()
        self._threads = [threading.Thread(target=target) for target in (self._read, self._fail)]
        for thread in self._threads:
            thread.start()
