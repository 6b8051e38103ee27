"""A sink's own thread and mailbox: whatever happens to a sink happens to nobody else."""

import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from celery_statsd.errors import SinkDown
from celery_statsd.log import Log
from celery_statsd.metric import Batch
from celery_statsd.sinks.base import Sink
from celery_statsd.trouble import Trouble

MAILBOX = 60
"""Batches an outlet may be behind; past it the oldest are given up, and counted. Those it is given
before it starts, which a journal held, come on top."""


class Outlet(threading.Thread):
    """A sink with a thread and a mailbox of its own.

    `given_up` counts the values of the batches it never sent: those the mailbox had no room for,
    and those a fault has cost. `delivered` is called with the sink's address and the number of
    the last flush it has.
    """

    def __init__(self, sink: Sink, log: Log, delivered: Callable[[str, int], None]) -> None:
        super().__init__(name=f"outlet {sink.address.text}", daemon=True)
        self.sink = sink
        self.given_up = 0
        self._delivered = delivered
        self._mailbox: queue.SimpleQueue[tuple[int, Batch] | None] = queue.SimpleQueue()
        self._room = MAILBOX
        self._down = False
        self._ending = False
        self._trouble = Trouble(log, "sink_down", "sink_back", sink=sink.address.text)
        self._late = Trouble(log, "sink_behind", "sink_in_time", sink=sink.address.text)
        self._overrun = Trouble(log, "sink_overrun", "sink_has_room", sink=sink.address.text)

    @property
    def down(self) -> bool:
        """Whether its sink took nothing the last time."""
        return self._down

    @property
    def waiting(self) -> int:
        """How many batches it is behind."""
        return self._mailbox.qsize()

    def put(self, number: int, batch: Batch) -> None:
        """Leave `batch`, the flush of that number (0: of none), to be sent. Never waits."""
        if self.ident is None:
            self._room += 1
        elif self.waiting >= self._room:
            with suppress(queue.Empty):
                self.given_up += _values(self._mailbox.get_nowait())
            self._late.tell(time.monotonic(), SinkDown(f"{self._room} flushes wait to be sent"))
        elif not self.waiting:
            self._late.over(time.monotonic())
        self._mailbox.put((number, batch))

    def finish(self) -> None:
        """Send what is left, close the sink, end. Does not wait for it."""
        self._ending = True
        self._mailbox.put(None)

    def run(self) -> None:
        """Send batch after batch, whatever happens to each."""
        number = 0
        while (entry := self._mailbox.get()) is not None:
            number = entry[0] or number
            self._send(*entry)
        given_up = self.sink.tally.dropped
        try:
            self.sink.close()
        except Exception as error:
            self._trouble.tell(time.monotonic(), error)
        else:
            if number and self.sink.tally.dropped == given_up:  # it has let go of nothing
                self._delivered(self.sink.address.text, number)

    def _send(self, number: int, batch: Batch) -> None:
        overrun = self.sink.tally.overrun
        self._try(number, batch)
        self._tell_overrun(self.sink.tally.overrun - overrun)

    def _try(self, number: int, batch: Batch) -> None:
        """Send, or let a sink that is down only keep what others wait behind: one try for all."""
        try:
            if self._down and self.waiting > self._ending:  # the sign to end is no batch
                self.sink.keep(batch)
                return
            self.sink.send(batch)
        except SinkDown as error:
            self._down = True
            self._trouble.tell(time.monotonic(), error)
        except Exception as error:  # a fault of ours must not silence the sink for ever
            self.sink.tally.errors += 1
            self.given_up += _values((number, batch))
            self._trouble.tell(time.monotonic(), error)
        else:
            self._down = False
            self._trouble.over(time.monotonic())
            if number:
                self._delivered(self.sink.address.text, number)

    def _tell_overrun(self, datagrams: int) -> None:
        """What a receiver had no room for is gone, whoever sent it: there is nothing to repeat."""
        if datagrams:
            told = f"{datagrams} datagrams found its buffer full; raise net.core.rmem_default there"
            self._overrun.tell(time.monotonic(), SinkDown(told))
        else:
            self._overrun.over(time.monotonic())


def _values(entry: tuple[int, Batch] | None) -> int:
    """How many values are in what a mailbox held."""
    if entry is None:
        return 0
    _, batch = entry
    return len(batch.counters) + len(batch.gauges) + len(batch.timers)
