"""The figures as plain text: a line a second, for pipes, logs, and terminals that can no more."""

from typing import Self, TextIO

from celery_statsd.demo.figures import Figures, milliseconds


class Lines:
    """Writes one line to `stream` for each drawing, and `greeting` before them."""

    def __init__(self, stream: TextIO, greeting: str) -> None:
        self._stream = stream
        self._greeting = greeting
        self._note = ""

    def __enter__(self) -> Self:
        self._write(self._greeting)
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to put back."""

    def draw(self, figures: Figures, note: str) -> None:
        """Write what has become of all tasks; `note` only when it is a new one."""
        if note != self._note:
            self._write(note)
        self._note = note
        self._draw(figures)

    def end(self, figures: Figures) -> None:
        """Write the last line, and where Graphite would have one of the numbers."""
        self._draw(figures)
        self._write(f"in Graphite: stats.counters.{figures.example}.count\n")

    def _draw(self, figures: Figures) -> None:
        row = figures.total
        self._write(
            f"{figures.seconds:4.0f}s  sent {row.sent}  received {row.received}"
            f"  in flight {row.queued}/{row.reserved}/{row.running}"
            f"  ok {row.succeeded}  failed {row.failed}  retried {row.retried}"
            f"  revoked {row.revoked}  diff {row.difference}"
            f"  wait {milliseconds(row.wait.mean)}  run {milliseconds(row.runtime.mean)}"
            f"  {figures.events_rate:.0f} events/s"
        )

    def _write(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()
