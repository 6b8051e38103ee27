"""What an agent says, when, and whether it may: between the pipeline and the outlets.

Laws:
1. Where one agent at a time hears the stream (RabbitMQ), who hears it speaks. One that the broker
   does not serve says its own vitals only: its zeros would overwrite the other's counts. What it
   has still to tell it tells aside, under its own name as reporter, and one that takes over lets a
   whole interval pass first: of two values of one series and beat a Graphite keeps one.
2. Where all hear the same stream (a chorus, on Redis), flushes end at the marks in it, at the same
   place for all of them. One speaks; the others keep what they cut until they hear that it was
   said (see `understudy`). Whoever takes over says what was not.
3. What was missed while others heard it is no loss: where one at a time is served the loss meter
   begins anew, in a chorus it goes on from where the last speaker stood (see `accounts`). What
   others have said meanwhile is not said again. Who comes back tells no loss before the next mark
   is said: what it missed since the last one others may have heard.
4. A Redis that lost its memory may be found first by an agent that was away while others spoke. So
   each tells what it knows to be said, and nobody speaks, nor tells a loss, before all had the time
   to come back.

All calls but `beat` are made with the pipeline's lock held; `beat` takes it itself.
"""

import threading
import time
from collections.abc import Iterable
from dataclasses import replace

from celery_statsd import accounts
from celery_statsd.accounts import JOINED, Accounts, bases_of, is_behind
from celery_statsd.chronicle import Chronicle, Flush
from celery_statsd.log import Log
from celery_statsd.metric import Batch, Series, Value
from celery_statsd.names import escape
from celery_statsd.outlet import Outlet
from celery_statsd.sinks.base import Sink
from celery_statsd.source.base import LONGEST_WAIT, Joined, Mark, Said, Source, Turn
from celery_statsd.understudy import Understudy
from celery_statsd.vitals import Vitals

REGATHER = LONGEST_WAIT + 2.0
"""Seconds in which all agents of a chorus have found a broker that is back."""

SKEW = 60.0
"""Seconds by which the clocks of the agents of a chorus may differ."""


class Speaker:
    """Says what `chronicle` has added up to the outlets of some sinks.

    `interval` is the length of a flush in seconds. While it is `leaving`, the next mark is the
    last one, and then the farewell is said.
    """

    def __init__(  # noqa: PLR0913
        self,
        chronicle: Chronicle,
        source: Source,
        vitals: Vitals,
        lock: threading.Lock,
        log: Log,
        *,
        host: str,
    ) -> None:
        self.interval = 10.0
        self.leaving = self.said_farewell = False
        self.outlets: list[Outlet] = []
        self._chronicle = chronicle
        self._source = source
        self._vitals = vitals
        self._lock = lock
        self._log = log
        self._aside = escape(host)
        self._served_since: float | None = None
        self._has_rivals = False
        self._holds = True  # losses back; an earlier process may have left them so
        self._retired: list[Outlet] = []
        self._understudy = Understudy()
        self._mine: dict[int, str] = {}
        self._begun = False
        self._beats_uncut = 0
        self._accounts = Accounts()
        self._known: Said | None = None
        self._recalled: Said | None = None
        self._waits_until = 0.0
        self._stamp = 0.0

    @property
    def noted_at(self) -> float:
        """When something was made ready to be said, or the start was (monotonic seconds)."""
        return self._vitals.noted_at

    @property
    def leads(self) -> bool:
        """Whether this agent speaks for the cluster, as far as it knows."""
        if self._source.chorus:
            return self._source.leads
        return self._served_since is not None or self._is_first

    @property
    def _is_first(self) -> bool:
        """Whether nobody was served when it connected: it is, as soon as there is anything."""
        return self._source.connected and not self._source.stood_by

    def begin(self, lacking: Iterable[Flush]) -> None:
        """Start the outlets, with what an earlier process left unsaid."""
        for flush in lacking:
            if flush.cut:
                self._keep(flush)
            else:
                self._say(flush)
        self._begun = True
        for outlet in self.outlets:
            outlet.start()

    def adopt(self, sinks: Iterable[Sink]) -> None:
        """From now on these are the sinks; the outlet of one that was there already stays."""
        left = list(self.outlets)
        self.outlets = [self._outlet_for(sink, left) for sink in sinks]
        for outlet in left:
            outlet.finish()
            self._retired.append(outlet)
        for outlet in self.outlets if self._begun else ():
            if not outlet.is_alive():
                outlet.start()
        self._chronicle.follow(outlet.sink.address.text for outlet in self.outlets)

    def finish(self) -> list[Outlet]:
        """Nothing more will be said; the outlets that have still to send."""
        for outlet in self.outlets:
            outlet.finish()
        return self._all()

    def serve(self, served: bool, now: float) -> None:
        """Take note whether the broker serves us, as of `now` (epoch seconds); before what it has
        served is taken in."""
        if not served:
            self._served_since = None
        elif self._served_since is None:
            self._served_since = now
            self._has_rivals = self._has_rivals or self._source.stood_by
            if self._has_rivals and not self._source.chorus:  # another one was served meanwhile
                self._chronicle.rebase()

    def beat(self, stamp: float) -> None:
        """A flush for `stamp` is due."""
        with self._lock:
            if not self._source.chorus:
                self._flush(time.time())
                return
            self._has_rivals = self._has_rivals or not self._source.alone
            # Another one's clock may be ahead: of two values of one series and beat one is kept.
            is_new = not 0.0 <= self._stamp - stamp < SKEW
            if self._has_waited(stamp) and is_new:
                self._source.mark(stamp)
            self._beats_uncut += 1
            if self._beats_uncut > 1:
                self._say_own(time.time())

    def turn(self, turn: Turn, now: float) -> None:
        """Follow what the chorus does."""
        match turn:
            case Mark():
                self._cut(turn, now)
            case Said():
                self._hear(turn)
                self._account(turn)
            case Joined():
                self._join(turn, now)

    def farewell(self, now: float, stamp: float) -> None:
        """Say all that is left, for the beat `stamp`. What a chorus has not cut yet is left to
        the others, or to the journal; with neither it is said all the same."""
        self._vitals.note(self._all())
        if self._source.chorus and not (self._source.alone and not self._chronicle.lasting):
            own = self._chronicle.flush_own(now)
            silent = tuple((series, 0.0) for series, _ in own.gauges)
            self._put(0, replace(own, time=stamp, gauges=silent))
            return
        self._settle(now)
        flush = self._chronicle.flush(now, last=True, stamp=stamp)
        if self._source.chorus:  # a speaker may have left before it heard its own last mark
            self._say_kept_and(flush)
        else:
            self._say(flush if self._may_speak(now) else self._put_aside(flush))

    def _outlet_for(self, sink: Sink, known: list[Outlet]) -> Outlet:
        for outlet in known:
            if outlet.sink.address.text == sink.address.text:
                known.remove(outlet)
                return outlet
        return Outlet(sink, self._log, self._note_delivered)

    def _flush(self, now: float) -> None:
        began = time.perf_counter()
        self._vitals.note(self._all())
        self._let_go()  # of what it held back while it was one of a chorus
        flush = self._chronicle.flush(now)
        self._chronicle.begin_anew(now)
        self._vitals.flush_took = time.perf_counter() - began
        self._say(flush if self._may_speak(now) else self._put_aside(flush))

    def _cut(self, mark: Mark, now: float) -> None:
        began = time.perf_counter()
        self._stamp = mark.stamp
        self._vitals.note(self._all())
        last = self.leaving and mark.mine  # another's says nothing of what comes behind it
        if last:
            self._settle(now)
        if mark.mine:
            self._let_go()
        flush = self._chronicle.flush(now, last, mark.stamp, mark.cut)
        self._chronicle.begin_anew(now)
        self._vitals.flush_took = time.perf_counter() - began
        self._beats_uncut = 0
        self.said_farewell = last
        self._accounts.note(mark.cut, self._chronicle.pipeline.stands())
        if mark.mine:
            self._say_kept_and(flush)
        else:
            self._has_rivals = True
            self._keep_for_others(flush)

    def _hear(self, said: Said) -> None:
        """Another agent has delivered what we keep."""
        others = [sink for sink in self._chronicle.sinks if sink not in said.lacking]
        self._chronicle.waive_for(others, self._understudy.number_of(said.cut))
        self._understudy.drop(self._chronicle.delivered_to_all)

    def _account(self, said: Said) -> None:
        """Measure losses from where the speaker does, unless it knows less than was said."""
        known, cut = self._known, said.cut
        if not said.accounts or (known and known.cut == cut):
            return
        if known and is_behind(said.accounts, known.accounts):
            if known is not self._recalled:  # once: who cannot learn it would be told for ever
                self._recalled = known
                self._source.say(known)
            return
        if cut not in self._accounts:
            cut = JOINED
            if self._waits_until:
                self._drop_kept()
        stands = self._chronicle.pipeline.stands()
        bases = self._accounts.bases(cut, said.accounts, stands)
        if bases.items() - bases_of(stands).items():
            self._chronicle.rebase(bases)
        self._known = said
        if not self._waits_until:
            self._let_go()

    def _join(self, joined: Joined, now: float) -> None:
        """Go on in the chorus. Others may have cut meanwhile, and say what we have added up."""
        said = joined.said
        if said:
            self._hear(said)
        last = joined.cut or (said.cut if said else "")
        if last and not self._knows(last) and not joined.mine:
            self._has_rivals = True
            self._put(0, self._chronicle.flush(now, cut=last).batch.part(own=True))
            self._drop_kept()
            self._accounts.note(last, self._chronicle.pipeline.stands())
            self._accounts.note(JOINED, self._chronicle.pipeline.stands())
        elif not last and self._has_rivals:
            self._wait(now)
        if said:
            self._account(said)
        elif self._known:
            self._source.say(self._known)
        self._hold_back()

    def _knows(self, cut: str) -> bool:
        return cut in self._accounts or cut == self._chronicle.cut

    def _wait(self, now: float) -> None:
        """Keep apart what was heard before, and the losses back (law 4)."""
        self._waits_until = now + REGATHER
        self._stamp = (max(now, self._stamp) // self.interval + 1) * self.interval
        cut = f"{JOINED}:{now}"
        self._keep_for_others(self._chronicle.flush(now, stamp=self._stamp, cut=cut))
        self._accounts.note(JOINED, self._chronicle.pipeline.stands())

    def _has_waited(self, stamp: float) -> bool:
        if self._waits_until > stamp:
            return False
        self._waits_until = 0.0
        return True

    def _hold_back(self) -> None:
        self._chronicle.rebase(accounts.held_back(bases_of(self._chronicle.pipeline.stands())))
        if self._known:
            self._chronicle.expect(accounts.withheld(self._known.accounts))
        self._holds = True

    def _let_go(self) -> None:
        """Tell losses again: what is not said by now nobody else has heard."""
        if self._holds:
            self._holds = False
            self._chronicle.rebase(self._held())
            self._chronicle.expect(self._known.accounts if self._known else {})

    def _held(self) -> dict[str, int]:
        """From where the losses that are held back are to be measured."""
        return accounts.released(bases_of(self._chronicle.pipeline.stands()))

    def _drop_kept(self) -> None:
        """Somebody else has said it."""
        self._understudy.take()
        self._chronicle.waive(self._chronicle.number)

    def _keep_for_others(self, flush: Flush) -> None:
        self._put(0, flush.batch.part(own=True))
        self._keep(flush._replace(batch=flush.batch.part(own=False)))

    def _settle(self, now: float) -> None:
        if self._chronicle.lasting:
            return
        chorus = self._source.chorus  # nobody will go on with what is in flight, nor hear the rest
        if chorus:
            self._let_go()
        self._chronicle.pipeline.settle(now, deaf_from_now=chorus)

    def _say_own(self, now: float) -> None:
        self._vitals.note(self._all())
        self._put(0, self._chronicle.flush_own(now))

    def _keep(self, flush: Flush) -> None:
        gone = self._understudy.keep(flush)
        if gone:
            self._chronicle.waive(gone)

    def _say_kept_and(self, flush: Flush) -> None:
        """All that is not said yet."""
        self._chronicle.given_up += self._understudy.gone
        for one in (*self._understudy.take(), flush):
            self._mine[one.number] = one.cut
            self._say(one)

    def _say(self, flush: Flush) -> None:
        for outlet in self.outlets:
            if self._chronicle.lacks(outlet.sink.address.text, flush.number):
                outlet.put(flush.number, flush.batch)

    def _put(self, number: int, batch: Batch) -> None:
        for outlet in self.outlets:
            outlet.put(number, batch)

    def _may_speak(self, now: float) -> bool:
        since = self._served_since
        if since is None:
            return False
        return not self._source.stood_by or not 0.0 <= now - since < self.interval

    def _put_aside(self, flush: Flush) -> Flush:
        # There may be nobody who sends any events, and queues all the same.
        with_queues = self._served_since is None and self._is_first
        return flush._replace(batch=aside(flush.batch, self._aside, with_queues))

    def _note_delivered(self, sink: str, number: int) -> None:
        """Called by the outlets: write down at once what must not be sent twice."""
        with self._lock:
            chronicle = self._chronicle
            chronicle.delivered(sink, number)
            chronicle.commit()
            if number in self._mine:
                lacking = [one for one in chronicle.sinks if chronicle.lacks(one, number)]
                cut = self._mine[number]
                told = self._accounts.at(cut, self._held())
                self._source.say(Said(cut, tuple(lacking), told))
            done = chronicle.delivered_to_all
            self._mine = {of: cut for of, cut in self._mine.items() if of > done}

    def _all(self) -> list[Outlet]:
        """The outlets in use, and those that still send what they have."""
        for outlet in self._retired:
            if not outlet.is_alive():
                self._vitals.bury(outlet)
        self._retired = [outlet for outlet in self._retired if outlet.is_alive()]
        return self.outlets + self._retired


def aside(batch: Batch, reporter: str, with_queues: bool = False) -> Batch:
    """What an agent may say while another one speaks for all: its own vitals, and what it had
    still to tell, as facts of `reporter`. `with_queues`: also how the queues are, which is the
    same whoever says it."""
    own = batch.part(own=True)
    told = batch.part(own=False)
    queues = tuple(row for row in told.gauges if row[0].family == "queue") if with_queues else ()
    return replace(
        own,
        gauges=(*own.gauges, *queues),
        counters=(*own.counters, *(_under(reporter, row) for row in told.counters if row[1])),
        timers=(*own.timers, *(_under(reporter, row) for row in told.timers)),
    )


def _under(reporter: str, row: tuple[Series, Value]) -> tuple[Series, Value]:
    series, value = row
    path = f"{series.path.rpartition('.')[0]}.{reporter}"
    return replace(series, path=path), value
