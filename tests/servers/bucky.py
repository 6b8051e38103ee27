"""Bucky 2.3.0, the StatsD in Python, flushing to a Carbon by the pickle protocol."""

from pathlib import Path
from typing import Self

from tests.servers.process import CACHE, Child, free_port, program

CONFIG = """\
directory = {directory!r}
metricsd_enabled = False
collectd_enabled = False
statsd_ip = "127.0.0.1"
statsd_port = {port}
statsd_flush_time = {flush_seconds!r}
statsd_legacy_namespace = False
graphite_ip = "127.0.0.1"
graphite_port = {carbon_port}
graphite_pickle_enabled = True
# Or nothing is sent before 500 samples have come together.
graphite_pickle_buffer_size = 1

# The thread that flushes is made before the server process forks, so Python 3 holds it for one
# that has ended and the first datagram ends the server. Make it anew on the far side.
import threading
from bucky.statsd import StatsDServer

run_as_released = StatsDServer.run


def run(self):
    threading.Thread.__init__(self.handler)
    self.handler.daemon = True
    run_as_released(self)


StatsDServer.run = run
"""


class Bucky:
    """One Bucky, UDP only. It starts only when a Carbon listens on `carbon_port` (pickle)."""

    def __init__(self, folder: Path, carbon_port: int, flush_seconds: float = 1) -> None:
        self.port = free_port()
        variable = folder / "var"
        variable.mkdir()
        config = folder / "bucky.conf"
        config.write_text(
            CONFIG.format(
                directory=str(variable),
                port=self.port,
                flush_seconds=float(flush_seconds),
                carbon_port=carbon_port,
            )
        )
        code = CACHE / "bucky" / "bin" / "bucky"
        self._child = Child("bucky", [program(code), config], folder)

    def __enter__(self) -> Self:
        self._child.start(self._listens)
        return self

    def __exit__(self, *_: object) -> None:
        self._child.kill()

    def _listens(self) -> bool:
        """Whether the UDP port is taken; connecting would tell nothing of a datagram socket."""
        wanted = f"0100007F:{self.port:04X}"
        rows = Path("/proc/net/udp").read_text().splitlines()[1:]
        return any(row.split()[1] == wanted for row in rows)
