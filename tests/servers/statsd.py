"""Etsy's StatsD: UDP and TCP on one port, read back exactly over its management port."""

import ast
import contextlib
import json
import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from tests.servers.process import CACHE, Child, MissingProgramError, free_port, program, wait_until

CODE = CACHE / "statsd" / "node_modules" / "statsd"

_BARE_KEY = re.compile(r"([{,]\s*)([A-Za-z_$][\w$]*):")


class StatsD:
    """One StatsD. With `carbon_port` it flushes there; without, its numbers stay to be asked.

    Carbon keeps one value a second, so a series that is flushed twice within one loses the
    first: flush to it every two seconds or more where sums must be exact.
    """

    def __init__(
        self, folder: Path, flush_seconds: float = 1, carbon_port: int | None = None
    ) -> None:
        if not CODE.is_dir():
            raise MissingProgramError("StatsD is not installed: run tests/install")
        self.port, self._management_port = free_port(), free_port()
        self._child = Child(
            "statsd", [program("node"), CODE / "stats.js", folder / "config.js"], folder
        )
        config = self._config(flush_seconds, carbon_port)
        (folder / "config.js").write_text(json.dumps(config, indent=2))

    @property
    def began(self) -> int:
        """The epoch second from which on it counts its intervals."""
        wait_until(lambda: time.time() % 1 < 0.3, 2, "the beginning of a second")  # it rounds
        uptime = re.search(r"uptime: (\d+)", self._say("stats", "END\n\n"))
        assert uptime
        return int(time.time()) - int(uptime[1])

    def counters(self) -> dict[str, float]:
        """Each counter's sum since the last flush, under the name it was sent by."""
        return self._ask("counters")

    def gauges(self) -> dict[str, float]:
        """Each gauge's value."""
        return self._ask("gauges")

    def timers(self) -> dict[str, list[float]]:
        """Each timer's values since the last flush; at most 100 a timer can be told."""
        return self._ask("timers")

    @contextlib.contextmanager
    def suspended(self) -> Iterator[None]:
        """It stands still: its sockets take what their buffers hold, and nobody reads."""
        os.kill(self._child.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self._child.pid, signal.SIGCONT)

    def __enter__(self) -> Self:
        self._child.start(self._healthy)
        return self

    def __exit__(self, *_: object) -> None:
        self._child.stop()

    def _config(self, flush_seconds: float, carbon_port: int | None) -> dict[str, Any]:
        server = {"address": "127.0.0.1", "port": self.port}
        return {
            "servers": [{"server": f"./servers/{kind}", **server} for kind in ("udp", "tcp")],
            "mgmt_address": "127.0.0.1",
            "mgmt_port": self._management_port,
            "flushInterval": int(flush_seconds * 1000),
            "deleteIdleStats": False,
            "percentThreshold": [90, 95, 99],
            "graphite": {"legacyNamespace": False},
            "graphiteHost": "127.0.0.1",
            "graphitePort": carbon_port,
            "backends": ["./backends/graphite"] if carbon_port else [],
        }

    def _healthy(self) -> bool:
        with contextlib.suppress(OSError):
            return "up" in self._say("health", "\n")
        return False

    def _ask(self, what: str) -> Any:
        """The object node's `util.inspect` printed, made Python: its bare keys need quotes."""
        text = self._say(what, "END\n\n").removesuffix("END\n\n")
        if "more item" in text:
            raise ValueError(f"StatsD tells only the first values: {text}")
        return ast.literal_eval(_BARE_KEY.sub(r"\1'\2':", text).strip())

    def _say(self, command: str, end: str) -> str:
        with socket.create_connection(("127.0.0.1", self._management_port), 5) as peer:
            peer.sendall(f"{command}\n".encode())
            answer = ""
            while not answer.endswith(end):
                got = peer.recv(65536)
                if not got:
                    raise ConnectionError(f"StatsD hung up after {answer!r}")
                answer += got.decode("ascii")
        return answer
