"""What the agent knows of itself and of its broker, noted before each flush."""

import os
import resource
import sys
import time
from collections.abc import Iterable

from celery_statsd.chronicle import Chronicle
from celery_statsd.lookout import Lookout
from celery_statsd.outlet import Outlet
from celery_statsd.source.base import Source

TALLIED = ("errors", "dropped", "overrun", "packets", "bytes")
"""What a sink tallies; the sum over all sinks is sent as `sink_<name>`."""


class Vitals:
    """The vitals of one agent, called `host`, at a broker called `alias`."""

    def __init__(self, chronicle: Chronicle, source: Source, host: str, alias: str) -> None:
        self.foreign = 0
        self.flush_took: float | None = None
        self.lookout: Lookout | None = None
        self._chronicle = chronicle
        self._source = source
        self._host = host
        self._alias = alias
        self.noted_at = self._began = time.monotonic()
        self._closed = dict.fromkeys(TALLIED, 0)

    def begin(self) -> None:
        """All totals begin anew, at 0."""
        for family, entity in (("agent", self._host), ("broker", self._alias)):
            self._chronicle.pipeline.restart(family, entity)

    def note(self, outlets: Iterable[Outlet]) -> None:
        """Give the pipeline all there is to say; `outlets` are those in use."""
        pipeline, host = self._chronicle.pipeline, self._host
        self.noted_at = time.monotonic()
        for name, total in self._tallies(outlets).items():
            pipeline.grow("agent", host, f"sink_{name}", total)
        pipeline.grow("agent", host, "flushes_given_up", self._chronicle.given_up)
        pipeline.grow("agent", host, "messages_foreign", self.foreign)
        if self._source.backlog is not None:
            pipeline.note("agent", host, "backlog", self._source.backlog)
        pipeline.note("agent", host, "rss_bytes", resident_bytes())
        pipeline.note("agent", host, "cpu_ms", time.process_time() * 1000.0)
        pipeline.note("agent", host, "uptime_s", time.monotonic() - self._began)
        if self.flush_took is not None:
            pipeline.note("agent", host, "flush", self.flush_took)
        pipeline.grow("broker", self._alias, "reconnects", self._source.reconnects)
        pipeline.note("broker", self._alias, "up", float(self._source.connected))
        if self.lookout:
            self.lookout.note(pipeline, time.time())

    def bury(self, outlet: Outlet) -> None:
        """Keep what `outlet`, which is not used any more, has done: the totals only grow."""
        self._closed = self._tallies([outlet])

    def _tallies(self, outlets: Iterable[Outlet]) -> dict[str, int]:
        totals = dict(self._closed)
        for outlet in outlets:
            for name in TALLIED:
                totals[name] += getattr(outlet.sink.tally, name)
            totals["dropped"] += outlet.given_up
        return totals


def resident_bytes() -> int:
    """Resident memory of this process: now where /proc tells, else the most it ever had."""
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
