"""Child processes: started until they answer, ended with all they started themselves.

Every child leads a session of its own, so that ending its process group reaches whatever it
forked, and nothing else.
"""

import atexit
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

REPOSITORY = Path(__file__).resolve().parents[2]

CACHE = Path(os.environ.get("TEST_SERVERS_CACHE", REPOSITORY / ".cache" / "tests"))
"""Where `tests/install` puts the side environments."""

POLL = 0.02
"""Seconds between two looks at a condition."""

_PORTS = range(20000, 32000)
"""Below the kernel's ephemeral range, so no outgoing connection takes one before its server."""

_given: set[int] = set()
_running: "set[Child]" = set()


class MissingProgramError(Exception):
    """A server's program is not installed; the message says how to get it."""


class StartError(Exception):
    """A child ended or stayed deaf instead of answering; the message holds its output."""


def program(*candidates: str | Path) -> str:
    """The first of `candidates` that can be run. Raises MissingProgramError."""
    for candidate in candidates:
        found = shutil.which(candidate)
        if found:
            return found
    raise MissingProgramError(f"{candidates[-1]} is not installed: run tests/install")


def free_port() -> int:
    """A TCP and UDP port nobody listens on, never given twice by this process."""
    for port in random.sample(_PORTS, len(_PORTS)):
        if port not in _given and _is_free(port):
            _given.add(port)
            return port
    raise OSError("no free port")


def answers(port: int) -> bool:
    """Whether something accepts TCP connections on `port` of the loopback."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def wait_until(
    condition: Callable[[], object], seconds: float, what: str, poll: float = POLL
) -> None:
    """Return as soon as `condition` holds, looking every `poll` seconds.

    Raises TimeoutError naming `what` after `seconds`.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s: {what}")
        time.sleep(poll)


class Child:
    """One process in a group of its own, its output in `folder/name.log`."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        folder: Path,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._command = [str(part) for part in command]
        self._folder = folder
        self.env = {**os.environ, **(env or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._told_to_end = False

    def start(self, ready: Callable[[], object], seconds: float = 30) -> Self:
        """Start, and return once `ready` holds; it may have done its work by then, and ended well.
        Raises StartError with the child's output."""
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._told_to_end = False
        _running.add(self)
        try:
            wait_until(lambda: self._dead() or ready(), seconds, f"{self.name} is ready")
        except TimeoutError as error:
            self.kill()
            raise StartError(f"{error}\n{self.output()}") from None
        if self._dead() and not (self._process.returncode == 0 and ready()):
            code = self.kill()
            raise StartError(f"{self.name} ended with {code}\n{self.output()}")
        return self

    @property
    def pid(self) -> int:
        """The process's id, which is its group's and its session's too."""
        assert self._process, f"{self.name} was never started"
        return self._process.pid

    def output(self) -> str:
        """What it wrote to stdout and stderr so far, over all its starts."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def terminate(self) -> None:
        """Send SIGTERM to the process alone, once, and do not wait: to many, twice is worse."""
        if self._process and not self._told_to_end:
            self._told_to_end = True
            self._process.send_signal(signal.SIGTERM)

    def stop(self, seconds: float = 20) -> int:
        """SIGTERM, wait, clear away what is left of its group; the exit code.

        One that does not obey in `seconds` is killed: the code is then -9.
        """
        if self._process and not self._dead():
            self.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
        return self.kill()

    def kill(self) -> int:
        """SIGKILL the whole group and wait until none of it is left; the exit code."""
        if not self._process:
            return 0
        wait_until(self._group_gone, 10, f"{self.name} and its children are gone")
        _running.discard(self)
        return self._process.wait()

    def _group_gone(self) -> bool:
        """Kill again and look: what is forked while the signal is on its way is met as well."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        return self._dead() and not group(self.pid)

    def _dead(self) -> bool:
        return self._process is None or self._process.poll() is not None


def group(pgid: int) -> list[int]:
    """The ids of the live processes of one group; zombies waiting for init do not count.

    One whose first thread is a zombie lives, sockets and all, until its last thread has ended.
    """
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # After the name in brackets: state, parent, group, and 15 on the number of threads.
            fields = stat.read_text().rpartition(")")[2].split()
            state, its_group, threads = fields[0], int(fields[2]), int(fields[17])
            if its_group == pgid and (state not in "ZX" or threads > 1):
                found.append(int(stat.parent.name))
    return found


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True


@atexit.register
def _kill_all() -> None:
    """The last net, for whoever ends without leaving its context managers."""
    for child in tuple(_running):
        child.kill()
