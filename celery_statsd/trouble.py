"""A failure that repeats: it speaks once, then at intervals, then once when it ends."""

from typing import Any

from celery_statsd.log import Log

REMIND_EVERY = 60.0
"""Seconds between two log lines about one failure."""


class Trouble:
    """One thing that can be down, and what the log says of it. `now` is monotonic seconds."""

    def __init__(self, log: Log, down: str, back: str, **fields: Any) -> None:
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
        away = round(now - self._since, 1)
        self._log.warning(self._down, **self._fields, error=error, for_s=away)

    def over(self, now: float) -> None:
        """It works (again)."""
        if self._since is not None:
            away = round(now - self._since, 1)
            self._log.info(self._back, **self._fields, failures=self.failures, for_s=away)
        self._since = None
        self.failures = 0
