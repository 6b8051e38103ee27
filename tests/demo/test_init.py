"""The demo as a newcomer starts it: in a pipe, in a terminal, without curses, until Ctrl-C."""

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.demo.terminal import DEMO, Run

NO_CURSES = """
import sys
sys.modules["_curses"] = None  # what an import finds that was not built
from celery_statsd.cli import main
sys.argv = ["celery-statsd", "demo"]
main()
"""

FORGER = """
import sys
from celery import signals
from celery_statsd.cli import main

def forge(sender, **_):  # the workload's own count of one start is made one too many
    signals.task_prerun.disconnect(forge)
    signals.task_prerun.send(sender=sender)

signals.task_prerun.connect(forge)
sys.argv = ["celery-statsd", "demo", "--seconds", "3"]
main()
"""

TWICE = """
import os, threading
from celery_statsd.demo import show

def sockets():
    links = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
    return sorted(os.readlink(link) for link in links if os.path.islink(link))

def left():
    return [link for link in sockets() if link.startswith("socket:")]

before = left()
codes = [show(2, True) for _ in range(2)]
print("codes", codes)
print("threads", [thread.name for thread in threading.enumerate()])
print("sockets", len(left()) - len(before))
"""


class Runs:
    """Every way to run it, started at once: each takes seconds in which little is computed."""

    def __init__(self, stack: ExitStack) -> None:
        start = stack.enter_context
        self.began = time.monotonic()
        self.piped = start(Run((*DEMO, "--seconds", "6")))
        self.drawn = start(Run(DEMO, (24, 80)))
        self.plain = start(Run((*DEMO, "--plain", "--seconds", "3"), (24, 80), NO_COLOR="1"))
        self.bare = start(Run(("-c", NO_CURSES), (24, 80)))
        self.forged = start(Run(("-c", FORGER), (40, 140)))
        self.twice = start(Run(("-W", "error", "-c", TWICE)))


@pytest.fixture(scope="module")
def runs() -> Iterator[Runs]:
    """All of them; whatever still runs at the end is killed."""
    with ExitStack() as stack:
        yield Runs(stack)


def test_in_a_pipe_it_says_a_line_a_second_and_that_all_is_equal(runs: Runs) -> None:
    """Without a terminal: plain lines, the comparison, `equal: yes`, 0, in time, no complaint."""
    code, output, errors = runs.piped.finish()
    took = time.monotonic() - runs.began
    assert (0, "") == (code, errors)
    assert "equal: yes" == output.splitlines()[-1]
    assert "\x1b" not in output
    assert 4 <= len(re.findall(r"^ +\d+s  sent \d+ ", output, re.MULTILINE))
    assert took < 6 + 5


def test_each_kind_of_end_is_seen_within_six_seconds(runs: Runs) -> None:
    """All tasks together: sent, received, ended on arrival, started, and each of the ends."""
    _, output, _ = runs.piped.finish()
    sent, received, on_arrival, started, *ends, other = map(
        int, re.findall(r"^all tasks +workload(.*)$", output, re.MULTILINE)[0].split()
    )
    assert sent == received + on_arrival
    assert received + on_arrival == sum(ends)
    assert all((on_arrival, started, *ends))
    assert 0 == other


def test_in_a_terminal_it_draws_a_table_and_leaves_no_trace_of_it(runs: Runs) -> None:
    """On the other screen, with the cursor hidden; both are put back, then come the results."""
    runs.drawn.wait_for("Ctrl-C ends this")
    runs.drawn.interrupt()
    code, output, errors = runs.drawn.finish()
    live, _, after = output.partition("\x1b[?1049l")
    assert (0, "") == (code, errors)
    assert "\x1b[?1049h" in live
    assert "in/s queue resv  run wait95  run95   ok fail lost diff" in live
    assert "stats.counters.celery.shop.task.shop-tasks-send_mail.succeeded.all.count" in live
    assert output.rindex("\x1b[?25h") > output.rindex("\x1b[?25l")
    assert runs.drawn.left_clean
    assert "\x1b[?1049" not in after
    assert "all tasks" in after
    assert "\x1b[1;32mequal: yes\x1b[0m" in after


def test_plain_is_plain_even_in_a_terminal(runs: Runs) -> None:
    """With --plain, and NO_COLOR for the comparison, no escape sequence is written."""
    code, output, _ = runs.plain.finish()
    assert 0 == code
    assert "equal: yes" in output
    assert "\x1b" not in output


def test_without_curses_it_says_what_a_table_takes_and_runs_until_ctrl_c(runs: Runs) -> None:
    """Ctrl-C ends the workload in order: the last tasks end, then the comparison, and 0."""
    runs.bare.wait_for("  2s  sent")
    runs.bare.interrupt()
    code, output, errors = runs.bare.finish()
    assert (0, "") == (code, errors)
    assert "a Python that was built with curses" in output
    assert "Nothing more is published" in output
    assert "equal: yes" in output


def test_one_start_too_many_is_red_and_an_error(runs: Runs) -> None:
    """The count that differs stands in red, the verdict names it, the exit code is 1."""
    code, output, _ = runs.forged.finish()
    assert 1 == code
    assert "\x1b[1;31mequal: no\x1b[0m" in output
    named = re.findall(r"\x1b\[1;31m  (\S+) start: workload (\d+), agent (\d+)\x1b", output)
    assert 1 == len(named)
    assert int(named[0][1]) == int(named[0][2]) + 1
    assert re.search(rf"agent .*\x1b\[1;31m +{named[0][2]}\x1b\[0m", output)


def test_twice_in_one_process_leaves_no_thread_and_no_socket(runs: Runs) -> None:
    """Everything is ended, so that it can begin again; no warning either."""
    code, output, errors = runs.twice.finish()
    assert (0, "") == (code, errors)
    assert ["codes [0, 0]", "threads ['MainThread']", "sockets 0"] == output.splitlines()[-3:]
