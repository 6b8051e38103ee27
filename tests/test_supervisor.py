"""What the service manager is told, by a socket of its kind."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from celery_statsd import supervisor
from celery_statsd.supervisor import BEAT, Supervisor
from tests.servers.manager import Manager

Make = Callable[..., Supervisor]
"""Makes a supervisor of an environment; it is told of the end after the test."""


class Clock:
    """A monotonic clock that is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        """The time."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of all supervisors."""
    found = Clock()
    monkeypatch.setattr(supervisor, "time", found)
    return found


@pytest.fixture
def make() -> Iterator[Make]:
    """Makes supervisors."""
    with ExitStack() as stack:

        def made(**environ: str) -> Supervisor:
            told_to = Supervisor(environ)
            stack.callback(told_to.stopping)
            return told_to

        yield made


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    """A manager, by both kinds of address there are."""
    path = tmp_path / "notify"
    with Manager(path if request.param == "path" else f"@{path}") as found:
        yield found


def test_it_is_told_ready_then_of_each_beat_then_of_the_end(
    manager: Manager, clock: Clock, make: Make
) -> None:
    """READY once; a beat each half of the watchdog's patience, however often the loop turns."""
    told_to = make(NOTIFY_SOCKET=manager.address, WATCHDOG_USEC="3000000")
    assert [] == manager.told()
    told_to.listening(lambda: "first")
    assert ["READY=1\nSTATUS=first"] == manager.told()
    for _ in range(3):
        clock.now += 0.49
        told_to.listening(lambda: "too early")
    assert [] == manager.told()
    clock.now += 0.1
    told_to.listening(lambda: "second")
    assert ["WATCHDOG=1\nSTATUS=second"] == manager.told()
    told_to.stopping()
    assert ["STOPPING=1\nSTATUS=says farewell"] == manager.told()
    clock.now += BEAT
    told_to.listening(str)
    assert [] == manager.told()


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"WATCHDOG_USEC": "60000000"},
        {"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "me"},
    ],
)
def test_without_an_impatient_watchdog_people_are_told_each_few_seconds(
    environ: dict[str, str], manager: Manager, clock: Clock, make: Make
) -> None:
    """A patient one, one of another process, and one that cannot be understood."""
    told_to = make(NOTIFY_SOCKET=manager.address, **environ)
    told_to.listening(str)
    clock.now += BEAT - 0.1
    told_to.listening(str)
    assert 1 == len(manager.told())
    clock.now += 0.1
    told_to.listening(str)
    assert ["WATCHDOG=1\nSTATUS="] == manager.told()


def test_a_watchdog_of_this_process_is_its_own(manager: Manager, clock: Clock, make: Make) -> None:
    """WATCHDOG_PID says whose it is."""
    own = str(os.getpid())
    told_to = make(NOTIFY_SOCKET=manager.address, WATCHDOG_USEC="1000000", WATCHDOG_PID=own)
    told_to.listening(str)
    clock.now += 0.5
    told_to.listening(str)
    assert 2 == len(manager.told())


@pytest.mark.parametrize("address", ["", "relative", "vsock:2:1"])
def test_nobody_is_told_where_nobody_is(address: str, make: Make) -> None:
    """Not even the line for people is made."""
    told_to = make(NOTIFY_SOCKET=address)
    told_to.listening(lambda: pytest.fail("nobody asked"))
    told_to.stopping()


def test_a_manager_that_is_gone_or_full_costs_nothing(
    tmp_path: Path, clock: Clock, make: Make
) -> None:
    """No exception, and no wait: its queue is never waited for."""
    address = tmp_path / "notify"
    told_to = make(NOTIFY_SOCKET=str(address))
    told_to.listening(str)
    with Manager(address):
        for _ in range(1000):  # far more than a socket holds
            clock.now += BEAT
            told_to.listening(str)
    told_to.stopping()
