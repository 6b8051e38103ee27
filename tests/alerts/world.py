"""Made systems: what an agent would have sent of a cluster that is well, or has one fault.

A few workers and queues run for two and a half hours, a flush each ten seconds; what comes in is
random (seeded), ends a flush later, and adds up. A fault begins at ONSET, an hour before the end.
The numbers are made here, from what each metric means; no code of ours is in between.
"""

import random
from collections import defaultdict
from collections.abc import Callable
from typing import NamedTuple

STEP = 10
"""Seconds between two flushes."""

FLUSHES = 900
ONSET = 540
"""The flush at which a fault begins."""

RETENTION = "10s:6h"

Values = list[float | None]
Key = tuple[str, str, str, str, str]
"""Kind, family, entity, metric, reporter."""

Points = dict[str, list[tuple[int, float]]]

TASKS = {"shop-tasks-mail": 12, "shop-tasks-resize": 6, "shop-tasks-rare": 1}
"""Attempts a flush, on average."""

ENDS = ("succeeded", "failed", "retried", "revoked", "rejected", "returned", "unreported", "lost")


class World:
    """The series of one app, to be bent by a fault before they are written."""

    def __init__(self, seed: int) -> None:
        self.series: dict[Key, Values] = defaultdict(lambda: [0.0] * FLUSHES)
        self._random = random.Random(seed)
        self._tasks()
        self._workers()
        self._queues()
        self._agent()

    def counter(self, family: str, entity: str, metric: str, reporter: str = "all") -> Values:
        """What came in, flush by flush."""
        return self.series["counter", family, entity, metric, reporter]

    def gauge(self, family: str, entity: str, metric: str, reporter: str = "all") -> Values:
        """The value at each flush."""
        return self.series["gauge", family, entity, metric, reporter]

    def timer(self, family: str, entity: str, metric: str, reporter: str = "all") -> Values:
        """The percentile of 90 at each flush, in ms."""
        return self.series["timer", family, entity, metric, reporter]

    def fill(self, values: Values, value: float | None, begin: int = 0) -> None:
        """The same value from `begin` on."""
        values[begin:] = [value] * (FLUSHES - begin)

    def _tasks(self) -> None:
        """Each attempt ends in the flush after the one it came in; one in a hundred fails."""
        for metric in ("received", "on_arrival", "found", *ENDS):
            self.counter("cluster", "all", metric)
        self.gauge("cluster", "all", "reserved")
        for task, mean in TASKS.items():
            held = 0
            for flush in range(FLUSHES):
                came = self._random.randint(0, 2 * mean)
                failed = sum(self._random.random() < 0.01 for _ in range(held))
                for metric, n in (("received", came), ("failed", failed),
                                  ("succeeded", held - failed)):  # fmt: skip
                    self.add(flush, task, metric, n)
                for family, entity in (("cluster", "all"), ("task", task)):
                    values = self.gauge(family, entity, "running")
                    values[flush] = (values[flush] or 0) + came
                held = came
            wait = self.timer("task", task, "wait")
            wait[:] = [self._random.uniform(50, 4000) for _ in wait]
        rare = self.timer("task", "shop-tasks-rare", "wait")
        rare[:] = [value if n % 50 == 0 else None for n, value in enumerate(rare)]

    def add(self, flush: int, task: str, metric: str, number: float) -> None:
        """So many more of a task, and of all."""
        for family, entity in (("cluster", "all"), ("task", task)):
            values = self.counter(family, entity, metric)
            values[flush] = (values[flush] or 0) + number

    def _workers(self) -> None:
        """Two that live, one that left two hours ago and whose zeros a StatsD repeats, and one that
        is unknown for a while, as a busy solo worker is."""
        for worker in ("w1_at_web1", "w2_at_web2", "solo_at_web3"):
            self.fill(self.gauge("worker", worker, "up"), 1)
            age = self.gauge("worker", worker, "heartbeat_age_s")
            age[:] = [float(flush % 2) for flush in range(FLUSHES)]
        self.gauge("worker", "solo_at_web3", "up")[620:650] = [None] * 30
        self.gauge("worker", "solo_at_web3", "heartbeat_age_s")[620:650] = range(10, 310, 10)
        for metric in ("up", "heartbeat_age_s"):
            self.fill(self.gauge("worker", "left_at_web1", metric), 1)
            self.fill(self.gauge("worker", "left_at_web1", metric), 0, 360)
        for metric in ("up", "heartbeat_age_s"):
            self.fill(self.gauge("worker", "closed_at_web1", metric), None, 100)

    def _queues(self) -> None:
        """One that is nearly empty, one with a burst each half hour, one closed long ago."""
        for queue in ("mails", "etl", "old"):
            for metric in ("unacked", "unconsumed", "level"):
                self.gauge("queue", queue, metric)
        mails, etl = (self.gauge("queue", queue, "length") for queue in ("mails", "etl"))
        mails[:] = [float(self._random.randint(0, 9)) for _ in mails]
        etl[:] = [float(max(0, 450 - 4 * (flush % 180))) for flush in range(FLUSHES)]
        self.gauge("queue", "etl", "level")[:] = [float((n or 0) >= 100) for n in etl]
        for metric in ("length", "unacked", "unconsumed", "level"):
            self.fill(self.gauge("queue", "old", metric), None, 200)

    def _agent(self) -> None:
        """One that ticks but for half a minute (a restart), and one that went for good long ago."""
        ticks = self.counter("agent", "web1", "ticks", "self")
        self.fill(ticks, 1)
        ticks[700:703] = [0] * 3
        self.fill(self.counter("agent", "retired", "ticks", "self"), None)
        for metric in ("events_lost", "sink_dropped", "flushes_given_up"):
            self.counter("agent", "web1", metric, "self")
        self.fill(self.gauge("broker", "rabbit", "up", "web1"), 1)
        self.fill(self.gauge("broker", "rabbit", "up", "retired"), 0)


class Fault(NamedTuple):
    """What is done to a world, and what must be found an hour later: rule, name and state.

    It must be found first no later than `within` seconds after ONSET.
    """

    bend: Callable[[World], None]
    found: frozenset[tuple[str, str, str]]
    within: int = 3600


def _set(*found: str) -> frozenset[tuple[str, str, str]]:
    """`rule/name/STATE` each."""
    return frozenset(tuple(one.split("/")) for one in found)  # type: ignore[misc]


def _dead_on_statsd(world: World) -> None:
    """StatsD goes on: zeros for counters, the last value for gauges."""
    for (kind, *_), values in world.series.items():
        world.fill(values, 0 if kind == "counter" else values[ONSET - 1], ONSET)
    world.fill(world.counter("agent", "retired", "ticks", "self"), None)


def _dead_on_carbon(world: World) -> None:
    """Nobody writes anything."""
    for values in world.series.values():
        world.fill(values, None, ONSET)


def _one_silent(world: World) -> None:
    world.fill(world.counter("agent", "web2", "ticks", "self"), 1)
    world.fill(world.counter("agent", "web2", "ticks", "self"), 0, ONSET)


def _lost(world: World) -> None:
    """Three tasks were running; now they are known to be lost, again and again."""
    for flush in range(ONSET, FLUSHES, 60):
        world.add(flush, "shop-tasks-mail", "received", 3)
        world.add(flush, "shop-tasks-mail", "lost", 3)


def _healed(world: World) -> None:
    """Tasks were lost once."""
    world.add(ONSET, "shop-tasks-mail", "received", 3)
    world.add(ONSET, "shop-tasks-mail", "lost", 3)


def _failing(share: float) -> Callable[[World], None]:
    def bend(world: World) -> None:
        task = "shop-tasks-mail"
        for flush in range(ONSET, FLUSHES):
            ended = world.counter("task", task, "succeeded")[flush] or 0
            moved = round(ended * share)
            world.add(flush, task, "succeeded", -moved)
            world.add(flush, task, "failed", moved)

    return bend


def _leaking(world: World) -> None:
    """One attempt a flush stays with its worker."""
    for flush in range(ONSET, FLUSHES):
        world.add(flush, "shop-tasks-mail", "received", 1)
        running = world.gauge("cluster", "all", "running")
        running[flush] = (running[flush] or 0) + flush - ONSET + 1


def _unaccounted(world: World) -> None:
    """A datagram is lost, and with it what ended in that flush; then another one."""
    for flush in (ONSET, ONSET + 180):
        for metric in ENDS:
            world.counter("cluster", "all", metric)[flush] = 0


def _queue(level: float, length: float) -> Callable[[World], None]:
    def bend(world: World) -> None:
        world.fill(world.gauge("queue", "mails", "level"), level, ONSET)
        world.fill(world.gauge("queue", "mails", "length"), length, ONSET)

    return bend


def _growing(world: World) -> None:
    """Five more a flush; its levels were set so that it is never long."""
    mails = world.gauge("queue", "mails", "length")
    mails[ONSET:] = [5.0 * (flush - ONSET) for flush in range(ONSET, FLUSHES)]


def _unconsumed(world: World) -> None:
    world.fill(world.gauge("queue", "mails", "unconsumed"), 7, ONSET)
    world.fill(world.gauge("queue", "mails", "length"), 7, ONSET)


def _no_worker(world: World) -> None:
    """All leave as they should, and messages wait."""
    for worker in ("w1_at_web1", "w2_at_web2", "solo_at_web3"):
        for metric in ("up", "heartbeat_age_s"):
            world.fill(world.gauge("worker", worker, metric), 0, ONSET)
    _queue(0, 7)(world)
    world.fill(world.gauge("queue", "etl", "length"), 0, ONSET)


def _scaled_to_zero(world: World) -> None:
    """All leave, and nothing waits: that is well."""
    _no_worker(world)
    world.fill(world.gauge("queue", "mails", "length"), 0, ONSET)


def _worker_down(world: World) -> None:
    world.fill(world.gauge("worker", "w1_at_web1", "up"), 0, ONSET)
    age = world.gauge("worker", "w1_at_web1", "heartbeat_age_s")
    age[ONSET:] = [10.0 * (flush - ONSET + 1) for flush in range(ONSET, FLUSHES)]


def _waiting(world: World) -> None:
    wait = world.timer("task", "shop-tasks-mail", "wait")
    wait[ONSET:] = [90_000.0 + flush for flush in range(ONSET, FLUSHES)]


def _counted(metric: str) -> Callable[[World], None]:
    def bend(world: World) -> None:
        values = world.counter("agent", "web1", metric, "self")
        values[ONSET::60] = [2.0] * len(values[ONSET::60])

    return bend


def _broker_down(world: World) -> None:
    world.fill(world.gauge("broker", "rabbit", "up", "web1"), 0, ONSET)


FAULTS = {
    "healthy": Fault(lambda _: None, frozenset()),
    "healed": Fault(_healed, frozenset()),
    "scaled_to_zero": Fault(_scaled_to_zero, frozenset()),
    "dead_on_statsd": Fault(_dead_on_statsd, _set("agent/all/AGENT DEAD"), 240),
    "dead_on_carbon": Fault(_dead_on_carbon, _set("agent/all/AGENT DEAD"), 240),
    "one_silent": Fault(_one_silent, _set("agent-silent/web2/CRITICAL"), 240),
    "lost": Fault(_lost, _set("lost/all/CRITICAL"), 60),
    "failing": Fault(_failing(0.15), _set("failures/shop-tasks-mail/WARNING"), 900),
    "failing_much": Fault(_failing(0.9), _set("failures/shop-tasks-mail/CRITICAL"), 600),
    "leaking": Fault(_leaking, _set("leak/all/WARNING"), 1200 + 600 + 900 + 60),
    "unaccounted": Fault(_unaccounted, _set("unaccounted/all/WARNING"), 600 + 900 + 60),
    "events_lost": Fault(_counted("events_lost"), _set("events-lost/all/WARNING"), 60),
    "dropped": Fault(_counted("sink_dropped"), _set("values-dropped/all/WARNING"), 60),
    "given_up": Fault(_counted("flushes_given_up"), _set("values-dropped/all/WARNING"), 60),
    "queue_careful": Fault(_queue(2, 600), _set("queue-long/mails/WARNING"), 660),
    "queue_bad": Fault(_queue(3, 1500), _set("queue-long/mails/CRITICAL"), 660),
    "queue_growing": Fault(_growing, _set("queue-growing/mails/WARNING"), 1800),
    "unconsumed": Fault(_unconsumed, _set("unconsumed/mails/CRITICAL"), 360),
    "no_worker": Fault(_no_worker, _set("no-worker/all/CRITICAL"), 360),
    "worker_down": Fault(_worker_down, _set("worker-down/w1_at_web1/WARNING"), 240),
    "waiting": Fault(_waiting, _set("wait/shop-tasks-mail/WARNING"), 660),
    "broker_down": Fault(_broker_down, _set("broker/rabbit/CRITICAL"), 240),
}
"""Each by its name."""

_SHAPES = {
    "stats.counters": {
        "counter": ("stats.counters", ".count"),
        "gauge": ("stats.gauges", ""),
        "timer": ("stats.timers", ".upper_90"),
    },
    "stats_counts": {
        "counter": ("stats_counts", ""),
        "gauge": ("stats.gauges", ""),
        "timer": ("stats.timers", ".upper_90"),
    },
}
"""By the head of a counter: heads and tails as StatsD has them, new and old."""


OLD_NAMES = "world_old_names"
"""The app of a system with two faults under a StatsD's old names."""


def app_of(fault: str) -> str:
    """The name of the app that has the fault."""
    return f"world_{fault}"


def points(world: World, app: str, end: int, shape: str = "stats.counters") -> Points:
    """What Graphite would have of it, the last flush at `end` (epoch seconds)."""
    begin = end - (FLUSHES - 1) * STEP
    found = {}
    for (kind, family, entity, metric, reporter), values in world.series.items():
        head, tail = _SHAPES[shape][kind]
        name = f"{head}.celery.{app}.{family}.{entity}.{metric}.{reporter}{tail}"
        rows = ((begin + STEP * n, value) for n, value in enumerate(values))
        found[name] = [(at, value) for at, value in rows if value is not None]
    return found
