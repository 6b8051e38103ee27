"""The pipeline, with a journal behind it: what is fed to it survives the process.

`feed`, `tick`, `flush` and the like are the pipeline's; each is also written down. `commit` makes
what was written down last, and then the broker may forget it. `recover` brings a new process to
where the old one was, and says which flushes each sink may not have.

Laws:
1. A flush is written down before any sink gets it, and each sink's deliveries after they happened.
   So after a crash a sink gets again what it may not have: at most the one flush it had in hand.
2. The journal is begun anew with a snapshot when it is long, but not while a sink is behind, for it
   is all there is of the flushes that sink lacks; past LONGEST it is begun anew all the same, and
   the flushes given up are counted.
3. Recovery makes the calls as it reads them, so a restart needs no more memory than running. Of
   the flushes a sink lacks the last KEPT are sent to it again; the others are given up, counted.
4. Without a folder there is no journal, and all of this costs nothing. A disk that refuses to
   write is told, and costs the journal, not the metrics; it is tried anew at each flush.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from operator import length_hint
from pathlib import Path
from typing import BinaryIO, NamedTuple
from uuid import uuid4

from celery_statsd.accounts import Account
from celery_statsd.errors import StateLost
from celery_statsd.events import LONGEST_BODY
from celery_statsd.journal import (
    Deaf,
    Expected,
    Fed,
    Flushed,
    FlushedOwn,
    Journal,
    Rebased,
    Record,
    Refused,
    Sent,
    Snapshot,
    Ticked,
    identity_in,
    locked,
    unusable,
)
from celery_statsd.log import Log
from celery_statsd.metric import Batch
from celery_statsd.pipeline import Pipeline
from celery_statsd.trouble import Trouble

LONG = 16 * 1024 * 1024
"""Bytes: a journal of this length is begun anew at the next flush all sinks have."""

LONGEST = 256 * 1024 * 1024
"""Bytes: a journal is never longer, whatever a sink may lack."""

KEPT = 60
"""Flushes that are sent again after a restart: as many as an outlet's mailbox takes."""

PORTION = 4 * 1024 * 1024
"""Bytes of bodies in one record, and of records that may wait for a commit."""

AT_A_TIME = 200
"""Messages that go through the pipeline together: they stay in the processor's cache."""

_ALL, _NONE = (-1, -1), (0, 0)  # bodies and events that are not taken in: before, and after

_UNREADABLE = (KeyError, TypeError, ValueError, IndexError, AttributeError)


class Flush(NamedTuple):
    """A batch, its number, and the mark in the stream it was cut at ("": at none)."""

    number: int
    batch: Batch
    cut: str = ""


class Chronicle:
    """A pipeline that `make` makes and, once opened, its journal; `sinks` are the sinks' names.

    `number` is that of the last flush, `cut` the last mark; `given_up` counts the flushes laws 2
    and 3 have cost, `commits` how often something was made safe. `identity` is the same for all
    processes that use one journal.
    """

    def __init__(self, make: Callable[[], Pipeline], sinks: Iterable[str], log: Log) -> None:
        self.pipeline = make()
        self._make = make
        self.number = 0
        self.cut = ""
        self.given_up = 0
        self.commits = 0
        self.identity = uuid4().hex
        self._sent = dict.fromkeys(sinks, 0)
        self._log = log
        self._journal: Journal | None = None
        self._lock: BinaryIO | None = None
        self._sound = False
        self._trouble = Trouble(log, "state_unwritable", "state_writable")
        self._faulty = Trouble(log, "event_failed")

    def open(self, path: Path | None, now: float) -> list[Flush]:
        """Begin at `now`; with a `path` keep a journal in that file, and go on from what it holds.

        Returns the flushes that some sink may not have (see `lacks`). Raises ConfigError when the
        folder cannot be used, or another agent uses the file.
        """
        self.pipeline.begin(now)
        if path is None:
            return []
        self._lock = locked(path)
        self._journal = Journal(path)
        try:
            self.identity = identity_in(self._lock)
            flushes = self._recovered(self._journal.recover())
        except OSError as error:
            raise unusable(path, error) from None
        if self._journal.set_aside:
            self._log.warning("state_set_aside", file=str(self._journal.set_aside))
            self.pipeline.begin(now)
        lacking = [flush for flush in flushes if flush.number > self.delivered_to_all]
        if lacking:
            self._resume()
        else:
            self._begin(now)
        return lacking

    @property
    def sinks(self) -> Iterable[str]:
        """The sinks that are followed."""
        return self._sent.keys()

    def lacks(self, sink: str, number: int) -> bool:
        """Whether `sink` may not have that flush."""
        return number > self._sent.get(sink, 0)

    @property
    def lasting(self) -> bool:
        """Whether what it holds outlives this process."""
        return self._journal is not None and self._sound

    @property
    def unsound(self) -> bool:
        """Whether it should outlive this process, and would not."""
        return self._journal is not None and not self._sound

    @property
    def delivered_to_all(self) -> int:
        """The number of the last flush that every sink has."""
        return min(self._sent.values(), default=self.number)

    def feed(self, bodies: Sequence[bytes], now: float) -> None:
        """Take in what came together at `now`."""
        if sum(map(len, bodies)) <= PORTION:
            self._feed_portion(bodies, now)
            return
        for portion in _portions([body for body in bodies if len(body) <= LONGEST_BODY]):
            self._feed_portion(portion, now)
        for _ in filter(lambda body: len(body) > LONGEST_BODY, bodies):
            self.refuse("too_long")

    def _feed_portion(self, bodies: Sequence[bytes], now: float) -> None:
        self._feed_all(bodies, now)
        self._write(Fed(now, bodies))

    def refuse(self, reason: str) -> None:
        """Count a message that is not even tried."""
        self.pipeline.refuse(reason)
        self._write(Refused(reason))

    def deaf(self, now: float) -> None:
        """The broker is away."""
        self.pipeline.deaf(now)
        self._write(Deaf(now))

    def tick(self, now: float) -> None:
        """Let time pass."""
        self.pipeline.tick(now)
        self._write(Ticked(now))

    def ease(self) -> bool:
        """Have less to do at the coming flush; whether there was much. Nothing to write down: it
        changes no number."""
        return self.pipeline.ease()

    def flush(
        self, now: float, last: bool = False, stamp: float | None = None, cut: str = ""
    ) -> Flush:
        """All since the last flush; its time is `stamp` if given. At the mark `cut`, if given."""
        flushed = Flushed(now, self.number + 1, last, now if stamp is None else stamp, cut)
        flush = self._flushed(flushed)
        self._write(flushed)
        self.commit()
        return flush

    def flush_own(self, now: float) -> Batch:
        """What the agent says of itself alone. Nobody needs it later: it has no number."""
        self._write(FlushedOwn(now))
        return self.pipeline.flush_own(now)

    def rebase(self, bases: dict[str, int] | None = None) -> None:
        """Others have heard what was missed."""
        self.pipeline.rebase(bases)
        self._write(Rebased(bases))

    def expect(self, accounts: Mapping[str, Account]) -> None:
        """Others have heard of workers that are still unknown here, and this much."""
        self.pipeline.expect(accounts)
        self._write(Expected(dict(accounts)))

    def waive(self, number: int) -> None:
        """No sink needs the flushes up to that number: another agent says them."""
        self.waive_for(self._sent, number)

    def waive_for(self, sinks: Iterable[str], number: int) -> None:
        """The same for some of the sinks."""
        for sink in list(sinks):
            self.delivered(sink, number)

    def follow(self, sinks: Iterable[str]) -> None:
        """From the next flush on these are the sinks."""
        known, number = self._sent, self.number
        self._sent = {sink: known.get(sink, number) for sink in sinks}
        for sink in self._sent.keys() - known.keys():
            self._write(Sent(sink, number))

    def delivered(self, sink: str, number: int) -> None:
        """`sink` has every flush up to `number`. One that is not followed any more is ignored, and
        so is what is known already."""
        if number > self._sent.get(sink, number):
            self._sent[sink] = number
            self._write(Sent(sink, number))

    def commit(self) -> None:
        """Bring what was written down to the disk."""
        if self._journal is None or not self._sound:
            return
        try:
            self._journal.commit()
            self.commits += 1
        except OSError as error:
            self._fail(error)

    def begin_anew(self, now: float) -> None:
        """Cut the journal if it is long, or mend it if it could not be written: after a flush."""
        if self._journal is None:
            return
        behind = [self.number - sent for sent in self._sent.values()]
        if not self._sound or self._journal.size > (LONGEST if any(behind) else LONG):
            self.given_up += max(behind, default=0) if self._sound else 0
            self._begin(now)

    def close(self, now: float) -> None:
        """Leave a file from which a successor goes on at once."""
        if self._journal is None:
            return
        if self.delivered_to_all == self.number:
            self._begin(now)
        else:
            self.commit()
        self._journal.close()
        if self._lock is not None:
            self._lock.close()

    def _feed_all(self, bodies: Sequence[bytes], now: float) -> None:
        for start in range(0, len(bodies), AT_A_TIME):
            waiting, left = iter(bodies[start : start + AT_A_TIME]), _ALL
            while left != _NONE:
                before, left = left, self._left(waiting, now)
                if left == before:  # a fault that nothing gets past: told, and never for ever
                    break
            for _ in waiting:
                self.pipeline.refuse("fault")

    def _left(self, bodies: Iterator[bytes], now: float) -> tuple[int, int]:
        """Have the pipeline take all; the bodies and the events it has not. A fault of ours costs
        what it was at."""
        try:
            self.pipeline.feed_all(bodies, now)
        except Exception as error:  # what comes behind it may be better
            self.pipeline.ledger.write_off("fault")
            self._faulty.tell(time.monotonic(), error)
            return length_hint(bodies), self.pipeline.waiting
        return _NONE

    def _write(self, record: Record) -> None:
        if self._journal is not None and self._sound:
            self._journal.append(record)
            if self._journal.pending > PORTION:
                self.commit()

    def _begin(self, now: float) -> None:
        assert self._journal is not None
        try:
            state = self.pipeline.dump()
            self._journal.begin(Snapshot(now, self.number, dict(self._sent), state, self.cut))
        except OSError as error:
            self._fail(error)
        else:
            self._sound = True
            self._trouble.over(time.monotonic())

    def _resume(self) -> None:
        assert self._journal is not None
        try:
            self._journal.resume()
            self._sound = True
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        self._sound = False
        told = StateLost(f"{error.strerror}: what is counted now would not survive a crash")
        self._trouble.tell(time.monotonic(), told)

    def _recovered(self, records: Iterable[Record]) -> Iterable[Flush]:
        """Make the calls of the journal again; the last flushes of those some sink lacks."""
        assert self._journal is not None
        flushes, found, flushed = deque[Flush](maxlen=KEPT), False, 0
        try:
            for record in records:
                found, flush = True, self._apply(record)
                if flush is not None:
                    flushed += 1
                    flushes.append(flush)
                while flushes and flushes[0].number <= self.delivered_to_all:
                    flushes.popleft()
        except _UNREADABLE as error:
            self._log.warning("state_unreadable", error=repr(error))
            self._journal.put_aside()
            self.pipeline, self.number, self.cut = self._make(), 0, ""
            self._sent = dict.fromkeys(self._sent, 0)
            return []
        behind = self.number - self.delivered_to_all
        self.given_up += max(0, min(behind, flushed) - KEPT)
        if found:
            events = self.pipeline.ledger.events
            self._log.info("state_recovered", events=events, flushes=flushed)
        return flushes

    def _apply(self, record: Record) -> Flush | None:
        """Make one call again."""
        match record:
            case Flushed():
                return self._flushed(record)
            case Sent(sink, number):
                if sink in self._sent:
                    self._sent[sink] = number
            case Snapshot(_, number, sent, state, cut):
                self.pipeline.load(state)
                self.number, self.cut = number, cut
                self._sent = {sink: sent.get(sink, number) for sink in self._sent}
            case _:
                self._repeat(record)
        return None

    def _repeat(self, record: Record) -> None:
        """Make a call again that gives nothing back."""
        pipeline = self.pipeline
        match record:
            case Fed(now, bodies):
                self._feed_all(bodies, now)
            case Ticked(now):
                pipeline.tick(now)
            case Refused(reason):
                pipeline.refuse(reason)
            case Deaf(now):
                pipeline.deaf(now)
            case FlushedOwn(now):
                pipeline.flush_own(now)
            case Rebased(bases):
                pipeline.rebase(bases)
            case Expected(accounts):
                pipeline.expect(accounts)

    def _flushed(self, flush: Flushed) -> Flush:
        self.number = flush.number
        self.cut = flush.cut or self.cut
        batch = replace(self.pipeline.flush(flush.now, flush.last), time=flush.stamp)
        return Flush(flush.number, batch, flush.cut)


def _portions(bodies: Sequence[bytes]) -> Iterator[list[bytes]]:
    """`bodies` in their order, in lists of hardly more than PORTION bytes."""
    portion: list[bytes] = []
    size = 0
    for body in bodies:
        portion.append(body)
        size += len(body)
        if size > PORTION:
            yield portion
            portion, size = [], 0
    if portion:
        yield portion
