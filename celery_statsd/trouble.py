"""A failure that repeats: it speaks once, then at intervals, then once when it ends."""

import os
import traceback
from typing import Any

from celery_statsd.errors import CeleryStatsdError
from celery_statsd.log import Log

REMIND_EVERY = 60.0
"""Seconds between two log lines about one failure."""


class Trouble:
    """One thing that can be down, and what the log says of it. `now` is monotonic seconds.

    An error of this package's own kinds is a warning, for somebody has answered it; any other is
    a fault in the program, told as an error with the place it comes from. Without `back` the
    end of the trouble is nothing to tell.
    """

    def __init__(self, log: Log, down: str, back: str = "", **fields: Any) -> None:
        self._log = log
        self._down = down
        self._back = back
        self._fields = fields
        self._since: float | None = None
        self._remind_at = 0.0
        self.failures = 0

    def tell(self, now: float, error: Exception) -> None:
        """It failed once more."""
        self.failures += 1
        if self._since is None:
            self._since = now
        elif now < self._remind_at:
            return
        self._remind_at = now + REMIND_EVERY
        known = isinstance(error, CeleryStatsdError)
        say = self._log.warning if known else self._log.error
        text = str(error) if known else _fault(error)
        away = round(now - self._since, 1)
        say(self._down, **self._fields, error=text, failures=self.failures, for_s=away)

    def over(self, now: float) -> None:
        """It works (again)."""
        if self._since is not None and self._back:
            away = round(now - self._since, 1)
            self._log.info(self._back, **self._fields, failures=self.failures, for_s=away)
        self._since = None
        self.failures = 0


def _fault(error: Exception) -> str:
    """An unexpected error and the line it was raised in."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else ""
    return f"{error!r}{place}"
