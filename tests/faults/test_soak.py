"""Floods and random faults together, for as long as `SOAK_SECONDS` says (`make soak`: an hour).

The seed is printed; `SOAK_SEED` plays the same faults again. At the end everything must have been
counted once, and the agent must not have grown: its memory in the last quarter is that of the
first.
"""

import os
import random
import signal
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from celery_statsd.agent import CHECKPOINT
from tests.faults.conftest import RATE, Under
from tests.faults.proxy import Proxy
from tests.faults.receivers import StatsdTcp
from tests.faults.table import SOAK
from tests.faults.test_floods import pour
from tests.faults.test_sinks import Receive
from tests.faults.trial import FLUSH, Record, Trial, pause, rss_mb
from tests.servers.rabbitmq import RabbitMQ

pytestmark = pytest.mark.e2e

SEED = int(os.environ.get("SOAK_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)

GROWTH_MB = 24.0
"""What the last quarter's median may be above the first's: a process that was killed has read a
journal of up to 16 MB again, and its memory stays the allocator's."""

WARM = 40_000
"""Attempts poured before anything is measured: more events than are remembered to know doubles."""

FLOOD = 2000
"""Attempts of one flood."""

Fault = Callable[[], object]


class Soak:
    """One agent, between a broker behind a proxy and a StatsD, and what can happen to it."""

    def __init__(self, trial: Trial, rabbitmq: RabbitMQ, proxy: Proxy, chance: random.Random):
        self.trial = trial
        self.poured = 0
        self.kills = 0
        self._rabbitmq = rabbitmq
        self._proxy = proxy
        self._chance = chance

    @property
    def faults(self) -> dict[str, tuple[int, Fault]]:
        """Each fault's name, how often it comes among all, and what does it."""
        return {
            "flood": (4, self._flood),
            "agent stopped": (2, lambda: self.trial.restart(signal.SIGTERM)),
            "agent killed": (2, self._kill),
            "agent suspended": (2, self._suspend),
            "connection reset": (3, lambda: self._ill("reset")),
            "line cut": (2, lambda: self._ill("refuse")),
            "black hole": (1, lambda: self._ill("blackhole")),
            "connections closed": (2, self._close),
            "broker killed": (1, self._kill_broker),
            "broker suspended": (1, self._suspend_broker),
            "statsd gone": (3, self._statsd_gone),
            "statsd stuck": (2, self._statsd_stuck),
        }

    def warm_up(self) -> None:
        """Fill what is bounded."""
        self.poured += pour(self._rabbitmq, self.trial, WARM, poisoned=False)
        self.trial.recovered(120)

    def run(self, seconds: float) -> Iterator[str]:
        """Do one thing after the other; the name of each when all is well again."""
        names, weights = zip(*((name, n) for name, (n, _) in self.faults.items()), strict=True)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            (name,) = self._chance.choices(names, weights)
            pause(self._chance.uniform(0.2, 1.0))
            self.faults[name][1]()
            self.trial.recovered(120)
            yield name

    def _flood(self) -> None:
        self.poured += pour(self._rabbitmq, self.trial, FLOOD, poisoned=False)

    def _kill(self) -> None:
        self.kills += 1
        self.trial.restart(signal.SIGKILL)

    def _suspend(self) -> None:
        os.kill(self.trial.agent.pid, signal.SIGSTOP)
        pause(self._chance.uniform(0.5, 5.0))
        os.kill(self.trial.agent.pid, signal.SIGCONT)

    def _ill(self, mode: str) -> None:
        self._proxy.set(mode)
        pause(self._chance.uniform(0.2, 2.0))
        self._proxy.set("pass")

    def _close(self) -> None:
        vhost = self.trial.vhost
        self._rabbitmq.ctl("close_all_connections", "--vhost", vhost, "maintenance")

    def _kill_broker(self) -> None:
        self._rabbitmq.kill()
        self._rabbitmq.start()

    def _suspend_broker(self) -> None:
        with self._rabbitmq.suspended():
            pause(self._chance.uniform(1.0, 5.0))

    def _statsd_gone(self) -> None:
        self.trial.receiver.down()
        pause(self._chance.uniform(0.2, 5.0))
        self.trial.receiver.start()

    def _statsd_stuck(self) -> None:
        self.trial.receiver.deafen()
        pause(self._chance.uniform(0.5, 5.0))
        self.trial.receiver.listen_again()


@pytest.mark.timeout(0)
@pytest.mark.soak
def test_soak(under: Under, receive: Receive, rabbitmq: RabbitMQ, record: Record) -> None:
    """Whatever happens, in whatever order: nothing lost, nothing doubled but by SIGKILL."""
    print(f"SOAK_SEED={SEED} SOAK_SECONDS={SOAK:g}", flush=True)
    done: Counter[str] = Counter()
    weight: list[tuple[float, float]] = []
    receiver = receive(StatsdTcp)
    with Proxy(rabbitmq.port) as proxy:
        trial = under(receiver=receiver, port=proxy.port, env={"FAULTS_HEARTBEAT": "2"})
        soak = Soak(trial, rabbitmq, proxy, random.Random(SEED))
        soak.warm_up()
        began = time.monotonic()
        for name in soak.run(SOAK):
            done[name] += 1
            weight.append((time.monotonic() - began, rss_mb(trial.agent.pid)))
            print(f"{weight[-1][0]:7.0f} s  {name:20} {weight[-1][1]:6.1f} MB", flush=True)
        first, last = quarters(weight)
        note = f"seed {SEED}; {', '.join(f'{n} {name}' for name, n in done.most_common())}; "
        note += f"RSS {first:.1f} -> {last:.1f} MB"
        fault = f"floods and {done.total()} random faults in {SOAK:g} s"
        row = trial.row("soak", fault, note, more=soak.poured)
    record(row)

    assert (0, 0) == (row.lost, row.lost_reported)
    assert row.doubled <= soak.kills * RATE * (CHECKPOINT + FLUSH)
    assert last <= first + GROWTH_MB


def quarters(weight: list[tuple[float, float]]) -> tuple[float, float]:
    """The medians of the first quarter and of the last."""
    end = weight[-1][0]
    first = [mb for at, mb in weight if at <= end / 4] or [weight[0][1]]
    last = [mb for at, mb in weight if at >= end * 3 / 4]
    return statistics.median(first), statistics.median(last)
