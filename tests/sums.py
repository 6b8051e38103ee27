"""A StatsD of the tests: adds up what comes by UDP, by the parts of our names."""

import socket
import threading
from collections import Counter, defaultdict
from typing import Self

Name = tuple[str, str, str, str]


class Receiver:
    """Sums of counters, last gauges, and values of timers (ms), under (app, family, entity as it
    stands in the name, metric)."""

    def __init__(self) -> None:
        self._socket = socket.socket(type=socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self._socket.bind(("127.0.0.1", 0))
        self._counters: Counter[Name] = Counter()
        self._gauges: dict[Name, float] = {}
        self._timers: defaultdict[Name, list[float]] = defaultdict(list)
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    @property
    def address(self) -> str:
        """The sink to send to."""
        return f"statsd://127.0.0.1:{self._socket.getsockname()[1]}"

    def counts(self, app: str, family: str, metric: str) -> Counter[str]:
        """The counter of each entity, by the name it was given in the workload."""
        with self._lock:
            return Counter(
                {
                    PLAIN.get(entity, entity): number
                    for (of, fam, entity, name), number in self._counters.items()
                    if (of, fam, name) == (app, family, metric) and number
                }
            )

    def total(self, app: str, family: str, metric: str) -> int:
        """The counter of all entities."""
        return self.counts(app, family, metric).total()

    def gauge(self, app: str, family: str, entity: str | None, metric: str) -> float | None:
        """The last value; of any entity if none is named."""
        with self._lock:
            found = [
                value
                for (of, fam, name, what), value in self._gauges.items()
                if (of, fam, what) == (app, family, metric) and entity in (None, name)
            ]
        return found[-1] if found else None

    def values(self, app: str, family: str, metric: str) -> list[float]:
        """All values of a timer, of all entities."""
        with self._lock:
            found = [row for row in self._timers.items() if row[0][:2] == (app, family)]
        return [value for name, values in found if name[3] == metric for value in values]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.sendto(b"", self._socket.getsockname())
        self._thread.join(5)
        self._socket.close()

    def _listen(self) -> None:
        while datagram := self._socket.recv(65536):
            with self._lock:
                for line in datagram.decode().splitlines():
                    self._take(line)

    def _take(self, line: str) -> None:
        path, _, rest = line.partition(":")
        value, kind, *_ = rest.split("|")
        _, app, family, entity, metric, _ = path.split(".")
        name = (app, family, entity, metric)
        if kind == "c":
            self._counters[name] += int(value)
        elif kind == "g":
            self._gauges[name] = float(value)
        else:
            self._timers[name].append(float(value))


PLAIN = {
    "shop-orders-create": "shop.orders.create",
    "report__daily_EU_at_2": "report: daily/EU@2",
    "shop-orders-fail": "shop.orders.fail",
    "mail-send": "mail.send",
    "bank-transfer": "bank.transfer",
    "cache-ignore": "cache.ignore",
    "cache-reject": "cache.reject",
    "cache-reject_early": "cache.reject_early",
    "shop-orders-swap": "shop.orders.swap",
    "media-encode": "media.encode",
    "media-hard": "media.hard",
    "media-soft": "media.soft",
    "never--started": "never-started",
    "shop-gone": "shop.gone",
    "q-any": "q.any",
    "q-fork": "q.fork",
}
"""What the workload's names are on the wire, and what they were."""
