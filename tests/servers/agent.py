"""Our own agent as its users run it: a process of its own, from the command line."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tests.servers.process import REPOSITORY, Child


class Agent(Child):
    """`celery-statsd agent` on `broker`, flushing each second to `sinks` under the name `app`."""

    def __init__(
        self, folder: Path, broker: str, sinks: Sequence[str], app: str, *flags: str
    ) -> None:
        command = [
            *(sys.executable, "-m", "celery_statsd", "agent", "--broker", broker),
            *(part for sink in sinks for part in ("--sink", sink)),
            *("--app", app, "--flush-interval", "1", *flags),
        ]
        super().__init__(f"agent-{app}", command, folder, {"PYTHONPATH": str(REPOSITORY)})

    def listen(self) -> Self:
        """Start, and return when it hears the broker: once more than in its earlier lives."""
        before = self._connections()
        return self.start(lambda: self._connections() > before)

    def _connections(self) -> int:
        return self.output().count("broker_connected")

    def __enter__(self) -> Self:
        return self.listen()

    def __exit__(self, *_: object) -> None:
        self.kill()
