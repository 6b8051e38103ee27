"""What an agent says of itself: well is one that listens, flushes, and is rid of its flushes."""

import io
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from celery_statsd import health as healing
from celery_statsd.chronicle import Chronicle
from celery_statsd.errors import SinkDown
from celery_statsd.health import OK, STILL, UNWELL, Health
from celery_statsd.log import Log
from celery_statsd.lookout import Lookout
from celery_statsd.metric import Batch
from celery_statsd.pipeline import Pipeline
from celery_statsd.probes.base import QueueFacts, Sight
from celery_statsd.sinks.memory import MemorySink
from celery_statsd.source.base import Message, Source
from celery_statsd.speaker import Speaker
from celery_statsd.survey import Survey
from celery_statsd.vitals import Vitals
from tests.bodies import Process, body
from tests.servers.process import wait_until
from tests.test_survey import Glass


class Quiet(Source):
    """A broker that has nothing to say."""

    place = "quiet://"

    def ack(self) -> None:
        """Nothing to do."""

    def _open(self) -> None:
        """Nothing to do."""

    def _read(self, timeout: float) -> Sequence[Message]:
        raise NotImplementedError

    def _drop(self) -> None:
        """Nothing to do."""

    def _leave(self) -> None:
        """Nothing to do."""


class Refusing(MemorySink):
    """A sink that refuses as long as it is told to."""

    refuses = True

    def send(self, batch: Batch) -> None:
        if self.refuses:
            raise SinkDown("nobody there")
        super().send(batch)


class Patient:
    """The parts of an agent, and its health."""

    def __init__(self, sink: MemorySink | None = None, path: Path | None = None) -> None:
        log, self.lock = Log(stream=io.StringIO()), threading.Lock()
        self.sink = sink or MemorySink()
        self.source = Quiet(log)
        self.source.connected = True
        self.chronicle = Chronicle(Pipeline, (), log)
        vitals = Vitals(self.chronicle, self.source, "me", "quiet")
        self.speaker = Speaker(self.chronicle, self.source, vitals, self.lock, log, host="me")
        self.speaker.adopt([self.sink])
        self.speaker.begin(self.chronicle.open(path, time.time()))
        self.health = Health(self.chronicle, self.source, self.speaker, self.lock)
        self.health.listened(heard=False)

    @property
    def problems(self) -> list[str]:
        status, told = self.health.healthz()
        assert status == (UNWELL if told["problems"] else OK)
        assert told["healthy"] is not bool(told["problems"])
        return list(told["problems"])


_now = time.monotonic


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """So much later than now."""
    then = _now() + seconds
    monkeypatch.setattr(healing.time, "monotonic", lambda: then)


def test_one_that_listens_and_sends_is_well() -> None:
    """Though no event ever came: that is told, and no illness."""
    patient = Patient()
    status, told = patient.health.healthz()
    assert (OK, True, []) == (status, told["healthy"], told["problems"])
    assert told["event_age_s"] is None
    patient.health.listened(heard=True)
    assert 1.0 > patient.health.healthz()[1]["event_age_s"]


def test_one_whose_broker_is_gone_is_not() -> None:
    """Until it is back."""
    patient = Patient()
    patient.source.connected = False
    assert ["the broker is away"] == patient.problems
    assert OK == patient.health.livez()[0]
    patient.source.connected = True
    assert [] == patient.problems


def test_one_that_does_not_listen_any_more_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its thread is doing."""
    patient = Patient()
    patient.speaker.interval = 1000.0
    later(monkeypatch, STILL - 1)
    assert [] == patient.problems
    assert (OK, {"alive": True, "problems": []}) == patient.health.livez()
    later(monkeypatch, STILL + 1)
    told = ["nobody has listened for 31 s"]
    assert told == patient.problems
    assert (UNWELL, {"alive": False, "problems": told}) == patient.health.livez()


def test_one_that_does_not_flush_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """After three beats, and as long as any loop may take."""
    patient = Patient()
    patient.speaker.interval = 10.0
    for passed, well in ((29 + STILL, True), (32 + STILL, False)):
        later(monkeypatch, passed)
        patient.health.listened(heard=False)
        assert well is not bool(patient.problems)


def test_one_whose_sink_refuses_is_not() -> None:
    """Until it takes again; the sink is named."""
    sink = Refusing()
    patient = Patient(sink)
    patient.speaker.beat(time.time())
    wait_until(lambda: patient.problems == ["memory:// is down"], 5, "it is told")
    assert ["memory://"] == patient.health.healthz()[1]["sinks_down"]
    sink.refuses = False
    patient.speaker.beat(time.time())
    wait_until(lambda: patient.problems == [], 5, "it is well again")


def test_one_whose_journal_cannot_be_written_is_not(tmp_path: Path) -> None:
    """What it counts now would not survive it."""
    patient = Patient(path=tmp_path / "journal")
    assert [] == patient.problems
    patient.chronicle._fail(OSError(28, "No space left on device"))
    assert ["the journal cannot be written"] == patient.problems


def test_one_that_is_stuck_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """In time, whoever holds it."""
    monkeypatch.setattr(healing, "WAIT", 0.05)
    patient = Patient()
    with patient.lock:
        assert ["it has been busy for 0.05 s"] == patient.problems
        assert UNWELL == patient.health.livez()[0]
    assert [] == patient.problems


def test_the_summary_is_a_line_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events a second since the line before, whatever a journal held before the first."""
    patient, worker, now = Patient(Refusing()), Process(), time.time()
    patient.chronicle.feed([body(worker.received("t0", now))], now)
    assert "quiet://: 0.0 events/s, none yet; to memory://" == patient.health.summary()
    patient.health.listened(heard=True)
    patient.chronicle.feed([body(worker.received(f"t{n}", now)) for n in range(1, 1001)], now)
    later(monkeypatch, 10.0)
    line = patient.health.summary()
    rate = float(line.partition(": ")[2].partition(" ")[0])
    assert 99.0 < rate <= 100.0
    assert line.endswith(" events/s, the last 10 s ago; to memory://")
    patient.source.connected = False
    patient.speaker.beat(time.time())
    wait_until(lambda: patient.health.summary().endswith("memory:// is down"), 5, "it is told")
    assert patient.health.summary().startswith("quiet:// is away: 0.0 events/s, the last 10 s ago")


def test_queues_and_workers_are_shown_as_they_are_told() -> None:
    """With the names as they are, not as metrics have them."""
    patient, worker, now = Patient(), Process("w1@web.1"), time.time()
    assert (UNWELL, {"queues": {}, "age_s": None}) == patient.health.queues()
    glass = Glass()
    glass.shown = Sight((QueueFacts("mails.eu", 100, consumers=2),), 0.0)
    patient.health.lookout = Lookout(Survey(glass, list, Log(stream=io.StringIO())), None)
    patient.health.lookout.survey.look()
    status, told = patient.health.queues()
    assert OK == status
    expected = {"length": 100, "consumers": 2, "level": 1, "unconsumed": 0}
    assert {"mails.eu": {**expected, "safe_to_scale_down": 0}} == told["queues"]
    patient.chronicle.feed([body(worker.beat(now, 7, active=2))], now)
    (found,) = patient.health.workers()[1]["workers"].items()
    assert "w1@web.1" == found[0]
    assert {"state": "up", "up": 1.0, "active": 2, "processed": 7}.items() <= found[1].items()


def test_the_status_is_the_ledger_and_the_balance() -> None:
    """And what each sink has done."""
    patient, now = Patient(), time.time()
    patient.chronicle.feed([body(Process().received("t", now)), b"rubbish"], now)
    status, told = patient.health.status()
    assert OK == status
    assert (2, 1, {"not_json": 1}) == tuple(
        told["ledger"][name] for name in ("events", "counted", "bad")
    )
    assert (1, 0) == (told["balance"]["reserved"], told["balance"]["difference"])
    assert {"down": False, "waiting": 0}.items() <= told["sinks"]["memory://"].items()
    pages = {"/findings", "/healthz", "/livez", "/queues", "/status", "/workers"}
    assert pages == set(patient.health.pages)


def test_what_is_wrong_is_shown_with_its_cure() -> None:
    """As far as somebody has looked."""
    patient = Patient()
    assert (UNWELL, {"findings": [], "age_s": None}) == patient.health.findings()
    glass = Glass()
    glass.shown = Sight((QueueFacts("mails.eu", 100, consumers=0),), 0.0)
    patient.health.lookout = Lookout(Survey(glass, list, Log(stream=io.StringIO())), None)
    patient.health.lookout.survey.look()
    status, told = patient.health.findings()
    assert OK == status
    assert [("unconsumed", "mails.eu")] == [(f["kind"], f["entity"]) for f in told["findings"]]
    assert told["findings"][0]["cure"]
