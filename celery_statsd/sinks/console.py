"""`console://`: each batch as readable lines on stdout. `all=1` shows idle counters too."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TextIO

from celery_statsd.errors import SinkDown
from celery_statsd.metric import Batch, Timing
from celery_statsd.sinks.base import Address, Sink
from celery_statsd.sinks.lines import number


def yes(text: str) -> bool:
    """A kind of option: 1 or 0. Raises ValueError."""
    return bool(("0", "1").index(text))


class ConsoleSink(Sink):
    """Writes to `stream`, or to what stdout is at the time."""

    def __init__(self, address: Address, stream: TextIO | None = None) -> None:
        super().__init__(address)
        address.only("all")
        self._all = address.option("all", yes, False)
        self._stream = stream

    def send(self, batch: Batch) -> None:
        """Write `batch`. Raises SinkDown when the reader of a pipe is gone, or the disk is full."""
        text = "".join(f"{line}\n" for line in self._lines(batch))
        stream = self._stream or sys.stdout
        try:
            stream.write(text)
            stream.flush()
        except OSError as error:
            self.tally.errors += 1
            self.tally.dropped += text.count("\n")
            raise SinkDown(f"{self.address.text}: {error.strerror or error}") from error
        self.tally.packets += 1
        self.tally.bytes += len(text.encode())

    def check(self) -> None:
        """There is always a stdout."""

    def close(self) -> None:
        """Nothing to let go of: stdout is not ours."""

    def _lines(self, batch: Batch) -> Iterator[str]:
        when = datetime.fromtimestamp(batch.time, UTC)
        yield f"-- {when:%Y-%m-%d %H:%M:%S} UTC, {number(batch.interval, 1)} s"
        for series, count in batch.counters:
            if count or self._all:
                yield f"{series.path}  {count}"
        for series, value in batch.gauges:
            yield f"{series.path}  = {number(value)}"
        for series, timing in batch.timers:
            yield f"{series.path}  {_timing(timing)}"


def _timing(timing: Timing) -> str:
    mean = timing.total / timing.count
    return f"count {timing.count}, mean {number(mean, 3)} ms, upper {number(timing.upper, 3)} ms"
