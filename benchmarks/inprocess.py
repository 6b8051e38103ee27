"""What the in-process mode costs a task that does nothing, in microseconds of CPU.

    python -m benchmarks.inprocess

`send` is `apply_async` to a broker in memory, `receive` the signal of a worker's receipt, `run`
Celery's own tracer around an empty body. Each is measured without and with `instrument`, in turn;
`caller` is what the thread pays that does the work, `process` what the thread that adds up and
sends pays besides. Told is the median of `--rounds` differences; a round counts only when all of
its tasks were told.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from celery import Celery, signals
from celery.app.trace import build_tracer

from celery_statsd import instrument
from celery_statsd.sinks.memory import MemorySink

app = Celery("bench", broker="memory://", set_as_current=False)


@app.task(name="shop.pay", shared=False, ignore_result=True)
def pay() -> None:
    """Does nothing."""


class Request:
    """As much of a worker's request as a receipt needs."""

    name, hostname = "shop.pay", "w1@web1"

    def __init__(self) -> None:
        self.id = str(uuid4())
        self.request_dict: dict[str, Any] = {"celery_statsd": [time.time(), "celery"]}


def send(tasks: int) -> None:
    """Send so many to a broker in memory, and have it forget them."""
    with app.producer_pool.acquire(block=True) as producer:
        for _ in range(tasks):
            pay.apply_async(producer=producer)
        producer.channel.queue_purge("celery")


def receive(tasks: int) -> None:
    """Tell of so many receipts."""
    tell = signals.task_received.send
    for request in [Request() for _ in range(tasks)]:
        tell(sender=app, request=request)


def run(tasks: int) -> None:
    """Have Celery run so many."""
    tracer = build_tracer(pay.name, pay, app=app)
    for _ in range(tasks):
        request = {
            "id": "u", "hostname": "w1@web1", "delivery_info": {},
            "celery_statsd": [time.time(), "celery", time.time()],
        }  # fmt: skip
        tracer("u", (), {}, request)


WORKS: dict[str, tuple[Callable[[int], None], str]] = {
    "send": (send, "sent"),
    "receive": (receive, "received"),
    "run": (run, "succeeded"),
}
"""Each work, and what is told of it."""


@contextmanager
def instrumented(metric: str, tasks: int) -> Iterator[None]:
    """As a worker is, told by the second. Raises AssertionError when not all is told."""
    sink = MemorySink()
    found = instrument(app, sink, flush_interval=1.0)
    try:
        yield
    finally:
        found.remove()
    told = sink.counter("task", "shop.pay", metric)
    assert told == tasks, f"{told} of {tasks} were told"


def cost(work: Callable[[int], None], tasks: int) -> tuple[float, float]:
    """Microseconds of CPU a task: of this thread, and of the process."""
    thread, process = time.thread_time(), time.process_time()
    work(tasks)
    used = time.thread_time() - thread, time.process_time() - process
    return used[0] / tasks * 1e6, used[1] / tasks * 1e6


def measured(name: str, tasks: int) -> tuple[float, float, float]:
    """One round: what the work costs, and what it costs more with `instrument` (see above)."""
    work, metric = WORKS[name]
    bare, bare_process = cost(work, tasks)
    with instrumented(metric, tasks):
        thread, process = time.thread_time(), time.process_time()
        work(tasks)
        mine = (time.thread_time() - thread) / tasks * 1e6
    # The last adding up, after the work, is the process's too.
    whole = (time.process_time() - process) / tasks * 1e6
    return bare, mine - bare, whole - bare_process


def main() -> int:
    """Measure, and tell."""
    parser = argparse.ArgumentParser(prog="benchmarks.inprocess", description=__doc__)
    parser.add_argument("--tasks", type=int, default=20_000, help="of each round (20000)")
    parser.add_argument("--rounds", type=int, default=7, help="of which the median is told (7)")
    asked = parser.parse_args()
    print(f"{'us/task':10}{'bare':>10}{'caller +':>10}{'process +':>10}")
    for name in WORKS:
        WORKS[name][0](1000)
        rounds = [measured(name, asked.tasks) for _ in range(asked.rounds)]
        told = "".join(f"{statistics.median(column):10.2f}" for column in zip(*rounds, strict=True))
        print(f"{name:10}{told}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
