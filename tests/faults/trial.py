"""A trial: a real agent between a stream whose truth is known and a receiver that adds up."""

import contextlib
import os
import re
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

from tests.faults.receivers import HOST, STAGES, Receiver, differences
from tests.faults.stream import Worker
from tests.faults.table import Row
from tests.servers.agent import Agent
from tests.servers.process import REPOSITORY, wait_until

FLUSH = 0.25
"""Seconds between two flushes of the agents tried here."""

PATIENCE = 40.0
"""Seconds in which whatever is waited for must have come."""


SITE = Path(__file__).parent / "site"
"""What is put first on an agent's path to bend its clock."""

Record = Callable[[Row], None]
"""Puts a row into the table of the session."""


def pause(seconds: float) -> None:
    """Let the load go on for a while: the moment of a fault is the test's to choose."""
    deadline = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() > deadline, seconds + 10, "the moment has come")


class Trial:
    """One agent under a stream. Entered, it counts; `row` ends it and tells what it has done."""

    def __init__(  # noqa: PLR0913
        self,
        folder: Path,
        broker: str,
        url: str,
        receiver: Receiver,
        stream: Worker,
        *flags: str,
        env: Mapping[str, str] | None = None,
        sink: str | None = None,
    ) -> None:
        self._sink = sink or receiver.address
        self.url = url
        self._folder = folder
        self._flags = flags
        self._env = {"PYTHONPATH": f"{SITE}:{REPOSITORY}", **(env or {})}
        self._others: list[Agent] = []
        self.receiver = receiver
        self.stream = stream
        self.agent = self._made("agent", url)
        self.recover_s: float | None = None
        self.broker = broker
        self._peak = 0.0

    def begin(self) -> Self:
        """Start the agent and the stream; return when something has come out at the other end."""
        self.agent.listen()
        self.stream.start()
        wait_until(lambda: self.counted, PATIENCE, "the first is counted")
        return self

    @property
    def counted(self) -> int:
        """Attempts that have come out whole."""
        return min(map(self.receiver.count, STAGES))

    @property
    def told(self) -> int:
        """Attempts that have come out, or whose loss has."""
        return self.counted + self.receiver.own("events_lost")

    def logged(self, event: str) -> int:
        """How many log lines of the agent tell of `event`."""
        return self.agent.output().count(f" {event} ")

    @property
    def vhost(self) -> str:
        """On RabbitMQ: where it all happens."""
        return self.url.rpartition("/")[2]

    def stand_by(self, url: str) -> Agent:
        """Start another agent of the group, which finds the broker at `url`."""
        self._others.append(self._made(f"other{len(self._others)}", url).listen())
        return self._others[-1]

    def log_in(self, login: str) -> None:
        """Have the agent's next life log in as `login`, `user:password`."""
        self.agent = self._made("agent", self.url.replace("guest:guest", login))

    def counter(self, path: str) -> int:
        """Any counter, by its family, entity and metric."""
        return self.receiver.counters[f"celery.faults.{path}.all"]

    def restart(self, number: int) -> None:
        """End the agent by that signal, and start it again."""
        self.end(number)
        self.agent.listen()

    def end(self, number: int) -> None:
        """End the agent by that signal."""
        self.note_memory()
        os.kill(self.agent.pid, number)
        code = self.agent.stop()
        assert code == (0 if number == signal.SIGTERM else -number), self.agent.output()

    def _made(self, name: str, url: str) -> Agent:
        folder = self._folder / name
        folder.mkdir(exist_ok=True)
        own = ("--host", HOST, "--flush-interval", str(FLUSH), "--state-dir", str(folder / "state"))
        agent = Agent(folder, url, [self._sink], "faults", *own, *self._flags)
        agent.env |= self._env
        return agent

    def recovered(self, seconds: float = PATIENCE, since: float | None = None) -> float:
        """Wait until an attempt that is sent from now on has come out; the seconds it took, since
        the fault was over (monotonic; now, if it is not given)."""
        began, task = since or time.monotonic(), self.stream.mark()
        before = self.receiver.task(task)
        wait_until(lambda: self.receiver.task(task) > before, seconds, "it counts again")
        took = time.monotonic() - began
        self.recover_s = max(took, self.recover_s or 0.0)
        return took

    def note_memory(self) -> None:
        """Remember the peak so far: it ends with the process."""
        self._peak = max(self._peak, peak_rss_mb(self.agent.pid))

    def row(self, name: str, fault: str, note: str = "", more: int = 0) -> Row:
        """End the stream, wait until all is told, end the agent, and check the ledger.

        `more` attempts were sent beside the stream.
        """
        sent = self.stream.stop() + more
        receiver = self.receiver
        with contextlib.suppress(TimeoutError):  # what is missing is in the row
            wait_until(lambda: self.counted >= sent or self.told == sent, PATIENCE, "all is told")
        self.stream.leave()
        self.end(signal.SIGTERM)
        for other in self._others:
            assert 0 == other.stop(), other.output()
        wait_until(lambda: not differences(receiver), 10, "the ledger adds up")
        return Row(
            id=name,
            fault=fault,
            broker=self.broker,
            sent=sent,
            counted=self.counted,
            lost=max(0, sent - self.counted),
            doubled=max(0, max(map(receiver.count, STAGES)) - sent),
            recover_s=None if self.recover_s is None else round(self.recover_s, 2),
            peak_rss_mb=round(self._peak, 1),
            lost_reported=receiver.own("events_lost"),
            events=receiver.own("events"),
            note=note,
        )

    def __enter__(self) -> Self:
        return self.begin()

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.agent.pid, signal.SIGCONT)
        for agent in (self.agent, *self._others):
            agent.kill()
        self.stream.leave()


def peak_rss_mb(pid: int) -> float:
    """The most memory the process has had resident so far, in MB."""
    return _status_mb(pid, "VmHWM")


def rss_mb(pid: int) -> float:
    """The memory the process has resident, in MB."""
    return _status_mb(pid, "VmRSS")


def _status_mb(pid: int, field: str) -> float:
    found = re.search(rf"{field}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1000 if found else 0.0


def is_exact(row: Row) -> bool:
    """Whether all was counted, once, and no loss was told of."""
    return row.sent == row.counted and not (row.lost or row.doubled or row.lost_reported)
