"""The agent: it listens whatever the sinks do, flushes on the beat, and ends in order."""

import io
import itertools
import json
import os
import re
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celery_statsd.agent import Agent, beat_after
from celery_statsd.config import load
from celery_statsd.errors import BrokerLost
from celery_statsd.events import Received
from celery_statsd.intake import refusal_of
from celery_statsd.life import Life
from celery_statsd.log import Log
from celery_statsd.metric import Batch, Kind, Series, Timing
from celery_statsd.passages import Passages
from celery_statsd.pipeline import Pipeline
from celery_statsd.sinks import sink_from
from celery_statsd.sinks.base import Sink
from celery_statsd.sinks.memory import MemorySink
from celery_statsd.source.base import Facts, Message, Source
from celery_statsd.vitals import resident_bytes
from tests.bodies import NOON, Process, body
from tests.servers.agent import Agent as AgentProcess
from tests.servers.manager import Manager
from tests.servers.process import Child, free_port, wait_until
from tests.servers.redis import Redis
from tests.source.stream import send

INTERVAL = 0.2
"""Seconds between the flushes of these agents."""

OFTEN = ("--flush-interval", str(INTERVAL))

ordinals = itertools.count(1)


class Stream(Source):
    """Gives what the test hands it, `most` messages a read, while its broker is up."""

    place = "stream://"

    def __init__(self, log: Log, most: int = 10) -> None:
        super().__init__(log)
        self.waiting: deque[Message] = deque()
        self.up = True
        self.left = self.endless = False
        self._most = most

    def ack(self) -> None:
        """Nothing to do."""

    def _open(self) -> None:
        if not self.up:
            raise BrokerLost("nobody listens there")

    def _read(self, timeout: float) -> Sequence[Message]:
        deadline = time.monotonic() + timeout
        while self.up and not self.waiting and time.monotonic() < deadline:
            time.sleep(0.01)
        if not self.up:
            raise BrokerLost("the connection broke")
        if self.endless:
            self.waiting.append(message(event()))
        return [self.waiting.popleft() for _ in range(min(self._most, len(self.waiting)))]

    def _drop(self) -> None:
        """Nothing is open."""

    def _leave(self) -> None:
        self.left = True


class Stage:
    """An agent on a stream, running in a thread of its own, and what it logs."""

    def __init__(
        self,
        sinks: Iterable[Sink],
        most: int = 10,
        pipeline: Pipeline | None = None,
        make: type[Stream] | None = None,
    ) -> None:
        self._logged = io.StringIO()
        log = Log("debug", stream=self._logged)
        self.stream = (make or Stream)(log, most)
        self.pipeline = pipeline or Pipeline(host="me")
        self.error: BaseException | None = None
        self._agent = Agent(
            self.stream, lambda: self.pipeline, [*sinks], log, host="me", flush_interval=INTERVAL
        )
        self._thread = threading.Thread(target=self._run, name="agent under test")

    def __enter__(self) -> "Stage":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> float:
        """Stop the agent; the seconds it took."""
        began = time.monotonic()
        self._agent.stop()
        self._thread.join(20)
        assert not self._thread.is_alive(), "the agent does not stop"
        return time.monotonic() - began

    def give(self, *bodies: Any, kind: str = "application/json", encoding: str = "utf-8") -> None:
        """Publish bodies of the content type `kind`."""
        self.stream.waiting.extend(message(body, kind, encoding) for body in bodies)

    def logged(self, event: str) -> list[str]:
        """The log's lines about one event."""
        return [line for line in self._logged.getvalue().splitlines() if f" {event} " in line]

    def ended(self) -> bool:
        """Whether the agent has ended by itself."""
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._agent.run()
        except Exception as error:
            self.error = error


class Gated(MemorySink):
    """A sink that hangs while its gate is shut."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.closed = False

    def send(self, batch: Batch) -> None:
        """Wait for the gate, then keep `batch`."""
        self.gate.wait()
        super().send(batch)

    def close(self) -> None:
        """Remember it."""
        self.closed = True


class Faulty(MemorySink):
    """A sink with a fault: it raises what no sink may, whenever `faults` has something left."""

    def __init__(self, *faults: Exception) -> None:
        super().__init__()
        self.faults = list(faults)

    def send(self, batch: Batch) -> None:
        """Raise the next fault, or keep `batch`."""
        if self.faults:
            raise self.faults.pop(0)
        super().send(batch)


def message(body: Any, kind: str = "application/json", encoding: str = "utf-8") -> Message:
    """A message as a broker has it."""
    wire = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Message(wire, Facts(kind, encoding, "w@h"), "task.multi")


def event(kind: str = "task-received", **fields: Any) -> dict[str, Any]:
    """An event of a worker, new each time."""
    number = next(ordinals)
    made = {"type": kind, "hostname": "w@h", "pid": 7, "clock": number, "timestamp": time.time()}
    return {**made, "uuid": f"u{number}", "name": "shop.pay", **fields}


def beat(hostname: str, freq: float = 0.1) -> dict[str, Any]:
    """A heartbeat of a worker."""
    facts = {"freq": freq, "active": 0, "processed": 0, "loadavg": [0, 0, 0]}
    return event("worker-heartbeat", hostname=hostname, **facts)


def batch(counters: int = 1) -> Batch:
    """A batch of some counters, a gauge and a timer."""
    series = [Series("task", "t", f"m{n}", Kind.COUNTER, f"c.t{n}") for n in range(counters + 2)]
    timing = Timing(1, 5.0, 5.0, 5.0, (5.0,))
    return Batch(
        time.time(),
        1.0,
        tuple((one, 1) for one in series[:counters]),
        ((series[-2], 2.0),),
        ((series[-1], timing),),
    )


@contextmanager
def unanswering() -> Iterator[int]:
    """A port where connecting never ends: its listener's queue is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(2):
            caller = stack.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def own_threads() -> list[str]:
    """The names of the threads that agents of this process run."""
    return [t.name for t in threading.enumerate() if t.name.startswith(("outlet", "flush"))]


# --- sinks that are sick ---------------------------------------------------------------------


def test_a_hanging_sink_delays_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """While one sink waits for a peer that never answers, events are taken in and another sink
    has every flush in time; the stop gives up on it after its limit and says so."""
    monkeypatch.setattr("celery_statsd.agent.FAREWELL", 0.5)
    healthy = MemorySink()
    with unanswering() as port:
        hanging = sink_from(f"statsd+tcp://127.0.0.1:{port}?timeout=60")
        with Stage([hanging, healthy]) as stage:
            for size in range(1, 6):
                stage.give(event())
                wait_until(lambda n=size: len(healthy.batches) >= n, 3, "another flush")
            took = stage.stop()

    assert 5 == healthy.counter("cluster", "all", "received")
    assert 0.5 < took < 2
    assert 1 == len(stage.logged("sink_abandoned"))
    assert stage.stream.left


def test_what_the_mailbox_gave_up_is_among_the_dropped() -> None:
    """The agent's own `sink_dropped` has the values no sink was ever asked to send."""
    sink, faulty = MemorySink(), Faulty(ZeroDivisionError())
    with Stage([sink, faulty]):
        wait_until(lambda: sink.counter("agent", "me", "sink_dropped"), 5, "counted")

    first = sink.batches[0]
    values = len(first.counters) + len(first.gauges) + len(first.timers)
    assert values == sink.counter("agent", "me", "sink_dropped")
    assert 1 == sink.counter("agent", "me", "sink_errors")


def test_a_sink_that_is_down_is_told_once_and_once_when_it_is_back() -> None:
    """A StatsD nobody listens for: one warning whatever many flushes fail, one line when it is
    there again, and by then every count has arrived."""
    port = free_port()
    sink = sink_from(f"statsd://127.0.0.1:{port}")
    with Stage([sink]) as stage:
        stage.give(event(), event())
        wait_until(lambda: sink.tally.errors >= 3, 5, "some flushes have failed")
        with socket.socket(type=socket.SOCK_DGRAM) as statsd:
            statsd.bind(("127.0.0.1", port))
            statsd.settimeout(0.2)
            wait_until(lambda: stage.logged("sink_back"), 5, "it is back")
            stage.stop()
            text = received(statsd)

    down = stage.logged("sink_down")
    assert 1 == len(down)
    assert f"sink=statsd://127.0.0.1:{port} " in down[0]
    assert 1 == len(stage.logged("sink_back"))
    assert 2 == sum(counts(text, "cluster.all.received.all"))


def received(statsd: socket.socket) -> str:
    """All lines that wait in a socket."""
    lines = []
    try:
        while True:
            lines.append(statsd.recv(65536).decode())
    except TimeoutError:
        return "\n".join(lines)


def counts(text: str, name: str) -> list[int]:
    """The values of one counter in a StatsD's lines."""
    return [int(n) for n in re.findall(rf"celery\.\w+\.{re.escape(name)}:(\d+)\|c", text)]


def test_a_fault_in_a_sink_costs_a_batch_and_no_more() -> None:
    """What no sink may raise is counted, told with its place, and the next flush is sent."""
    sink = Faulty(ZeroDivisionError("boom"), KeyError("x"), MemoryError())
    with Stage([sink]) as stage:
        wait_until(lambda: len(sink.batches) >= 2, 5, "it sends again")

    assert 3 == sink.tally.errors
    told = stage.logged("sink_down")
    assert 1 == len(told)
    assert told[0].startswith("error ")
    assert re.search(r"ZeroDivisionError\('boom'\) at test_agent.py:\d+", told[0])
    assert 1 == len(stage.logged("sink_back"))


def test_a_fault_at_closing_a_sink_is_told() -> None:
    """Nothing a sink does at the end keeps the agent from ending."""

    class Stuck(MemorySink):
        def close(self) -> None:
            raise RuntimeError("cannot let go")

    with Stage([Stuck(), MemorySink()]) as stage:
        pass

    assert stage.error is None
    assert "cannot let go" in stage.logged("sink_down")[0]
    assert [] == own_threads()


# --- the beat --------------------------------------------------------------------------------


@given(st.floats(0, 4e9), st.floats(0.1, 86_400))
def test_beat_after_is_the_next_multiple(now: float, interval: float) -> None:
    """It is later than now, by an interval at most, and a multiple; one beat's next is another."""
    found = beat_after(now, interval)

    assert now < found <= now + interval * 1.001 + 1e-5
    assert abs(found / interval - round(found / interval)) < 1e-5
    assert beat_after(found, interval) > found + interval / 2


def test_flushes_fall_on_the_beat_once_each() -> None:
    """Each flush comes with a multiple of the interval, none comes twice; the first one is a
    whole interval after the start."""
    sink, began = MemorySink(), time.time()
    with Stage([sink]):
        wait_until(lambda: len(sink.batches) >= 8, 10, "eight flushes")

    *flushes, last = sink.batches
    beats = [int(one.time / INTERVAL + 1e-6) for one in flushes]
    assert beats == sorted(set(beats))
    assert beats[0] > (began + INTERVAL) / INTERVAL
    late = sorted(one.time - n * INTERVAL for one, n in zip(flushes, beats, strict=True))
    assert late[len(late) // 2] < INTERVAL / 4
    assert last.time == pytest.approx(round(last.time / INTERVAL) * INTERVAL)


def test_the_farewell_has_a_beat_of_its_own() -> None:
    """What keeps one value for each beat (Graphite) does not lose the last flush to the farewell,
    nor the farewell to the first flush of an agent that follows at once."""
    ending, next_one = MemorySink(), MemorySink()
    with Stage([ending]):
        wait_until(lambda: len(ending.batches) >= 2, 5, "two flushes")
    with Stage([next_one]):
        wait_until(lambda: next_one.batches, 5, "a flush")

    beats = [int(one.time / INTERVAL + 1e-6) for one in [*ending.batches, *next_one.batches]]
    assert beats == sorted(set(beats))


def test_the_agent_tells_of_itself() -> None:
    """Its vitals: a tick a flush, memory, processor time, age, and the broker's state."""
    sink = MemorySink()
    with Stage([sink]):
        wait_until(lambda: len(sink.batches) >= 3, 5, "three flushes")
        alive = sink.batches[2]

    gauges = {(s.family, s.metric): value for s, value in alive.gauges}
    assert len(sink.batches) == sink.counter("agent", "me", "ticks")
    assert 0.5 < gauges["agent", "rss_bytes"] / resident_bytes() < 2
    assert 0 < gauges["agent", "cpu_ms"] <= time.process_time() * 1000
    assert 0 < gauges["agent", "uptime_s"] < 10
    assert 1 == gauges["broker", "up"]
    assert sink.timer("agent", "me", "flush") is not None


# --- the end ---------------------------------------------------------------------------------


def test_what_is_at_hand_at_the_stop_is_counted() -> None:
    """Messages the broker has already handed over are taken in; the gauges end at 0, the sinks
    are closed, the broker is left, and no thread stays."""
    sink = Gated()
    sink.gate.set()
    with Stage([sink], most=1) as stage:
        wait_until(lambda: stage.stream.connected, 5, "listening")
        stage.give(*(event() for _ in range(500)))
        took = stage.stop()

    assert 500 == sink.counter("cluster", "all", "received")
    assert {0.0} == {value for _, value in sink.batches[-1].gauges}
    assert 0 == sink.gauge("cluster", "all", "reserved")
    assert (True, True) == (sink.closed, stage.stream.left)
    assert [] == own_threads()
    assert took < 3
    assert 1 == len(stage.logged("agent_stopped"))


class Watched(threading.Event):
    """An event that remembers which threads have waited for it."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: set[str] = set()

    def wait(self, timeout: float | None = None) -> bool:
        self.waiting.add(threading.current_thread().name)
        return super().wait(timeout)


def test_who_answers_signals_holds_no_lock_they_need() -> None:
    """A signal sets the event that ends the agent, in the thread that listens. If that thread were
    waiting for it just then, it would wait for ever: one SIGTERM, on a busy machine, did that."""
    stage = Stage([MemorySink()])
    stage._agent._stopping = event_of_the_end = Watched()
    with stage:
        for _ in range(5):
            before = stage.pipeline.ledger.events
            stage.stream.waiting.append(message(event()))
            wait_until(lambda was=before: stage.pipeline.ledger.events > was, 10, "it is taken in")
    assert {"flush"} == event_of_the_end.waiting


def test_an_endless_stream_does_not_keep_it_from_stopping(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that always has one message more is listened to for a limited time."""
    monkeypatch.setattr("celery_statsd.agent.LAST_WORDS", 0.6)
    sink = MemorySink()
    with Stage([sink], most=1) as stage:
        stage.stream.endless = True
        wait_until(lambda: sink.counter("cluster", "all", "received"), 5, "events flow")
        took = stage.stop()

    assert 0.6 < took < 2


def test_a_fault_while_flushing_ends_the_agent() -> None:
    """An agent that cannot flush does not live on in silence: `run` raises the fault."""

    class Broken(Pipeline):
        def flush(self, now: float, last: bool = False) -> Batch:
            raise ArithmeticError(f"cannot add at {now}, last: {last}")

    sink = Gated()
    sink.gate.set()
    with Stage([sink], pipeline=Broken(host="me")) as stage:
        wait_until(stage.ended, 5, "it ends by itself")

    assert isinstance(stage.error, ArithmeticError)
    assert (True, True) == (sink.closed, stage.stream.left)


def test_a_fault_while_listening_says_farewell_first() -> None:
    """A fault in the source ends the agent, but what was counted is sent and gauges are closed."""
    sink = MemorySink()
    with Stage([sink]) as stage:
        stage.give(event())
        wait_until(lambda: sink.gauge("cluster", "all", "reserved") == 1, 5, "a flush")
        stage.give(event())
        stage.stream.waiting.append(None)  # type: ignore[arg-type]
        wait_until(stage.ended, 5, "it ends by itself")

    assert isinstance(stage.error, AttributeError)
    assert 0 == sink.gauge("cluster", "all", "reserved")
    assert 2 == sink.counter("cluster", "all", "received")


# --- what comes in ---------------------------------------------------------------------------

REFUSED = [
    ("application/x-python-serialize", "content_type"),
    ("application/x-yaml", "content_type"),
    ("application/x-msgpack", "content_type"),
    ("application/data", "content_type"),
    ("text/plain", "content_type"),
]


@pytest.mark.parametrize("content_type", [kind for kind, _ in REFUSED])
def test_only_json_is_tried(content_type: str) -> None:
    """Any other content type is refused by its name, before anything looks at the body."""
    assert "content_type" == refusal_of(Facts(content_type, "utf-8"))


@pytest.mark.parametrize(
    "content_type", ["application/json", "", "Application/JSON; charset=utf-8"]
)
@pytest.mark.parametrize("encoding", ["utf-8", "UTF-8", "us-ascii", "binary", ""])
def test_json_in_any_spelling_is_taken(content_type: str, encoding: str) -> None:
    """JSON says what it is in several ways, or not at all."""
    assert "" == refusal_of(Facts(content_type, encoding))


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1", "base64", "gzip"])
def test_foreign_encodings_are_refused(encoding: str) -> None:
    """What JSON is never written in is not guessed at."""
    assert "content_encoding" == refusal_of(Facts("application/json", encoding))


def test_refused_messages_are_counted_by_reason_and_told_once() -> None:
    """Each is one bad event in the ledger; the log names the first and the cure."""
    sink = MemorySink()
    with Stage([sink]) as stage:
        wait_until(lambda: stage.stream.connected, 5, "listening")
        stage.give(b"\x80\x04.", b"\x80\x04.", kind="application/x-python-serialize")
        stage.give(event(), encoding="utf-16")
        stage.give(event())
        wait_until(lambda: sink.counter("cluster", "all", "received"), 5, "the good one")

    assert {"content_type": 2, "content_encoding": 1} == dict(stage.pipeline.ledger.bad)
    assert 3 == sink.counter("agent", "me", "events_bad")
    assert stage.pipeline.ledger.balanced()
    assert [
        "warning message_refused cure=\"set event_serializer to 'json'\" "
        "error=\"content_type 'application/x-python-serialize'\" failures=1 for_s=0.0"
    ] == stage.logged("message_refused")


def test_a_fault_in_feeding_costs_one_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """What must not happen is counted as one bad event, told, and the next one is taken in."""
    received = Passages.received

    def fragile(self: Passages, event: Received, life: Life, now: float) -> bool:
        if event.name == "poison":
            raise ZeroDivisionError
        return received(self, event, life, now)

    monkeypatch.setattr(Passages, "received", fragile)
    sink = MemorySink()
    with Stage([sink], pipeline=Pipeline(host="me")) as stage:
        stage.give(event(name="poison"), event(), event(name="poison"), event())
        wait_until(lambda: sink.counter("cluster", "all", "received") == 2, 5, "the good ones")

    assert {"fault": 2} == dict(stage.pipeline.ledger.bad)
    assert 1 == len(stage.logged("event_failed"))
    assert stage.logged("event_failed")[0].startswith("error ")
    assert stage.error is None


def test_it_eases_the_coming_flush_as_long_as_there_is_much(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without waiting for messages in between, which would take half a second each time."""
    eased: list[bool] = []

    class Much(Pipeline):
        def ease(self) -> bool:
            eased.append(len(eased) < 100)
            return eased[-1]

    monkeypatch.setattr("celery_statsd.agent.EASE", 1000.0)
    with Stage([MemorySink()], pipeline=Much(host="me")):
        wait_until(lambda: len(eased) > 100, 20, "all is eased")


# --- the broker is away ----------------------------------------------------------------------


def test_nobody_is_dead_because_the_broker_is_away() -> None:
    """A worker that falls silent is counted as offline; one we cannot hear is not, however long
    the broker stays away, and flushes go on."""
    heard, unheard = MemorySink(), MemorySink()
    with (
        Stage([heard], pipeline=Pipeline(host="me", worker_silence=1.0)) as hearing,
        Stage([unheard], pipeline=Pipeline(host="me", worker_silence=1.0)) as deaf,
    ):
        for stage, sink in ((hearing, heard), (deaf, unheard)):
            stage.give(beat("w@h"))
            wait_until(lambda sink=sink: sink.gauge("worker", "w@h", "up"), 5, "the worker is up")
        deaf.stream.up = False
        flushed = len(unheard.batches)
        enough = time.monotonic() + 1.7
        wait_until(lambda: time.monotonic() > enough, 5, "more than the patience, 1.1 s")
        ups = [sink.gauge("broker", "broker", "up") for sink in (heard, unheard)]

    assert [1, 0] == ups
    assert [1, 0] == [sink.counter("worker", "w@h", "offline") for sink in (heard, unheard)]
    assert len(unheard.batches) > flushed + 4


def test_it_outlives_the_broker() -> None:
    """Lost for a while, the broker is found again, once told and once counted, and the workers
    of before are still alive."""
    sink = MemorySink()
    with Stage([sink]) as stage:
        stage.give(beat("w@h", freq=2.0), event())
        wait_until(lambda: sink.gauge("worker", "w@h", "up") == 1, 5, "the worker is up")
        stage.stream.up = False
        wait_until(lambda: sink.gauge("broker", "broker", "up") == 0, 5, "lost")
        stage.stream.up = True
        stage.give(event())
        wait_until(lambda: sink.counter("cluster", "all", "received") == 2, 10, "it counts on")
        wait_until(lambda: sink.counter("broker", "broker", "reconnects"), 5, "counted")

    assert 1 == sink.counter("broker", "broker", "reconnects")
    assert (1, 1) == (len(stage.logged("broker_lost")), len(stage.logged("broker_back")))
    assert 0 == sink.counter("worker", "w@h", "offline")


def test_a_pause_of_ours_is_nobodys_death(tmp_path: Path, redis_server: Redis) -> None:
    """Suspended for longer than a worker's patience and woken again, the agent takes nobody for
    dead."""
    url = redis_server.fresh_url()
    with socket.socket(type=socket.SOCK_DGRAM) as statsd:
        statsd.bind(("127.0.0.1", 0))
        statsd.settimeout(5)
        sink = f"statsd://127.0.0.1:{statsd.getsockname()[1]}"
        with AgentProcess(tmp_path, url, [sink], "paused", *OFTEN) as agent:
            publish(redis_server, url, beat("w@h", freq=0.5))
            text = ""

            def flushed(name: str) -> bool:
                nonlocal text
                text += "\n" + statsd.recv(65536).decode()
                return name in text

            wait_until(lambda: flushed("worker.w_at_h.up.all:1|g"), 5, "the worker is up")
            os.kill(agent.pid, signal.SIGSTOP)
            asleep = time.monotonic() + 2.3
            wait_until(lambda: time.monotonic() > asleep, 6, "longer than the patience, 2 s")
            statsd.settimeout(0.2)
            received(statsd)
            statsd.settimeout(5)
            text = ""
            os.kill(agent.pid, signal.SIGCONT)
            wait_until(lambda: flushed("worker.w_at_h.offline.all:"), 5, "a flush")
            assert {0} == set(counts(text, "worker.w_at_h.offline.all"))


def publish(server: Redis, url: str, body: dict[str, Any]) -> None:
    """Publish an event as kombu does on Redis."""
    envelope = {
        "body": json.dumps(body),
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {"hostname": body["hostname"]},
        "properties": {"delivery_info": {"routing_key": "worker.heartbeat"}},
    }
    channel = f"/{url.rpartition('/')[2]}.celeryev/worker.heartbeat"
    words = [b"PUBLISH", channel.encode(), json.dumps(envelope).encode()]
    wire = b"*3\r\n" + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
    with socket.create_connection(("127.0.0.1", server.port), 5) as peer:
        peer.sendall(wire)
        assert b":1\r\n" == peer.recv(16), "one agent listens"


# --- the real process ------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_well(number: int, tmp_path: Path, redis_server: Redis) -> None:
    """SIGTERM and Ctrl-C: exit code 0 within 3 s, and every event published before has arrived at
    a real UDP socket, also when the signal comes twice."""
    url, began = redis_server.fresh_url(), 0.0
    with socket.socket(type=socket.SOCK_DGRAM) as statsd:
        statsd.bind(("127.0.0.1", 0))
        statsd.settimeout(0.2)
        sink = f"statsd://127.0.0.1:{statsd.getsockname()[1]}"
        with AgentProcess(tmp_path, url, [sink], "ended", "--flush-interval", "60") as agent:
            send(url, [f"u{n}" for n in range(100)])
            began = time.monotonic()
            os.kill(agent.pid, number)
            os.kill(agent.pid, number)
            code = agent.stop()
            took = time.monotonic() - began
        text = received(statsd)

    assert 0 == code, agent.output()
    assert took < 3
    assert 100 == sum(counts(text, "cluster.all.started.all"))
    assert "celery.ended.cluster.all.running.all:0|g" in text
    assert "Traceback" not in agent.output()


def test_it_starts_without_broker_and_sink_and_says_so_once(tmp_path: Path) -> None:
    """With nobody there it keeps trying, names each place and cause once, and ends on SIGTERM."""
    broker, carbon = free_port(), free_port()
    agent = AgentProcess(
        tmp_path,
        f"redis://:geheim@127.0.0.1:{broker}/0",
        [f"graphite://127.0.0.1:{carbon}"],
        "alone",
        *OFTEN,
    )
    with running(agent, lambda: "sink_down" in agent.output()):
        enough = time.monotonic() + 0.7
        wait_until(lambda: time.monotonic() > enough, 5, "more failures")
        code = agent.stop()

    lines = agent.output().splitlines()
    lost = [line for line in lines if line.startswith("warning broker_lost")]
    down = [line for line in lines if line.startswith("warning sink_down")]
    assert 0 == code
    assert (1, 1) == (len(lost), len(down))
    assert f"broker=redis://127.0.0.1:{broker}/0 " in lost[0]
    assert "refused" in lost[0]
    assert f"sink=graphite://127.0.0.1:{carbon} " in down[0]
    assert "refused" in down[0]
    assert "geheim" not in agent.output()


def test_it_finds_a_broker_that_starts_after_it(tmp_path: Path) -> None:
    """The order in which things are started does not matter."""
    with Redis(tmp_path) as server:
        server.kill()
        agent = AgentProcess(tmp_path, server.url, ["console://"], "early")
        with running(agent, lambda: "broker_lost" in agent.output()):
            server.start()
            wait_until(lambda: "broker_back" in agent.output(), 10, "it listens")
            assert 0 == agent.stop()


@contextmanager
def running(child: Child, ready: Any) -> Iterator[None]:
    """`child`, started and `ready`, and killed in the end."""
    child.start(ready)
    try:
        yield
    finally:
        child.kill()


class Sticky(Stream):
    """A stream that hangs in a read as long as it is stuck."""

    stuck = False

    def _read(self, timeout: float) -> Sequence[Message]:
        while self.stuck:
            time.sleep(0.01)
        return super()._read(timeout)


class Absent(Stream):
    """A stream whose broker is not there."""

    def _open(self) -> None:
        raise BrokerLost("nobody listens there")


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    """A service manager whose watchdog waits for 0.2 s."""
    with Manager(tmp_path / "notify") as found:
        monkeypatch.setenv("NOTIFY_SOCKET", found.address)
        monkeypatch.setenv("WATCHDOG_USEC", "200000")
        yield found


def test_the_watchdog_is_fed_by_who_listens(manager: Manager) -> None:
    """Though the broker is away; not by the flushes, which go on when the listening is stuck."""
    sink, told = MemorySink(), list[str]()

    def heard() -> list[str]:
        told.extend(line for datagram in manager.told() for line in datagram.splitlines())
        return told

    with Stage([sink], make=Sticky) as stage:
        stream = stage.stream
        assert isinstance(stream, Sticky)
        wait_until(lambda: heard().count("WATCHDOG=1") > 1, 5, "it is fed")
        assert 1 == told.count("READY=1")
        stream.up = False
        wait_until(lambda: stage.logged("broker_lost"), 5, "the broker is lost")
        told.clear()
        wait_until(lambda: heard().count("WATCHDOG=1") > 1, 5, "it is fed")
        assert "STATUS=stream:// is away: 0.0 events/s, none yet; to memory://" in told
        stream.up = stream.stuck = True
        wait_until(lambda: stream.connected, 10, "it hangs in a read")
        heard()
        told.clear()
        flushes = len(sink.batches)
        wait_until(lambda: len(sink.batches) > flushes + 4, 5, "flushes go on")
        assert [] == heard()
        stream.stuck = False
    assert ["STOPPING=1", "STATUS=says farewell"] == heard()[-2:]


def test_it_is_ready_when_it_has_found_that_the_broker_is_away(manager: Manager) -> None:
    """Whoever waits for it to start does not wait for the broker."""
    with Stage([MemorySink()], make=Absent):
        wait_until(lambda: "READY=1" in "".join(manager.told()), 5, "it is ready")


def test_settings_reach_every_part(tmp_path: Path) -> None:
    """An agent made of settings listens where they say, and names its series as they say."""
    flags = {
        "broker": ("memory://",),
        "sinks": ("memory://", "memory://"),
        "prefix": "p",
        "app": "a",
        "host": "here",
        "flush_interval": 0.1,
    }
    logged = io.StringIO()
    settings = load(flags, {}, None, dict, str(tmp_path / "none"))
    agent = Agent.of(settings, Log(stream=logged))
    thread = threading.Thread(target=agent.run)
    thread.start()
    sinks = [outlet.sink for outlet in agent._speaker.outlets]
    wait_until(lambda: all(sink.batches for sink in sinks), 5, "both have a flush")
    agent.stop()
    thread.join(10)

    paths = {series.path for sink in sinks for series, _ in sink.batches[0].counters}
    assert "p.a.agent.here.ticks.self" in paths
    assert "p.a.broker.memory.reconnects.here" in paths
    assert 'agent_started broker=memory:// sinks="memory:// memory://"' in logged.getvalue()


class Doubted(Stream):
    """A stream that notes when it is doubted."""

    def __init__(self, log: Log) -> None:
        super().__init__(log)
        self.reasons: list[str] = []

    def doubt(self, reason: str) -> None:
        """Take note."""
        self.reasons.append(reason)


def test_a_silence_is_doubted_ever_more_rarely() -> None:
    """Every ten minutes in the end; as soon as a heart beats again the patience begins anew."""
    log = Log(stream=io.StringIO())
    source, pipeline = Doubted(log), Pipeline()
    source.read(0)
    agent = Agent(source, lambda: pipeline, [], log)
    worker, times = Process(), []

    def pass_time(begin: float, end: float) -> None:
        for second in range(int(begin), int(end)):
            before = len(source.reasons)
            agent._doubt_the_silence(NOON + second)
            times.extend([second] * (len(source.reasons) - before))

    pipeline.feed(body(worker.beat(NOON, 0)), NOON)
    pass_time(0, 3000)
    assert [8, 18, 38, 78, 158, 318, 638, 1238, 1838, 2438] == times
    assert "no heartbeat of any worker for 8 s" == source.reasons[0]
    times.clear()
    pipeline.feed(body(worker.beat(NOON + 3000, 0)), NOON + 3000)
    pass_time(3000, 3030)
    assert [3008, 3018] == times


def test_a_broker_that_is_away_is_not_doubted() -> None:
    """There is nothing to leave."""
    log = Log(stream=io.StringIO())
    source, pipeline = Doubted(log), Pipeline()
    agent = Agent(source, lambda: pipeline, [], log)
    pipeline.feed(body(Process().beat(NOON, 0)), NOON)
    agent._doubt_the_silence(NOON + 100)

    assert [] == source.reasons
