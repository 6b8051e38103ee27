"""The figures as plain text: one line a second, for logs, pipes and terminals that can no more."""

from typing import Self, TextIO

from celery_statsd.demo.figures import Figures, milliseconds, vitals


class Lines:
    """Writes a line for each drawing to `stream`."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
