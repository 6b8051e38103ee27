"""Recording: whatever the source does, the replay of the tape gives the batches of the live run."""

import io
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from celery_statsd.chronicle import Chronicle
from celery_statsd.log import Log
from celery_statsd.metric import Batch
from celery_statsd.pipeline import Pipeline
from celery_statsd.recorder import Recorder
from celery_statsd.recording import Cue, entries
from celery_statsd.replay import follow
from celery_statsd.scope import CLUSTER, Scope
from celery_statsd.sinks.memory import MemorySink
from celery_statsd.source.base import Facts, Message
from celery_statsd.tape import Tape
from tests.bodies import Process, body
from tests.test_watch import Bodies

INTERVAL, FLUSHES = 0.1, 4
"""Seconds between two flushes, and how many there are in the end, at least."""


class Mixed(Bodies):
    """A source of messages with facts of their own; a None is a broker that is lost. It calls
    `over` after some reads that found nothing."""

    def __init__(self, messages: Sequence[Message | None]) -> None:
        bodies = [message and message.body for message in messages]
        super().__init__(bodies)
        self.over: Callable[[], None] = lambda: None
        self._facts = {m.body: m.facts for m in messages if m}
        self._vain = 0

    def _read(self, timeout: float) -> Sequence[Message]:
        found = super()._read(min(timeout, INTERVAL))
        self._vain += not found
        if self._vain > FLUSHES:
            self.over()
        return [Message(m.body, self._facts[m.body], "task.multi") for m in found]


def recorded(
    path: Path, source: Mixed, scope: Scope = CLUSTER, told: io.StringIO | None = None
) -> tuple[Pipeline, list[Batch]]:
    """The pipeline and the batches of a live run that was recorded, and `told` in the log."""
    log, sink = Log("info", stream=told or io.StringIO()), MemorySink()
    chronicle = Chronicle(lambda: Pipeline(scope=scope), (), log)
    recorder = Recorder(
        source,
        chronicle,
        [sink],
        Tape(str(path), packed=False, whole=False),
        log,
        scope=scope,
        settings={},
        interval=INTERVAL,
        patience=5.0,
    )
    source.over = recorder.stop
    recorder.run(time.monotonic() + 60)
    return chronicle.pipeline, sink.batches


def beats() -> list[bytes]:
    """What a worker says, one after the other."""
    worker, now = Process(), time.time()
    return [body(worker.beat(now + n / 100, n)) for n in range(3)]


def test_a_tape_holds_all_that_was_asked(tmp_path: Path) -> None:
    """Messages, refusals, a broker that was away, ticks and flushes: a replay's batches and ledger
    are those of the live run."""
    one, two, three = (Message(text, Facts()) for text in beats())
    bad = [Message(b"{", Facts()), Message(b"\x80", Facts("application/x-python-serialize"))]
    pipeline, live = recorded(tmp_path / "a", Mixed([one, *bad, None, two, three]))
    again = Pipeline()
    replayed = list(follow(entries([str(tmp_path / "a")]), again))

    assert replayed == live
    assert len(live) >= FLUSHES
    assert [False] * (len(live) - 1) + [True] == [batch.last for batch in live]
    assert {"not_json": 1, "content_type": 1} == dict(pipeline.ledger.bad)
    assert (5, 3) == (pipeline.ledger.events, pipeline.ledger.counted)
    assert again.ledger.bad == pipeline.ledger.bad
    found = Counter(e.what for e in entries([str(tmp_path / "a")]) if isinstance(e, Cue))
    assert (1, 1, 2) == (found["begin"], found["end"], found["refused"])
    assert found["deaf"] >= 1


def test_what_belongs_to_other_hosts_is_not_recorded(tmp_path: Path) -> None:
    """`scope: host` hears its own, and tells how many were others'."""
    (mine, other, _) = beats()
    source = Mixed([Message(mine, Facts(hostname="w@a")), Message(other, Facts(hostname="w@b"))])
    told = io.StringIO()
    pipeline, _ = recorded(tmp_path / "a", source, Scope("a", frozenset({"a"})), told)

    assert 1 == pipeline.ledger.events
    assert "events=1 foreign=1" in told.getvalue()
    assert 1 == sum(not isinstance(entry, Cue) for entry in entries([str(tmp_path / "a")]))


def test_it_leaves_the_broker(tmp_path: Path) -> None:
    """And ends when it is told to, with a tape that says so."""
    source = Mixed([])
    recorded(tmp_path / "a", source)

    assert source.left
    assert "end" == list(entries([str(tmp_path / "a")]))[-1].what  # type: ignore[union-attr]
