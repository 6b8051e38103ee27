"""The program as its users start it: real processes, their output, their exit codes."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.process import REPOSITORY, wait_until
from tests.traces import FOLDER

TRACE = str(FOLDER / "redis-prefork-57.ndjson.gz")
PROGRAM = (sys.executable, "-m", "celery_statsd")
ENVIRONMENT = {
    **{name: text for name, text in os.environ.items() if not name.startswith("CELERY_STATSD_")},
    "PYTHONPATH": str(REPOSITORY),
}

Finished = subprocess.CompletedProcess[str]


def run(*arguments: str, env: dict[str, str] | None = None, cwd: Path = REPOSITORY) -> Finished:
    """The program, run to its end."""
    return subprocess.run(
        [*PROGRAM, *arguments],
        env={**ENVIRONMENT, **(env or {})},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


class Running:
    """The program while it runs: stdout and stderr go to files of their own."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self._out, self._err = folder / "out", folder / "err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [*PROGRAM, *arguments], env=ENVIRONMENT, cwd=folder, stdout=out, stderr=err
            )

    @property
    def lines(self) -> list[str]:
        """The whole lines of stdout so far."""
        return self._out.read_text().rpartition("\n")[0].splitlines()

    @property
    def said(self) -> str:
        """What stderr has so far."""
        return self._err.read_text()

    def end(self, number: int) -> int:
        """Send a signal; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(10)


@contextmanager
def watching(folder: Path, url: str, *flags: str) -> Iterator[Running]:
    """`celery-statsd events`, once it listens."""
    running = Running(folder, "events", "--broker", url, *flags)
    try:
        wait_until(lambda: "broker_connected" in running.said, 10, "it listens")
        yield running
    finally:
        running.process.kill()
        running.process.wait(10)
