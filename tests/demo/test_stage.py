"""The stage: all parts in order, and no part left, whatever happens in between."""

import subprocess
import sys

BROKEN = """
import threading
from celery_statsd.demo.stage import Stage

try:
    with Stage() as stage:
        raise KeyboardInterrupt
except KeyboardInterrupt:
    print("interrupted")
print([thread.name for thread in threading.enumerate()])
"""

PLAYED = """
import threading
from celery_statsd.demo.stage import Stage

with Stage() as stage:
    flying = stage.figures()
    # a flush comes in several datagrams
    while not (flying.total.total("succeeded") and flying.workers):
        threading.Event().wait(0.05)
        flying = stage.figures()
    print("worker", flying.workers, "rows", len(flying.rows), "example", flying.example)
    stage.wind_down()
    print("done", stage.wait_until_done(30))
    stage.finish()
    stage.finish()
    ended = stage.figures()
    comparison = stage.comparison()
print("in flight", *(ended.total.gauge(g) for g in ("queued", "reserved", "running")))
print("equal", comparison.equal, "difference", ended.total.difference)
print("complaints", repr(stage.complaints))
"""


def ran(code: str) -> list[str]:
    """What `code` prints in a process of its own; a word on its stderr is an error."""
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (0, "") == (ended.returncode, ended.stderr)
    return ended.stdout.splitlines()


def test_an_interruption_leaves_no_thread() -> None:
    """All that was started is ended before the interruption goes on its way."""
    assert ["interrupted", "['MainThread']"] == ran(BROKEN)


def test_a_play_ends_with_nothing_in_flight() -> None:
    """The figures come by StatsD; `finish` may be said twice; the agent had nothing to complain."""
    assert [
        "worker 1 rows 7 example celery.shop.task.shop-tasks-send_mail.succeeded.all",
        "done True",
        "in flight 0.0 0.0 0.0",
        "equal True difference 0",
        "complaints ''",
    ] == ran(PLAYED)
