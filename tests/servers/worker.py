"""Real Celery workers, and the cluster they make with one broker and one truth file."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from tests.servers.process import CACHE, REPOSITORY, Child, program
from tests.servers.truth import Truth, lines

MODULE = "tests.servers.workload"


class Worker(Child):
    """One worker process with its pool. SIGTERM is Celery's warm shutdown."""

    def __init__(
        self,
        name: str,
        flags: Sequence[str],
        folder: Path,
        env: dict[str, str],
        python: str | Path = sys.executable,
    ) -> None:
        command = [
            *(python, "-m", "celery", "-A", MODULE, "worker"),
            *("--hostname", f"{name}@%h", "--loglevel", "INFO", *flags),
        ]
        super().__init__(name, command, folder, env)
        self.nodename = ""
        """`name@host`, as events have it, once it is up."""

    def up(self, truth: Path) -> Self:
        """Start, and return when it consumes, which it writes to `truth`."""

        def consumes() -> bool:
            rows = [
                row for row in lines(truth) if row["what"] == "ready" and row["pid"] == self.pid
            ]
            self.nodename = rows[0]["worker"] if rows else ""
            return bool(rows)

        return self.start(consumes, 60)


def old_celery() -> str:
    """The Python of an environment with Celery 5.2. Raises MissingProgramError."""
    return program(CACHE / "celery-old" / "bin" / "python")


class Cluster:
    """Workers and clients of the workload on one broker. Left, all its processes are ended."""

    def __init__(self, folder: Path, broker: str) -> None:
        self.broker = broker
        self.workers: list[Worker] = []
        self._folder = folder
        self.path = folder / "truth.ndjson"
        """Where the truth is written."""
        self._env = {
            "WORKLOAD_BROKER": broker,
            "WORKLOAD_TRUTH": str(self.path),
            "PYTHONPATH": str(REPOSITORY),
        }

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to take part in the workload."""
        return {**self._env}

    def instrument(self, sink: str, name: str, interval: float = 1.0) -> None:
        """Have all that is started from now on count inside, and tell `sink` under that name."""
        told = {"sink": sink, "name": name, "flush_interval": interval}
        self._env["WORKLOAD_INSTRUMENT"] = json.dumps(told)

    def worker(  # noqa: PLR0913
        self,
        name: str,
        pool: str,
        queues: Sequence[str],
        concurrency: int = 4,
        *more: str,
        python: str | Path = sys.executable,
        zone: str = "UTC",
    ) -> Worker:
        """Start a worker and return it, consuming; with `more` flags instead of --task-events, by
        the Celery of another `python` (see `old_celery`), or in another time `zone`."""
        flags = ("--pool", pool, "--concurrency", str(concurrency), "--queues", ",".join(queues))
        more = more or ("--task-events",)
        env = {**self._env, "TZ": zone}
        worker = Worker(name, (*flags, *more), self._folder, env, python)
        self.workers.append(worker)
        return worker.up(self.path)

    def mix(self, rounds: int = 1) -> None:
        """Have a client publish the mixed workload; return when all of it is over.

        Raises CalledProcessError, its output with it, when it is not over in time.
        """
        command = [
            sys.executable,
            "-m",
            "tests.servers.client",
            str(rounds),
            str(len(self.workers)),
        ]
        env = {**self.workers[0].env, **self._env}
        subprocess.run(command, env=env, cwd=self._folder, check=True, timeout=120)

    def publish(self, code: str) -> None:
        """Have a client run `code`, in which the workload is `tasks`. Raises CalledProcessError."""
        command = [sys.executable, "-c", f"import {MODULE} as tasks; {code}"]
        env = {**self.workers[0].env, **self._env}
        subprocess.run(command, env=env, cwd=self._folder, check=True, timeout=60)

    def stop(self) -> None:
        """Warm shutdown of all workers, at the same time."""
        for worker in self.workers:
            worker.terminate()
        for worker in self.workers:
            worker.stop()

    def truth(self) -> Truth:
        """What has happened so far."""
        return Truth.read(self.path)

    def rows(self) -> list[dict[str, Any]]:
        """The same, line by line."""
        return lines(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.kill()
