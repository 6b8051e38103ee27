"""A pipeline that writes down what it is fed: a crash anywhere loses nothing committed."""

import io
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from celery_statsd.accounts import Account
from celery_statsd.chronicle import KEPT, PORTION, Chronicle, Flush
from celery_statsd.errors import ConfigError
from celery_statsd.events import LONGEST_BODY
from celery_statsd.journal import Fed, Journal
from celery_statsd.log import Log
from celery_statsd.metric import Batch
from celery_statsd.pipeline import Pipeline
from tests.bodies import NOON, Process, body
from tests.test_pipeline import counters
from tests.traces import FLUSH, NAMES, messages

SINKS = ("statsd://a", "graphite://b")


class Sums:
    """What one sink has got: the sum of each counter, and how often each flush came."""

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self.flushes: Counter[int] = Counter()

    def take(self, number: int, batch: Batch) -> None:
        """Add a flush."""
        self.flushes[number] += 1
        for series, total in batch.counters:
            if series.family != "agent":
                self.counters[series.path] += total


class Run:
    """A trace through chronicles that crash: whatever is not committed is fed again, as a broker
    would, and each flush is sent to two sinks."""

    def __init__(self, path: Path | None, name: str, crash: random.Random | None) -> None:
        self.sinks = {sink: Sums() for sink in SINKS}
        self._path, self._stream, self._crash = path, messages(name), crash
        self._ticked = int(self._stream[0].at)
        self._unacked = 0
        self._now = self._stream[0].at
        self._open()
        self._through()

    def _open(self) -> None:
        self.chronicle = Chronicle(Pipeline, SINKS, Log(stream=io.StringIO()))
        for flush in self.chronicle.open(self._path, self._now):
            for sink in SINKS:
                if self.chronicle.lacks(sink, flush.number):
                    self._send(sink, flush.number, flush.batch)

    def _send(self, sink: str, number: int, batch: Batch) -> None:
        self.sinks[sink].take(number, batch)
        self.chronicle.delivered(sink, number)
        self.chronicle.commit()

    def _through(self) -> None:
        for at, message in enumerate(self._stream):
            self._pass_time(message.at)
            self.chronicle.feed([message.body], message.at)
            self._now = message.at
            if self._crash is None or self._crash.random() < 0.2:
                self.chronicle.commit()
                self._unacked = at + 1
            if self._crash and self._crash.random() < 0.02:
                self._restart(at)
        self._pass_time(self._now + 60.0)
        self._flush(self._now + 60.0)
        killed(self.chronicle)

    def _restart(self, at: int) -> None:
        """The process dies; the broker delivers again what was not acknowledged."""
        killed(self.chronicle)
        self._open()
        for message in self._stream[self._unacked : at + 1]:
            self.chronicle.feed([message.body], self._now)

    def _pass_time(self, until: float) -> None:
        while self._ticked + 1 <= until:
            self._ticked += 1
            self.chronicle.tick(self._ticked)
            if self._ticked % FLUSH == 0:
                self._flush(self._ticked)

    def _flush(self, now: float) -> None:
        number, batch, _ = self.chronicle.flush(now)
        for sink in SINKS:
            self._send(sink, number, batch)
        self.chronicle.begin_anew(now)


@pytest.mark.parametrize("name", NAMES)
def test_crashes_lose_and_double_nothing(name: str, tmp_path: Path) -> None:
    """Killed at random moments between flushes: each sink gets each flush once, and the sums."""
    straight = Run(None, name, None)
    crashed = Run(tmp_path / "j", name, random.Random(7))

    for sink in SINKS:
        assert straight.sinks[sink].counters == crashed.sinks[sink].counters
        assert {1} == set(crashed.sinks[sink].flushes.values())
    assert crashed.chronicle.pipeline.ledger.balanced()
    assert 0 == crashed.chronicle.pipeline.balance["difference"]


OPENED: list[Chronicle] = []


@pytest.fixture(autouse=True)
def _leave_nothing_open() -> Iterator[None]:
    yield
    for chronicle in OPENED:
        killed(chronicle)
    OPENED.clear()


def opened(path: Path) -> tuple[Chronicle, dict[str, list[Flush]], io.StringIO]:
    """A chronicle on `path`, what each sink lacks, and its log."""
    told = io.StringIO()
    chronicle = Chronicle(Pipeline, SINKS, Log(stream=told))
    OPENED.append(chronicle)
    flushes = chronicle.open(path, 1000.0)
    lacking = {
        sink: [flush for flush in flushes if chronicle.lacks(sink, flush.number)] for sink in SINKS
    }
    return chronicle, lacking, told


def killed(chronicle: Chronicle) -> None:
    """As SIGKILL leaves it."""
    if chronicle._lock:
        chronicle._lock.close()
    if chronicle._journal:
        chronicle._journal.close()


def test_a_flush_in_hand_is_sent_again_to_whom_it_may_not_have_reached(tmp_path: Path) -> None:
    """One sink had it, the other may not: only that one gets it again, the same."""
    chronicle, _, _ = opened(tmp_path / "j")
    message = messages("rmq-prefork-57")[0]
    chronicle.feed([message.body], message.at)
    flush = chronicle.flush(message.at + 1, cut="a mark")
    chronicle.delivered(SINKS[0], 1)
    chronicle.commit()
    killed(chronicle)
    _, lacking, told = opened(tmp_path / "j")

    assert {SINKS[0]: [], SINKS[1]: [flush]} == lacking
    assert (1, "a mark") == (flush.number, flush.cut)
    assert "state_recovered" in told.getvalue()


def test_what_a_sink_lacks_survives_any_number_of_crashes(tmp_path: Path) -> None:
    """Flush upon flush, while it is down, until it is back."""
    numbers = []
    for _ in range(3):
        chronicle, lacking, _ = opened(tmp_path / "j")
        numbers.append([flush.number for flush in lacking[SINKS[1]]])
        chronicle.flush(2000.0)
        chronicle.delivered(SINKS[0], chronicle.number)
        chronicle.commit()
        killed(chronicle)

    assert [[], [1], [1, 2]] == numbers


def test_a_clean_stop_leaves_a_short_file(tmp_path: Path) -> None:
    """When every sink has everything, only the snapshot stays."""
    chronicle, _, _ = opened(tmp_path / "j")
    for message in messages("rmq-prefork-57"):
        chronicle.feed([message.body], message.at)
    chronicle.flush(message.at)
    for sink in SINKS:
        chronicle.delivered(sink, 1)
    chronicle.close(message.at)
    successor, lacking, _ = opened(tmp_path / "j")

    assert {sink: [] for sink in SINKS} == lacking
    assert 286 == successor.pipeline.balance["received"]


def test_two_agents_cannot_share_a_file(tmp_path: Path) -> None:
    """The second is told which file, and what to do."""
    first, _, _ = opened(tmp_path / "j")
    with pytest.raises(ConfigError, match=r"state_dir: another agent keeps .*j; give each"):
        opened(tmp_path / "j")
    first.close(1.0)


def test_a_folder_that_cannot_be_is_told(tmp_path: Path) -> None:
    """The key, the folder, the cure."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"state_dir: .* cannot be used .*; name a folder"):
        opened(tmp_path / "file" / "j")


def test_a_state_of_another_shape_never_stops_the_start(tmp_path: Path) -> None:
    """It is set aside with a word, and the agent begins anew."""
    chronicle, _, _ = opened(tmp_path / "j")
    chronicle.pipeline.dump = lambda: {"tracker": 5}  # type: ignore[method-assign]
    chronicle.close(1.0)
    successor, lacking, told = opened(tmp_path / "j")

    assert {sink: [] for sink in SINKS} == lacking
    assert 0 == successor.pipeline.ledger.events
    assert "state_unreadable" in told.getvalue()
    assert "state_set_aside" in told.getvalue()


def test_of_many_flushes_the_last_are_sent_again(tmp_path: Path) -> None:
    """As many as an outlet takes; the others are given up, and counted."""
    chronicle, _, _ = opened(tmp_path / "j")
    for _ in range(KEPT + 7):
        chronicle.flush(2000.0)
        chronicle.delivered(SINKS[0], chronicle.number)
    chronicle.commit()
    killed(chronicle)
    successor, lacking, told = opened(tmp_path / "j")

    assert [] == lacking[SINKS[0]]
    assert list(range(8, KEPT + 8)) == [flush.number for flush in lacking[SINKS[1]]]
    assert 7 == successor.given_up
    assert f"flushes={KEPT + 7}" in told.getvalue()


def test_a_body_that_is_too_long_is_counted_and_not_kept(tmp_path: Path) -> None:
    """Before a restart and after it."""
    chronicle, _, _ = opened(tmp_path / "j")
    chronicle.feed([b" " * (LONGEST_BODY + 1), b"{}", b" " * (LONGEST_BODY + 1)], 1000.0)
    chronicle.commit()
    killed(chronicle)
    successor, _, _ = opened(tmp_path / "j")

    assert 100_000 > (tmp_path / "j").stat().st_size
    assert {"too_long": 2, "no_event": 1} == successor.pipeline.ledger.bad


def test_much_that_comes_together_is_written_in_parts(tmp_path: Path) -> None:
    """So that neither waiting for a commit nor recovery takes much memory; nothing is lost."""
    chronicle, _, _ = opened(tmp_path / "j")
    chronicle.feed([b" " * (PORTION // 2) + b"{}"] * 7, 1000.0)
    assert PORTION > chronicle._journal.pending  # type: ignore[union-attr]
    chronicle.commit()
    killed(chronicle)
    fed = [len(r.bodies) for r in Journal(tmp_path / "j").recover() if isinstance(r, Fed)]
    successor, _, _ = opened(tmp_path / "j")

    assert [2, 2, 2, 1] == fed
    assert {"no_event": 7} == successor.pipeline.ledger.bad


def test_what_another_agent_says_no_sink_needs(tmp_path: Path) -> None:
    """Waived for one sink or for all, it survives a crash; what is known already stays."""
    chronicle, _, _ = opened(tmp_path / "j")
    for _ in range(3):
        chronicle.flush(2000.0)
    chronicle.waive(1)
    chronicle.waive_for([SINKS[0]], 3)
    chronicle.delivered(SINKS[0], 2)
    chronicle.waive(0)
    chronicle.commit()
    killed(chronicle)
    _, lacking, _ = opened(tmp_path / "j")

    assert {SINKS[0]: [], SINKS[1]: [2, 3]} == {
        sink: [flush.number for flush in flushes] for sink, flushes in lacking.items()
    }


def test_the_last_mark_and_the_identity_stay(tmp_path: Path) -> None:
    """Over crashes and clean stops, for all processes that use one journal."""
    identities = set()
    for cut in ("c1", "", "c2"):
        chronicle, _, _ = opened(tmp_path / "j")
        identities.add(chronicle.identity)
        chronicle.flush(2000.0, cut=cut)
        chronicle.waive(chronicle.number)
        chronicle.close(2000.0)
    chronicle, _, _ = opened(tmp_path / "j")

    assert "c2" == chronicle.cut
    assert {chronicle.identity} == identities
    other, _, _ = opened(tmp_path / "k")
    assert other.identity != chronicle.identity


def test_other_sinks_are_followed_from_the_next_flush_on(tmp_path: Path) -> None:
    """What was before is not theirs; after a crash too."""
    chronicle, _, _ = opened(tmp_path / "j")
    chronicle.flush(2000.0)
    chronicle.follow([SINKS[0], "statsd://new"])
    assert [SINKS[0], "statsd://new"] == list(chronicle.sinks)
    assert (True, False) == (chronicle.lacks(SINKS[0], 1), chronicle.lacks("statsd://new", 1))
    chronicle.delivered(SINKS[1], 1)
    assert 0 == chronicle.delivered_to_all
    chronicle.flush(2001.0)
    assert chronicle.lacks("statsd://new", 2)


def test_a_rebase_and_the_vitals_are_made_again(tmp_path: Path) -> None:
    """The successor comes to the same sums."""
    stream = messages("redis-gap-57")
    half = len(stream) // 2
    chronicle, _, _ = opened(tmp_path / "j")
    for at, message in enumerate(stream):
        chronicle.feed([message.body], message.at)
        if at == half:
            chronicle.rebase()
            chronicle.flush_own(message.at)
    chronicle.commit()
    killed(chronicle)
    successor, _, _ = opened(tmp_path / "j")

    assert chronicle.pipeline.dump() == successor.pipeline.dump()


def test_what_others_accounted_for_is_known_again(tmp_path: Path) -> None:
    """Of a worker that was heard of, and of one that is heard of only by the successor."""
    known, new = Process("known@a", pid=1), Process("new@a", pid=2)
    chronicle, _, _ = opened(tmp_path / "j")
    chronicle.feed([body(known.beat(NOON, 10))], NOON)
    chronicle.rebase({"known@a": 4})
    chronicle.expect({"new@a": Account(2, 50, NOON, 50)})
    chronicle.commit()
    killed(chronicle)
    successor, _, _ = opened(tmp_path / "j")
    for at in (NOON + 2, NOON + 4):
        successor.feed([body(known.beat(at, 10)), body(new.beat(at, 57))], at)

    lost = counters(successor.flush(NOON + 5).batch)
    assert 6 == lost["worker", "known@a", "events_lost"]
    assert 7 == lost["worker", "new@a", "events_lost"]


def test_nothing_lasts_without_a_journal(tmp_path: Path) -> None:
    """With one it does."""
    assert opened(tmp_path / "j")[0].lasting
    assert not Chronicle(Pipeline, SINKS, Log(stream=io.StringIO())).lasting


@pytest.mark.parametrize("where", ["feed_all", "fold"])
def test_a_fault_that_nothing_gets_past_is_counted_and_ends(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each message that was not taken in is a bad event; one that was is counted all the same."""
    feed_all = Pipeline.feed_all

    def fails(self: Pipeline, bodies: Iterator[bytes], now: float) -> None:
        if where == "fold":
            feed_all(self, bodies, now)
        raise ZeroDivisionError

    monkeypatch.setattr(Pipeline, "feed_all", fails)
    worker = Process()
    chronicle = Chronicle(Pipeline, (), Log(stream=io.StringIO()))
    chronicle.open(None, NOON)
    chronicle.feed([body(worker.received(uuid, NOON)) for uuid in "abc"], NOON)
    ledger = chronicle.pipeline.ledger
    assert ledger.balanced()
    assert (3 if where == "fold" else 0) == ledger.counted
    assert {"fault": 1 if where == "fold" else 5} == dict(ledger.bad)
