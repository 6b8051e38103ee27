"""The agent itself is stopped, starved and lied to, under load."""

import os
import resource
import signal
from pathlib import Path

import pytest

from tests.faults.conftest import RATE, Under, at_length
from tests.faults.receivers import Carbon, Receiver, Sums
from tests.faults.table import LONG
from tests.faults.test_sinks import SECOND, Receive
from tests.faults.trial import FLUSH, Record, is_exact, pause
from tests.servers.process import wait_until
from tests.servers.rabbitmq import RabbitMQ

pytestmark = pytest.mark.e2e

HOUR, DAY = 3600, 86_400

TIMES = 20 if LONG else 3


@at_length
def test_killed_with_graphite(under: Under, receive: Receive, record: Record) -> None:
    """SIGKILL: a flush that is sent again has its own time, so Graphite keeps it once."""
    receiver = receive(Carbon)
    trial = under(*SECOND, receiver=receiver)
    for _ in range(TIMES):
        pause(0.7)
        trial.restart(signal.SIGKILL)
    trial.recovered()
    row = trial.row("A2", f"agent killed (-9), Graphite, {TIMES} times")
    record(row)

    assert is_exact(row)


def test_suspended(under: Under, record: Record) -> None:
    """SIGSTOP and SIGCONT: what came meanwhile is read late, and nobody is taken for dead."""
    seconds = 60 if LONG else 3
    trial = under()
    os.kill(trial.agent.pid, signal.SIGSTOP)
    pause(seconds)
    os.kill(trial.agent.pid, signal.SIGCONT)
    trial.recovered()
    row = trial.row("A4", f"agent suspended for {seconds} s")
    record(row)

    assert is_exact(row)
    assert 0 == trial.counter("worker.w1_at_host.offline")


@at_length
def test_out_of_memory(under: Under, record: Record) -> None:
    """No memory is left: it ends, or goes on; a new process goes on where it was."""
    trial = under()
    pid = trial.agent.pid
    size = next(
        int(line.split()[1]) * 1024
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("VmSize")
    )
    resource.prlimit(pid, resource.RLIMIT_AS, (size + 2_000_000, resource.RLIM_INFINITY))
    pause(20 if LONG else 3)
    trial.note_memory()
    trial.agent.kill()
    trial.agent.listen()
    trial.recovered()
    row = trial.row("A5", "address space limited to 2 MB more, then killed")
    record(row)

    assert (0, 0) == (row.lost, row.lost_reported)
    assert row.doubled <= RATE * FLUSH


def test_no_descriptors(under: Under, rabbitmq: RabbitMQ, record: Record) -> None:
    """No descriptor is left when the broker must be connected again: told, and tried on."""
    trial = under()
    pid = trial.agent.pid
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, 1024))
    rabbitmq.ctl("close_all_connections", "--vhost", trial.vhost, "maintenance")
    wait_until(lambda: trial.logged("broker_lost"), 20, "it is told")
    pause(10 if LONG else 1)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (1024, 1024))
    trial.recovered()
    row = trial.row("A7", "no file descriptor left, then some")
    record(row)

    assert is_exact(row)


@pytest.mark.parametrize(
    "shift",
    [pytest.param(shift, marks=at_length) for shift in (HOUR, -HOUR, DAY, -DAY)],
)
def test_clock(shift: int, under: Under, receive: Receive, tmp_path: Path, record: Record) -> None:
    """The wall clock jumps, and back again: each interval is told once, under a time of its own."""
    clock = tmp_path / "clock"
    receiver = receive(Carbon)
    assert isinstance(receiver, Carbon)
    trial = under(*SECOND, receiver=receiver, env={"FAULTS_CLOCK": str(clock)})
    for offset in (shift, 0):
        _set_clock(clock, offset)
        pause(2.2)
        trial.recovered()
    row = trial.row("A8", f"clock jumps by {shift / HOUR:+g} h and back")
    record(row)

    assert is_exact(row)
    assert 0 == receiver.clashes
    assert 0 == trial.counter("worker.w1_at_host.offline")


def _set_clock(clock: Path, offset: float) -> None:
    """At once: the agent never reads half a number."""
    beside = clock.with_suffix(".new")
    beside.write_text(str(offset))
    beside.rename(clock)


@pytest.mark.parametrize("ahead", [600.0, pytest.param(-600.0, marks=at_length)])
def test_workers_clock(ahead: float, under: Under, statsd: Receiver, record: Record) -> None:
    """A worker whose clock is wrong by ten minutes is counted as any other; its skew is told."""
    trial = under(ahead=ahead)
    pause(10 if LONG else 1)
    trial.recovered()
    assert isinstance(statsd, Sums)
    skew = statsd.gauges["celery.faults.worker.w1_at_host.clock_skew_ms.all"]
    row = trial.row("A9", f"worker's clock {ahead:+g} s", f"skew told: {skew / 1000:.1f} s")
    record(row)

    assert is_exact(row)
    assert abs(skew - ahead * 1000) < 5000
    assert 0 == trial.counter("worker.w1_at_host.offline")
