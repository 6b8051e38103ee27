"""The end of a wire: what has come of each series, as a StatsD would know it, and nothing else."""

import socket
from types import TracebackType
from typing import Self

from celery_statsd.names import escape
from tests.servers.worker import Worker


class Wire:
    """The last value of each gauge and the sum of each counter of the app `app`, whose agent sends
    to `address`. To be entered; what has come is read when it is asked for."""

    def __init__(self, app: str) -> None:
        self._app = app
        self._socket = socket.socket(type=socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self.address = f"statsd://127.0.0.1:{self._socket.getsockname()[1]}"
        self._known: dict[str, float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._socket.close()

    @property
    def known(self) -> dict[str, float]:
        """All that came, by the whole path."""
        try:
            while True:
                self._take(self._socket.recv(65_536).decode())
        except BlockingIOError:
            return self._known

    def at(self, path: str, reporter: str = "all") -> float | None:
        """What is known of a family, entity and metric; None when nothing ever came."""
        return self.known.get(f"celery.{self._app}.{path}.{reporter}")

    def queue(self, queue: str, metric: str) -> float | None:
        """What is known of a queue."""
        return self.at(f"queue.{escape(queue)}.{metric}")

    def worker(self, worker: Worker, metric: str) -> float | None:
        """What is known of a worker."""
        return self.at(f"worker.{escape(worker.nodename)}.{metric}")

    def forget(self) -> None:
        """As one that was started anew."""
        self.known.clear()

    def _take(self, datagram: str) -> None:
        for line in datagram.splitlines():
            path, _, value = line.partition(":")
            number, _, kind = value.partition("|")
            before = self._known.get(path, 0.0) if kind.startswith("c") else 0.0
            self._known[path] = before + float(number)
