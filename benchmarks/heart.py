"""The quick loop: the pipeline alone, in this process, in microseconds of CPU an event.

    python -m benchmarks.heart                  every shape: decoding alone, feeding, all of it
    python -m benchmarks.heart --instructions   the same counted in instructions, by valgrind

`decode` is `celery_statsd.events.decode` alone, `feed` is `Pipeline.feed` (decoding included),
`all` adds a tick each second and a flush each ten of the stream's time. Each figure is the median
of `--rounds`, and counts only when the totals of all flushes are those of the load's manifest.
Instructions hardly vary from run to run, however busy the machine is.
"""

import argparse
import gc
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from benchmarks.load import SHAPES, Load, Message, Plan, load
from celery_statsd.events import decode
from celery_statsd.metric import Batch
from celery_statsd.pipeline import Pipeline

TICK, FLUSH = 1.0, 10.0
"""Seconds of the stream between two ticks and between two flushes."""

LAG = 0.005
"""Seconds from the publishing of a message to its arrival."""

TOGETHER = 100
"""Messages that come together, as they do to an agent that has something to do."""

INSTRUCTED = 2000
"""Events of a run under valgrind, which is fifty times slower."""

_COLLECTED = re.compile(r"Collected : (\d+)")


@dataclass(frozen=True, slots=True)
class River:
    """What came of a stream that was fed: the pipeline as it is then, its counters' sums, and the
    milliseconds of CPU of each flush."""

    pipeline: Pipeline
    totals: Counter[tuple[str, str, str]]
    flushes: tuple[float, ...]


def decoded(messages: Iterable[Message]) -> None:
    """Decode each message."""
    for message in messages:
        decode(message.body)


def fed(messages: Iterable[Message]) -> Pipeline:
    """Feed each message; no time passes."""
    pipeline = Pipeline()
    for bodies, now in together(messages):
        pipeline.feed_all(iter(bodies), now)
    return pipeline


def together(messages: Iterable[Message]) -> Iterator[tuple[list[bytes], float]]:
    """The bodies that come together, and when."""
    waiting = iter(messages)
    while some := list(islice(waiting, TOGETHER)):
        yield [message.body for message in some], some[-1].at + LAG


def run(messages: Iterable[Message], pipeline: Pipeline) -> River:
    """Feed each message, tick and flush as the agent does."""
    totals: Counter[tuple[str, str, str]] = Counter()
    flushes: list[float] = []
    tick = flush = now = 0.0

    def drain(last: bool = False) -> None:
        began = time.process_time()
        batch = pipeline.flush(now, last)
        flushes.append((time.process_time() - began) * 1000)
        add_up(totals, batch)

    for bodies, now in together(messages):
        if not tick:
            pipeline.begin(now)
            tick, flush = now + TICK, now + FLUSH
        pipeline.feed_all(iter(bodies), now)
        if now >= tick:
            pipeline.tick(now)
            tick += TICK
        if now >= flush:
            drain()
            flush += FLUSH
    pipeline.settle(now)
    drain(last=True)
    return River(pipeline, totals, tuple(flushes))


def add_up(totals: Counter[tuple[str, str, str]], batch: Batch) -> None:
    """Add the counters of `batch` to `totals`."""
    for series, value in batch.counters:
        if value:
            totals[series.family, series.entity, series.metric] += value


def differences(river: River, expected: Load) -> list[str]:
    """Where the sums are not what the manifest says; also a ledger or a balance that is off."""
    manifest = expected.manifest
    wanted = manifest.counters() | {
        ("agent", "localhost", "events"): manifest.events,
        ("agent", "localhost", "events_counted"): manifest.events,
        ("agent", "localhost", "events_lost"): 0,
        ("cluster", "all", "found"): 0,
        ("cluster", "all", "lost"): 0,
        ("cluster", "all", "unreported"): 0,
    }
    told = [
        f"{'.'.join(key)}: {river.totals[key]}, not {value}"
        for key, value in wanted.items()
        if river.totals[key] != value
    ]
    if not river.pipeline.ledger.balanced() or river.pipeline.balance["difference"]:
        told.append("the ledger or the balance is off")
    return told


def timed(work: Callable[[], object], events: int, rounds: int) -> float:
    """Microseconds of CPU an event of `work`, the median of `rounds`."""
    took = []
    for _ in range(rounds):
        gc.collect()
        began = time.process_time()
        kept = work()  # not let go of before the clock is read
        took.append(time.process_time() - began)
        del kept
    return statistics.median(took) * 1e6 / events


WORKS: dict[str, Callable[[Load], object]] = {
    "nothing": lambda stream: None,  # noqa: ARG005
    "decode": lambda stream: decoded(stream.messages),
    "feed": lambda stream: fed(stream.messages),
    "all": lambda stream: run(stream.messages, Pipeline()),
}
"""What can be done with a load, each more than the one before."""

MEASURED = tuple(WORKS)[1:]


def instructions(shape: str, events: int) -> dict[str, float]:
    """Instructions an event of each work, by valgrind in a process of its own."""
    counted = {work: _counted(shape, events, work) for work in WORKS}
    number = load(Plan(shape, events)).manifest.events
    return {work: (counted[work] - counted["nothing"]) / number for work in WORKS}


def _counted(shape: str, events: int, work: str) -> int:
    with tempfile.NamedTemporaryFile() as out:
        command = [
            *("valgrind", "--tool=callgrind", f"--callgrind-out-file={out.name}"),
            *(sys.executable, "-m", "benchmarks.heart", "--only", work),
            *("--shape", shape, "--events", str(events)),
        ]
        env = {**os.environ, "PYTHONHASHSEED": "0"}
        where = Path(__file__).resolve().parent.parent
        ran = subprocess.run(
            command, check=False, env=env, cwd=where, capture_output=True, text=True
        )
    found = _COLLECTED.search(ran.stderr)
    if ran.returncode or not found:
        raise SystemExit(f"valgrind: {ran.stderr[-2000:]}")
    return int(found[1])


def main() -> int:
    """The command line; 1 when the totals of a shape are wrong."""
    asked = _arguments()
    shapes = [asked.shape] if asked.shape else list(SHAPES)
    if asked.only:
        WORKS[asked.only](load(Plan(shapes[0], asked.events)))
        return 0
    if asked.instructions:
        return _tell_instructions(shapes, min(asked.events, INSTRUCTED))
    return _tell_times(shapes, asked.events, asked.rounds)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.heart", description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, help="one shape only")
    parser.add_argument("--events", type=int, default=50_000, help="of each load (50000)")
    parser.add_argument("--rounds", type=int, default=5, help="of which the median is told (5)")
    parser.add_argument("--instructions", action="store_true", help="count them, by valgrind")
    parser.add_argument("--only", choices=WORKS, help="one work, once, told nothing of")
    return parser.parse_args()


def _tell_times(shapes: list[str], events: int, rounds: int) -> int:
    print(f"{'us/event':10}{_heads(9)}{'flush ms':>10}{'events/message':>16}")
    failed = 0
    for shape in shapes:
        stream = load(Plan(shape, events))
        number, messages = stream.manifest.events, stream.manifest.messages
        river = run(stream.messages, Pipeline())
        wrong = differences(river, stream)
        failed |= bool(wrong)
        took = [timed(partial(WORKS[work], stream), number, rounds) for work in MEASURED]
        told = "".join(f"{us:9.2f}" for us in took)
        flush = statistics.median(river.flushes)
        print(f"{shape:10}{told}{flush:10.2f}{number / messages:16.2f}")
        for difference in wrong:
            print(f"  WRONG {difference}")
    return failed


def _tell_instructions(shapes: list[str], events: int) -> int:
    print(f"{'instructions/event':20}{_heads(10)}")
    for shape in shapes:
        counted = instructions(shape, events)
        told = "".join(f"{counted[work]:10.0f}" for work in MEASURED)
        print(f"{shape:20}{told}")
    return 0


def _heads(width: int) -> str:
    return "".join(f"{work:>{width}}" for work in MEASURED)


if __name__ == "__main__":
    sys.exit(main())
