"""All that is shown at once, as values: nothing of it changes by itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from celery_statsd.top.facts import Facts
from celery_statsd.top.witness import Failure, Running


class Tab(Enum):
    """The three tables."""

    TASKS = "tasks"
    WORKERS = "workers"
    QUEUES = "queues"


@dataclass(frozen=True, slots=True)
class Detail:
    """What one is looked into for, if it is a task or a worker: what runs, the longest first; how
    often each exception came; the last failures, the newest first."""

    running: tuple[Running, ...] = ()
    classes: tuple[tuple[str, int], ...] = ()
    failures: tuple[Failure, ...] = ()


@dataclass(frozen=True, slots=True)
class Frame:
    """What is known at `time` of a broker (at `place`) that has been listened to since `began`;
    both in epoch seconds.

    `total` are all tasks together, `agent` is what the view says of itself. `probed`: the queues
    are looked at. `said` is the last thing that had to be told to a person, if any.
    """

    time: float
    began: float
    place: str
    connected: bool
    total: Facts
    agent: Facts
    tables: Mapping[Tab, tuple[Facts, ...]]
    probed: bool = True
    said: str = ""

    @property
    def tasks(self) -> tuple[Facts, ...]:
        """Each task that was seen."""
        return self.tables[Tab.TASKS]

    @property
    def workers(self) -> tuple[Facts, ...]:
        """Each worker that is known."""
        return self.tables[Tab.WORKERS]

    @property
    def queues(self) -> tuple[Facts, ...]:
        """Each queue that was looked at, or that a task was sent to."""
        return self.tables[Tab.QUEUES]
