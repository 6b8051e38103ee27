"""A cluster for the doctor: workers at work, and what it says of them."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from celery import Celery

from celery_statsd.check import Doctor, Request
from celery_statsd.check.finding import Finding
from celery_statsd.config import load
from celery_statsd.keys import Settings

PACE = 0.2
"""Seconds between two tasks of a client."""

LISTEN = 9.0
"""Seconds: four heartbeats of each worker."""


def settings(broker: str, **flags: Any) -> Settings:
    """Those of an agent that sends nowhere."""
    given = {"broker": (broker,), "sinks": ("memory://",), **flags}
    return load(given, {}, None, lambda _: {}, "/nowhere")


class Said:
    """What the doctor said."""

    def __init__(self, findings: list[Finding]) -> None:
        self.findings = findings

    def of(self, name: str, subject: str = "") -> list[tuple[str, str]]:
        """Severity and sentence of each finding of that name and subject."""
        return [
            (finding.severity.word, finding.sentence)
            for finding in self.findings
            if (finding.name, finding.subject) == (name, subject)
        ]

    def severity(self, name: str, subject: str = "") -> list[str]:
        """Only how bad each is."""
        return [severity for severity, _ in self.of(name, subject)]

    def sentences(self, name: str) -> str:
        """All that was said under a name, whoever it is about."""
        rows = (f"{f.subject}: {f.sentence}" for f in self.findings if f.name == name)
        return "\n".join(rows)


def looked(broker: str, request: Request | None = None, **flags: Any) -> Said:
    """What the doctor says of a cluster now."""
    return Said(Doctor(settings(broker, **flags), request or Request(LISTEN)).findings())


@contextmanager
def looking(broker: str, seconds: float, **flags: Any) -> Iterator[Future[Said]]:
    """The doctor looks while other things happen."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(looked, broker, Request(seconds), **flags)


@contextmanager
def publishing(broker: str, *tasks: tuple[str, str], announced: bool = True) -> Iterator[None]:
    """A client that sends these tasks (name, queue) again and again."""
    client = Celery("client", broker=broker, set_as_current=False)
    client.conf.update(task_send_sent_event=announced, task_ignore_result=True)
    over = threading.Event()

    def publish() -> None:
        while not over.is_set():
            for name, queue in tasks:
                client.send_task(name, queue=queue)
            time.sleep(PACE)

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        client.close()
