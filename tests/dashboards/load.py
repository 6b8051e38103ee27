"""A client that sends a steady load of healthy work, until it is told to end.

Run as `python -m tests.dashboards.load RATE MAIL` with the workload's two variables set; RATE is in
messages sent a second, chains, groups and retries not counted; MAIL is a queue beside the
workload's own two.
"""

import itertools
import signal
import sys
import threading
import time
from collections.abc import Iterator

from celery import Signature, chain, group

from tests.servers import workload as tasks


def healthy(mail: str) -> tuple[Signature, ...]:
    """What is sent in turn: quick and slow, with retries and ETAs, all of it ending well."""
    return (
        tasks.create.si(0.0),
        tasks.create.si(0.01).set(queue=mail),
        tasks.create.si(0.05),
        tasks.create.si(0.02).set(queue=tasks.FORK),
        tasks.create.si(0.0),
        tasks.send.si(1),
        tasks.create.si(0.1),
        tasks.report.si().set(countdown=0.3),
        tasks.create.si(0.0).set(queue=mail),
        tasks.transfer.si(1).set(queue=tasks.FORK),
        chain(tasks.create.si(0.0), tasks.report.si()),
        group(tasks.create.si(seconds) for seconds in (0.0, 0.02)),
    )


def moments(rate: float) -> Iterator[float]:
    """When to send, in monotonic seconds; what was late is not made up for."""
    at = time.monotonic()
    while True:
        at = max(at + 1 / rate, time.monotonic())
        yield at


def run(rate: float, mail: str, ended: threading.Event) -> None:
    """Send until `ended`."""
    for at, signature in zip(moments(rate), itertools.cycle(healthy(mail)), strict=False):
        if ended.wait(max(0.0, at - time.monotonic())):
            return
        signature.apply_async()


if __name__ == "__main__":
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    run(float(sys.argv[1]), sys.argv[2], over)
