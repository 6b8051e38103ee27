"""Where the numbers go: one address names a sink and its options.

| scheme            | where to                                                              |
| ----------------- | --------------------------------------------------------------------- |
| `statsd`          | StatsD or Bucky over UDP                                              |
| `statsd+tcp`      | StatsD over TCP                                                       |
| `statsd+unix`     | StatsD over a Unix stream socket                                      |
| `statsd+unixgram` | StatsD over a Unix datagram socket                                    |
| `graphite`        | carbon's line protocol                                                |
| `graphite+pickle` | carbon's pickle protocol                                              |
| `console`         | stdout, for people                                                    |
| `memory`          | this process, for tests                                               |
"""

from collections.abc import Mapping

from celery_statsd.errors import ConfigError
from celery_statsd.sinks.base import KEY, Address, Sink
from celery_statsd.sinks.console import ConsoleSink
from celery_statsd.sinks.datagram import UdpSink, UnixgramSink
from celery_statsd.sinks.graphite import LineSink, PickleSink
from celery_statsd.sinks.memory import MemorySink
from celery_statsd.sinks.statsd import TcpSink, UnixSink

SINKS: Mapping[str, type[Sink]] = {
    "statsd": UdpSink,
    "statsd+tcp": TcpSink,
    "statsd+unix": UnixSink,
    "statsd+unixgram": UnixgramSink,
    "graphite": LineSink,
    "graphite+pickle": PickleSink,
    "console": ConsoleSink,
    "memory": MemorySink,
}
"""The class behind each scheme."""


def sink_from(text: str) -> Sink:
    """The sink at the address `text`; nothing is opened yet. Raises ConfigError."""
    address = Address.parse(text)
    kind = SINKS.get(address.scheme)
    if kind is None:
        raise ConfigError(KEY, f"{text!r} has an unknown scheme", f"known here: {', '.join(SINKS)}")
    return kind(address)
