"""What a consumer that sends nothing has counted: written down when it is told to end."""

import os
import signal
from typing import Any


class Tally:
    """`events`, `messages` and `bytes` so far; those a consumer does not know stay 0."""

    def __init__(self) -> None:
        self.events = 0
        self.messages = 0
        self.bytes = 0
        signal.signal(signal.SIGTERM, self._write)

    def _write(self, *_: Any) -> None:
        with open(os.environ["BENCH_COUNT"], "w", encoding="ascii") as file:
            file.write(f"{self.events} {self.messages} {self.bytes}")
        os._exit(0)
