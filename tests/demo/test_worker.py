"""The embedded worker; in a process of its own, since it makes its app the default one."""

import logging
import subprocess
import sys

from celery_statsd.demo.worker import silence

WORKS = """
import threading, time
from celery_statsd.demo.truth import Truth
from celery_statsd.demo.worker import Worker, silence
from celery_statsd.demo.workload import Job, app_of

app = app_of((Job("a", 1.0, 0.0, 0.0),))
with silence(), Truth() as truth:
    worker = Worker(app)
    worker.start()
    print("ready", worker.wait_until_ready())
    for mishap, times in ((None, 0), ("CardDeclined", 1), ("ConnectionDropped", 1)):
        app.tasks["a"].delay(0.0, mishap, times)
    print("done", truth.wait_until_done(20))
    print("stopped", worker.stop())
    print(sorted(truth.counts()["a"].items()))
    print([thread.name for thread in threading.enumerate()])
"""


def test_it_works_and_leaves() -> None:
    """A success, a failure and a retry; nothing is logged, and no thread is left."""
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", WORKS],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    counts = [
        ("failed", 1), ("received", 4), ("retried", 1), ("sent", 4), ("started", 4),
        ("succeeded", 2),
    ]  # fmt: skip
    lines = ["ready True", "done True", "stopped True", str(counts), "['MainThread']"]
    assert ("", lines) == (ended.stderr, ended.stdout.splitlines())


def test_silence_ends() -> None:
    """What is logged inside is not heard, what is logged after it is."""
    logger = logging.getLogger("celery.worker")
    with silence():
        assert not logger.isEnabledFor(logging.CRITICAL)
    assert logger.isEnabledFor(logging.CRITICAL)
