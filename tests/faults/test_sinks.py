"""The other end fails in every way it can, while the events go on. What the sinks promise is that
an outage costs nothing within their bounds; what a StatsD had and took along is its own loss."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.faults.conftest import RATE, Under, at_length
from tests.faults.proxy import Proxy
from tests.faults.receivers import (
    Carbon,
    CarbonPickle,
    Receiver,
    Statsd,
    StatsdTcp,
    StatsdUnix,
)
from tests.faults.table import LONG
from tests.faults.trial import FLUSH, Record, is_exact, pause
from tests.servers.process import wait_until

pytestmark = pytest.mark.e2e

AWAY = 30.0 if LONG else 1.5
"""Seconds of an outage."""

SECOND = ("--flush-interval", "1")
"""For Graphite, which keeps one value a second; and where a sink is waited for, since 60 flushes
may wait for it."""

KINDS = [StatsdTcp, Carbon, CarbonPickle]

Receive = Callable[..., Receiver]


def flags_of(kind: type[Receiver]) -> tuple[str, ...]:
    """What an agent needs for that kind of receiver."""
    return SECOND if issubclass(kind, Carbon) else ()


@pytest.mark.parametrize(
    ("name", "kind"),
    [("S1", Statsd), ("S8", Carbon), pytest.param("S8", CarbonPickle, marks=at_length)],
)
def test_refused(
    name: str, kind: type[Receiver], under: Under, receive: Receive, record: Record
) -> None:
    """Nobody listens for a while: what was to be sent is kept and comes later, once."""
    receiver = receive(kind)
    trial = under(*flags_of(kind), receiver=receiver)
    receiver.down()
    pause(AWAY)
    receiver.start()
    trial.recovered()
    row = trial.row(name, f"{kind.scheme} refused for {AWAY:g} s")
    record(row)

    assert is_exact(row)
    assert trial.logged("sink_down")
    assert trial.logged("sink_back")


def test_stuck_udp(under: Under, statsd: Receiver, record: Record) -> None:
    """A StatsD that stands still, as long as its socket has room."""
    trial = under()
    statsd.deafen()
    pause(AWAY / 2)
    statsd.listen_again()
    trial.recovered()
    row = trial.row("S3", f"statsd stuck for {AWAY / 2:g} s, its socket has room")
    record(row)

    assert is_exact(row)


def test_unix_socket_removed(
    under: Under, receive: Receive, tmp_path: Path, record: Record
) -> None:
    """The socket goes and comes with its StatsD."""
    receiver = receive(StatsdUnix, str(tmp_path / "statsd.sock"))
    trial = under(receiver=receiver)
    for _ in range(5 if LONG else 1):
        receiver.down()
        pause(1.0)
        receiver.start()
        trial.recovered()
    row = trial.row("S5", "statsd+unix socket removed and made again")
    record(row)

    assert is_exact(row)


@pytest.mark.parametrize("kind", [StatsdTcp, pytest.param(Carbon, marks=at_length)])
def test_stuck(kind: type[Receiver], under: Under, receive: Receive, record: Record) -> None:
    """A server that stands still until the buffers are full, and goes on."""
    receiver = receive(kind)
    trial = under(*SECOND, receiver=receiver)
    receiver.deafen()
    pause(25 if LONG else 2)
    receiver.listen_again()
    trial.recovered()
    row = trial.row("S6", f"{kind.scheme} stuck for {25 if LONG else 2} s")
    record(row)

    assert is_exact(row)


@at_length
@pytest.mark.parametrize("kind", KINDS)
def test_half_open(kind: type[Receiver], under: Under, receive: Receive, record: Record) -> None:
    """The other machine is gone without a word: nothing is acknowledged any more. Then it is back
    with another process."""
    receiver = receive(kind)
    trial = under(*SECOND, receiver=receiver)
    receiver.vanish()
    pause(25)
    receiver.close()
    receiver.start()
    trial.recovered()
    row = trial.row("S6", f"{kind.scheme} half-open for 25 s")
    record(row)

    assert is_exact(row)


@pytest.mark.parametrize("kind", [StatsdTcp, pytest.param(Carbon, marks=at_length)])
def test_restarts(kind: type[Receiver], under: Under, receive: Receive, record: Record) -> None:
    """A server that ends and starts again between two flushes, several times."""
    receiver = receive(kind)
    trial = under(*flags_of(kind), receiver=receiver)
    for _ in range(20 if LONG else 3):
        receiver.down()
        receiver.start()
        trial.recovered()
    row = trial.row("S7", f"{kind.scheme} restarted, {20 if LONG else 3} times")
    record(row)

    assert is_exact(row)


@at_length
@pytest.mark.parametrize("kind", [Carbon, StatsdTcp])
def test_slow(kind: type[Receiver], under: Under, receive: Receive, record: Record) -> None:
    """A line of 1 kB/s: the agent keeps its beat, and sends the rest when it can."""
    receiver = receive(kind)
    with Proxy(receiver.port) as proxy:
        sink = f"{kind.scheme}://127.0.0.1:{proxy.port}"
        trial = under(*SECOND, receiver=receiver, sink=sink)
        proxy.set("slow", rate=1000)
        pause(30 if LONG else 3)
        proxy.set("pass")
        trial.recovered()
        row = trial.row("S11", f"{kind.scheme} at 1 kB/s for {30 if LONG else 3} s")
    record(row)

    assert is_exact(row)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    folder = tmp_path / "agent"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
    subprocess.run(mount, check=True)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_full_disk(small_disk: Path, under: Under, record: Record) -> None:
    """The journal's disk is full: told, counted on; and kept again as soon as there is room."""
    trial = under()
    with (small_disk / "filler").open("wb", buffering=0) as filler, suppress(OSError):
        while True:
            filler.write(b"x" * 4096)
    wait_until(lambda: trial.logged("state_unwritable"), 20, "it is told")
    pause(AWAY)
    (small_disk / "filler").unlink()
    wait_until(lambda: trial.logged("state_writable"), 20, "it is well again")
    pause(1.0)
    trial.end(signal.SIGKILL)
    trial.agent.listen()
    trial.recovered()
    row = trial.row("S9", "disk of the state full, then not; then SIGKILL")
    record(row)

    assert (0, 0) == (row.lost, row.lost_reported)
    assert row.doubled <= RATE * FLUSH


@at_length
def test_torn_journal(under: Under, tmp_path: Path, record: Record) -> None:
    """Half a record stands at the journal's end after a crash: it is cut off."""
    trial = under()
    for tail in (b"\0", b"\0\0\1\0\xff\xff\xff\xff half a record", os.urandom(4096)):
        pause(0.5)
        trial.end(signal.SIGKILL)
        (journal,) = (tmp_path / "agent" / "state").glob("*.journal")
        with journal.open("ab") as file:
            file.write(tail)
        trial.agent.listen()
        trial.recovered()
    row = trial.row("S10", "journal torn at its end by a crash")
    record(row)

    assert (0, 0) == (row.lost, row.lost_reported)
    assert row.doubled <= 3 * RATE * FLUSH
