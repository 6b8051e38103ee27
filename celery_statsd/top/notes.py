"""What the log says while the screen is not to be written on: shown there, told afterwards."""

import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO, cast

MOST = 100
"""Lines that are kept: the last ones."""


class Notes:
    """A stream, as far as a Log needs one: it goes to stderr, but not while it is `held`."""

    def __init__(self) -> None:
        self._kept: deque[str] = deque(maxlen=MOST)
        self._untold = 0
        self._said_at = 0.0
        self._holding = False

    @property
    def stream(self) -> TextIO:
        """Itself, for a Log."""
        return cast("TextIO", self)

    def write(self, text: str) -> int:
        """Take one line."""
        if not self._holding:
            return sys.stderr.write(text)
        self._kept.append(text)
        self._untold += 1
        self._said_at = time.monotonic()
        return len(text)

    def flush(self) -> None:
        """Let what was written be seen."""
        sys.stderr.flush()

    def last(self, within: float) -> str:
        """The last line that was held, if it is no older than so many seconds; else ""."""
        fresh = self._kept and time.monotonic() - self._said_at <= within
        return self._kept[-1].rstrip("\n") if fresh else ""

    @contextmanager
    def held(self) -> Iterator[None]:
        """Write nothing meanwhile; afterwards what was kept of it, and how much was not."""
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
            if self._untold > len(self._kept):
                sys.stderr.write(f"({self._untold - len(self._kept)} older lines are not kept)\n")
            sys.stderr.writelines(self._kept)
            sys.stderr.flush()
