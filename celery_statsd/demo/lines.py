"""The figures as plain text: a line a second, for pipes, logs, and terminals that can no more."""

from typing import Self, TextIO

from celery_statsd.demo.figures import GAUGES, Figures
from celery_statsd.top.words import count, milliseconds


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
        flying = "/".join(count(row.gauge(gauge) or 0) for gauge in GAUGES)
        self._write(
            f"{figures.seconds:4.0f}s  sent {row.total('sent')}  received {row.total('received')}"
            f"  in flight {flying}"
            f"  ok {row.total('succeeded')}  failed {row.total('failed')}"
            f"  retried {row.total('retried')}  revoked {row.total('revoked')}"
            f"  diff {row.difference}"
            f"  wait {milliseconds(row.upper('wait', 95))}"
            f"  run {milliseconds(row.upper('runtime', 95))}"
            f"  {figures.events_rate:.0f} events/s"
        )

    def _write(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()
