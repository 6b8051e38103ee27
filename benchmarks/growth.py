"""Growth curves: what an event costs, and what memory, as attempts, series and workers grow.

    python -m benchmarks.growth [--events N] [--most N]

Each point is measured in a process of its own, and another one makes its stream. First the tables
are filled (as many tasks as the point says start and stay), then the stream goes on in that state,
starts and ends anywhere among those that run, and that is measured: `us` is `Pipeline.feed`, the
median of five parts; `tick` and `flush` are the longest seen, for which the listener stands still:
`flush` of those without news, of one after all that, and of what is done ahead of it.
"""

import argparse
import gc
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import islice
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.load import Message, Plan, Stream
from celery_statsd.metric import Batch
from celery_statsd.pipeline import Pipeline
from celery_statsd.vitals import resident_bytes

PARTS = 5

TICK_EVENTS = 20_000
"""Events between two ticks while the tables are filled."""

RATE_OF_A_WORKER = 100.0
"""Events a second of each worker, so that heartbeats are the same share whatever their number."""

BUSY = 125
"""Tasks that run where it is not they that grow."""

SERIES_OF_A_NAME = 22
"""Of each task name: its counters, gauges and timers."""

LOOKS = 40
"""How often the agent looks at its source in the second before a flush, and then eases it."""

CURVES: Mapping[str, Sequence[int]] = {
    "attempts": (10_000, 100_000, 1_000_000),
    "waiting": (10_000, 100_000, 1_000_000),
    "series": (10, 1000, 100_000),
    "workers": (1, 50, 500),
}
"""What grows, and how far: attempts that run, or that wait in their queues. Series grow by task
names; some hundred stand beside them."""

_IN_FLIGHT = ("attempts", "waiting")

_CHUNK = 500  # messages that are handed over at once


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement: CPU in us and ms, memory in bytes an attempt and MB of the process."""

    curve: str
    size: int
    attempts: int
    series: int
    us: float
    tick_ms: float
    flush_ms: float
    bytes_of_attempt: float
    resident_mb: float


def plan_of(curve: str, size: int, events: int) -> Plan:
    """The stream of a point: more than `events` of it come after what fills the tables."""
    running = size if curve == "attempts" else BUSY
    workers = size if curve == "workers" else 20
    names = max(1, size // SERIES_OF_A_NAME) if curve == "series" else 50
    rate = RATE_OF_A_WORKER * workers
    plan = Plan("mixed", 0, names, workers, 8, running, rate=rate, settle=False)
    plan = replace(plan, waiting=size if curve == "waiting" else 0)
    return replace(plan, events=_filling(plan) + 2 * events + 10 * _CHUNK)


def _filling(plan: Plan) -> int:
    """Events until all tables are as full as they will be."""
    return 4 * plan.running + plan.waiting + 40 * plan.tasks + 60 * plan.workers


def measure(curve: str, size: int, events: int) -> Point:
    """The point, in this process."""
    plan = plan_of(curve, size, events)
    with _Mouth(plan) as mouth:
        return _measured(curve, size, plan, mouth, events)


def _measured(curve: str, size: int, plan: Plan, mouth: "_Mouth", events: int) -> Point:
    most = 2 * (plan.running + plan.waiting) + 10_000
    pipeline = Pipeline(max_attempts=most, max_series=10**6)
    gc.collect()
    before = resident_bytes()
    now = _fill(pipeline, mouth, _filling(plan))
    grown = resident_bytes() - before
    gauges = {(row.family, row.metric): value for row, value in pipeline.flush(now).gauges}
    attempts = int(gauges["agent", "attempts"])
    flushes = [_cpu_ms(partial(pipeline.flush, now)) for _ in range(3)]
    parts, ticks = _go_on(pipeline, mouth, events)
    flushes += [_cpu_ms(pipeline.ease) for _ in range(LOOKS)]
    batches: list[Batch] = []
    flushes.append(_cpu_ms(lambda: batches.append(pipeline.flush(now))))
    (batch,) = batches
    series = len(batch.counters) + len(batch.gauges) + len(batch.timers)
    return Point(
        curve, size, attempts, series, statistics.median(parts), max(ticks), max(flushes),
        grown / attempts, resident_bytes() / 1e6,
    )  # fmt: skip


def _fill(pipeline: Pipeline, mouth: "_Mouth", events: int) -> float:
    """Feed about `events`; the time of the last one."""
    ticked, now = 0, mouth.plan.begin
    pipeline.begin(now)
    while mouth.events < events:
        for message in mouth.chunk():
            now = message.at
            pipeline.feed(message.body, now)
        if mouth.events - ticked >= TICK_EVENTS:
            pipeline.tick(now)
            ticked = mouth.events
    return now


def _go_on(pipeline: Pipeline, mouth: "_Mouth", events: int) -> tuple[list[float], list[float]]:
    """Feed `events` more: the us an event of each part, the ms of the tick after it."""
    parts: list[float] = []
    ticks: list[float] = []
    for _ in range(PARTS):
        part = list(mouth.part(events // PARTS))
        number = sum(message.events for message in part)
        parts.append(_cpu_ms(partial(_feed, pipeline, part)) * 1000 / number)
        ticks.append(_cpu_ms(partial(pipeline.tick, part[-1].at)))
    return parts, ticks


def _feed(pipeline: Pipeline, messages: Sequence[Message]) -> None:
    for message in messages:
        pipeline.feed(message.body, message.at)


def _cpu_ms(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return (time.process_time() - began) * 1000


class _Mouth:
    """A process that makes the stream of `plan`, so that its memory is not ours."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.events = 0
        spawn = get_context("spawn")
        self._ear, theirs = spawn.Pipe(duplex=False)
        self._process = spawn.Process(target=_say, args=(plan, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def chunk(self) -> list[Message]:
        """The next messages; at the end, EOFError."""
        messages: list[Message] = self._ear.recv()
        self.events += sum(message.events for message in messages)
        return messages

    def part(self, events: int) -> Iterator[Message]:
        """About the next `events`."""
        until = self.events + events
        while self.events < until:
            yield from self.chunk()

    def __enter__(self) -> "_Mouth":
        return self

    def __exit__(self, *_: object) -> None:
        self._ear.close()
        self._process.kill()
        self._process.join()


def _say(plan: Plan, ear: Connection) -> None:
    messages = Stream(plan).messages()
    with suppress(BrokenPipeError):  # nobody wants to hear the rest
        while chunk := list(islice(messages, _CHUNK)):
            ear.send(chunk)


def point(curve: str, size: int, events: int) -> Point:
    """The point, in a process of its own. Raises CalledProcessError."""
    command = [
        *(sys.executable, "-m", "benchmarks.growth", "--events", str(events)),
        *("--point", curve, str(size)),
    ]
    where = Path(__file__).resolve().parent.parent
    told = subprocess.run(command, cwd=where, check=True, stdout=subprocess.PIPE, text=True).stdout
    return Point(**json.loads(told))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="benchmarks.growth", description=__doc__)
    parser.add_argument("--events", type=int, default=100_000, help="measured (100000)")
    parser.add_argument("--most", type=int, default=10**6, help="no attempts past this (1000000)")
    parser.add_argument("--point", nargs=2, metavar=("CURVE", "SIZE"), help="one, told as JSON")
    asked = parser.parse_args()
    if asked.point:
        curve, size = asked.point
        print(json.dumps(asdict(measure(curve, int(size), asked.events))))
        return
    print(
        f"{'':20}{'us/event':>10}{'tick ms':>10}{'flush ms':>10}{'attempts':>10}{'series':>9}"
        f"{'B/attempt':>11}{'RSS MB':>8}"
    )
    for curve, size in points(asked.most):
        found = point(curve, size, asked.events)
        print(
            f"{curve:10}{size:10}{found.us:10.2f}{found.tick_ms:10.2f}{found.flush_ms:10.2f}"
            f"{found.attempts:10}{found.series:9}{_bytes(found):>11}{found.resident_mb:8.0f}",
            flush=True,
        )


def _bytes(found: Point) -> str:
    """Only where attempts grow are they what the memory is used for."""
    return f"{found.bytes_of_attempt:.0f}" if found.curve in _IN_FLIGHT else "-"


def points(most: int) -> Iterator[tuple[str, int]]:
    """Each curve and size, up to `most` attempts."""
    for curve, sizes in CURVES.items():
        yield from ((curve, size) for size in sizes if curve not in _IN_FLIGHT or size <= most)


if __name__ == "__main__":
    main()
