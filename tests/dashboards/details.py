"""What is told of the made cluster beside its sums: its tasks, workers, queues and agents.

On a bad day w3 died ten minutes ago and old left two hours ago, etl grows, nobody takes from
legacy, and one agent of two is silent. On a good day all that is well.
"""

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from celery_statsd.metric import Kind
from celery_statsd.rules import COUNTERS
from celery_statsd.rules.queue import LEVELS
from tests.dashboards.attempts import OUTCOMES, TASKS, Attempt, Told, in_hand

Values = Mapping[int, Sequence[float]]
"""What each flush has of a metric."""

Detail = tuple[Kind, str, str, str, Values]
"""Kind, family, entity, metric."""

HOUR = 3600
BUSY = {False: ("w1_at_web1",), True: ("w1_at_web1", "w2_at_web1", "w3_at_web2")}
IDLE = {False: ("w2_at_web1", "w3_at_web2", "old_at_web3"), True: ()}
"""Workers, by whether it is a good day."""

LOAD = {"loadavg_1m": 0.7, "loadavg_5m": 0.6, "loadavg_15m": 0.5}


class Day(Protocol):
    """As much of the world as is needed here."""

    end: int
    begin: int
    well: bool
    attempts: list[Attempt]


class Details:
    """Of the flushes in `slots`; `told` is what was told in them."""

    def __init__(self, day: Day, slots: range, told: Iterable[Told]) -> None:
        self._day, self._slots, self._end = day, slots, day.end
        self._told = [one for one in told if one.slot in slots]

    def series(self) -> Iterator[Detail]:
        yield from self._of_tasks()
        yield from self._of_times()
        yield from self._of_workers()
        yield from self._of_queues()
        yield from self._of_broker()
        yield from self._of_agents()

    def _of_tasks(self) -> Iterator[Detail]:
        for task, metric in itertools.product(TASKS, COUNTERS["task"]):
            of_it = (one for one in self._told if (one.metric, one.attempt.task) == (metric, task))
            yield Kind.COUNTER, "task", task, metric, self._counted(of_it)
        failed = [one for one in self._told if one.metric == "failed"]
        yield Kind.COUNTER, "exception", "ValueError", "failed", self._counted(failed)
        for task in TASKS:
            mine = in_hand([one for one in self._day.attempts if one.task == task])
            for metric in ("reserved", "running"):
                yield self._gauge("task", task, metric, lambda at, m=metric, i=mine: i(at)[m])
        yield self._gauge("cluster", "all", "queued", lambda at: 12 + _wave(at, 5))

    def _of_times(self) -> Iterator[Detail]:
        ends = [one for one in self._told if one.metric in OUTCOMES and one.metric != "lost"]
        for family, entity in (("cluster", "all"), *(("task", task) for task in TASKS)):
            of_it = [one for one in ends if family == "cluster" or one.attempt.task == entity]
            for metric, taken in (("runtime", _ran), ("wait", _waited), ("prefetch", _waited)):
                yield Kind.TIMER, family, entity, metric, _timed(of_it, taken)
        yield Kind.TIMER, "cluster", "all", "lateness", _timed(ends, _waited)
        yield Kind.TIMER, "task", TASKS[0], "lateness", _timed(ends, _waited)

    def _of_workers(self) -> Iterator[Detail]:
        for worker in BUSY[self._day.well]:
            yield from self._of_busy(worker)
        for worker in IDLE[self._day.well]:
            for metric in COUNTERS["worker"]:
                here = self._counted(())
                if metric == "offline" and worker == "w3_at_web2":
                    here[self._end - 600] = (1.0,)
                yield Kind.COUNTER, "worker", worker, metric, here
        if not self._day.well:
            yield from self._of_idle()

    def _of_busy(self, worker: str) -> Iterator[Detail]:
        mine = in_hand([one for one in self._day.attempts if one.worker == worker])
        for metric in COUNTERS["worker"]:
            of_it = (
                one for one in self._told if (one.metric, one.attempt.worker) == (metric, worker)
            )
            yield Kind.COUNTER, "worker", worker, metric, self._counted(of_it)
        flat = {
            "pool_size": 4, "prefetch_count": 16, "scheduled": 2, "flapping": 0, "up": 1,
            "heartbeat_age_s": 1.2, "processed": 9, "clock_skew_ms": -3, **LOAD,
        }  # fmt: skip
        for metric, value in flat.items():
            yield self._gauge("worker", worker, metric, lambda _, v=value: v)
        yield self._gauge("worker", worker, "eta_ahead_s", lambda at: 120 - at % 110)
        harm = self._end if self._day.well else self._end - 900
        yield self._gauge("worker", worker, "redelivered", lambda at: at > harm)
        yield self._gauge("worker", worker, "active", lambda at: mine(at)["running"])
        yield self._gauge("worker", worker, "reserved", lambda at: mine(at)["reserved"])

    def _of_idle(self) -> Iterator[Detail]:
        """w2 idles with a clock that is wrong, w3 has died, and of old only its zeros are left."""
        died = self._end - 600
        w2 = {"up": 1, "heartbeat_age_s": 0.4, "clock_skew_ms": 1500, **LOAD}
        w3 = {"active": 2, "reserved": 1, "processed": 7, "clock_skew_ms": -3, **LOAD}
        nothing = dict.fromkeys((*w2, "active", "reserved", "processed"), 0.0)
        for worker, flat in (
            ("w2_at_web1", nothing | w2), ("w3_at_web2", w3), ("old_at_web3", nothing),
        ):  # fmt: skip
            for metric, value in flat.items():
                yield self._gauge("worker", worker, metric, lambda _, v=value: v)
        yield self._gauge("worker", "w3_at_web2", "up", lambda at: at < died)
        yield self._gauge("worker", "w3_at_web2", "heartbeat_age_s", lambda at: max(1, at - died))

    def _of_queues(self) -> Iterator[Detail]:
        """mails is usual, idle is empty; on a bad day etl is too long and legacy forgotten."""
        yield from self._of_queue("mails", lambda at: 40 + _wave(at, 30), 6, 2)
        yield from self._of_queue("idle", lambda _: 0, 0, 2)
        if self._day.well:
            yield from self._of_queue("etl", lambda at: 25 + _wave(at - 900, 20), 3, 2)
            return
        yield from self._of_queue(
            "etl", lambda at: max(0, self._grown(at, 1200) + _wave(at, 50)), 3, 1
        )
        yield from self._of_queue("legacy", lambda at: self._grown(at, 431), 0, 0)

    def _of_queue(
        self, queue: str, length: Callable[[int], float], unacked: int, consumers: int
    ) -> Iterator[Detail]:
        of = self._gauge
        gauges: dict[str, Callable[[int], float]] = {
            "length": length,
            "unacked": lambda _: unacked,
            "consumers": lambda _: consumers,
            "unconsumed": lambda at: 0 if consumers else length(at),
            "level": lambda at: sum(length(at) >= level for level in LEVELS),
            "memory_bytes": lambda at: 4096 + 900 * length(at),
            "safe_to_scale_down": lambda at: length(at) + unacked == 0,
            "stuck": lambda at: (
                (queue, self._day.well) == ("mails", False) and at > self._end - 900
            ),
            "head_of_line": lambda _: 0,
            "idle_elsewhere": lambda _: 0,
        }
        if queue != "idle":
            begun = self._end - (86_000 if queue == "legacy" else 700)
            gauges["oldest_age_s"] = lambda at: 14 if consumers > 1 else max(9, at - begun)
            gauges["drain_s"] = lambda at: 90 + _wave(at, 60)
        for metric, value in gauges.items():
            yield of("queue", queue, metric, value)
        per_flush = 0.0 if queue == "idle" else 2.0
        yield Kind.COUNTER, "queue", queue, "sent", dict.fromkeys(self._slots, (per_flush,))
        waits = {slot: (30.0, 70.0 + length(slot)) for slot in self._slots}
        yield Kind.TIMER, "queue", queue, "wait", waits

    def _of_broker(self) -> Iterator[Detail]:
        found = 0.0 if self._day.well else 2.0
        yield self._gauge("cluster", "all", "findings", lambda _: found)
        of_broker = {"up": 1.0, "unacked": 9.0, "memory_bytes": 1e8}
        for metric, value in of_broker.items():
            yield self._gauge("broker", "broker", metric, lambda _, v=value: v)
        yield self._gauge("broker", "broker", "connections", lambda at: 17 + _wave(at, 2))
        for metric, value in (
            ("looks", 1.0), ("looks_failed", 0.0), ("reconnects", 0.0), ("asks_failed", 0.0),
        ):  # fmt: skip
            yield Kind.COUNTER, "broker", "broker", metric, dict.fromkeys(self._slots, (value,))
        pings = {slot: (1.5 + _wave(slot, 9) / 20,) for slot in self._slots}
        yield Kind.TIMER, "broker", "broker", "ping", pings

    def _of_agents(self) -> Iterator[Detail]:
        """web1 speaks; on a bad day web2 has been silent for two hours, and web3 was removed two
        days ago."""
        begin, end = self._day.begin, self._end
        spoke = {"web1": end, "web2": end - 2 * HOUR, "web3": end - 48 * HOUR}
        if self._day.well:
            spoke = {"web1": end, "web2": end}
        for agent, last in spoke.items():
            ticks = {slot: (float(slot <= last),) for slot in range(begin + 10, end + 1, 10)}
            yield Kind.COUNTER, "agent", agent, "ticks", ticks
        for metric in COUNTERS["agent"]:
            if metric != "ticks":
                yield Kind.COUNTER, "agent", "web1", metric, self._of_agent(metric)
        gauges: dict[str, Callable[[int], float]] = {
            "backlog": lambda at: max(0, _wave(at, 4)),
            "attempts": lambda at: 14 + _wave(at, 6),
            "series": lambda _: 412,
            "rss_bytes": lambda at: 38e6 + 3e6 * (at - begin) / (end - begin),
            "cpu_ms": lambda at: 2.2 * (at - begin),
        }
        for metric, value in gauges.items():
            yield self._gauge("agent", "web1", metric, value)
        for metric in ("event_lag", "flush"):
            yield Kind.TIMER, "agent", "web1", metric, dict.fromkeys(self._slots, (3.0, 5.0))

    def _of_agent(self, metric: str) -> dict[int, Sequence[float]]:
        """On a bad day three failed sends and two folded values, a minute ago."""
        if metric in ("events", "events_counted", "sink_packets"):
            return dict.fromkeys(self._slots, (20.0,))
        if metric == "sink_bytes":
            return dict.fromkeys(self._slots, (26_000.0,))
        values: dict[int, Sequence[float]] = dict.fromkeys(self._slots, (0.0,))
        if not self._day.well:
            values[self._end - 60] = ({"sink_errors": 3.0, "series_folded": 2.0}.get(metric, 0.0),)
        return values

    def _gauge(
        self, family: str, entity: str, metric: str, value: Callable[[int], float]
    ) -> Detail:
        return Kind.GAUGE, family, entity, metric, {at: (float(value(at)),) for at in self._slots}

    def _counted(self, told: Iterable[Told]) -> dict[int, tuple[float]]:
        counts = Counter(one.slot for one in told)
        return {slot: (float(counts[slot]),) for slot in self._slots}

    def _grown(self, at: int, last: int) -> int:
        """A queue that began to grow an hour and a half ago."""
        return max(0, round(last * (1 - (self._end - at) / (1.5 * HOUR))))


def _wave(at: int, high: int) -> int:
    """Up and down with the time, and 0 every ten minutes."""
    return round(high * math.sin(math.pi * at / 300) * math.sin(at / 77) ** 2)


def _ran(one: Attempt) -> float:
    return 1000.0 * (one.ended - one.started)


def _waited(one: Attempt) -> float:
    return 1000.0 * (one.started - one.received)


def _timed(ends: Iterable[Told], taken: Callable[[Attempt], float]) -> Values:
    times: dict[int, list[float]] = defaultdict(list)
    for one in ends:
        times[one.slot].append(taken(one.attempt))
    return times
