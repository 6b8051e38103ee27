"""The agent one writes in an afternoon: Celery's receiver and State, and one datagram a metric."""

import os
from typing import Any

import statsd
from celery import Celery
from celery.events.receiver import EventReceiver
from celery.events.state import State
from eventqueue import lasting


class Agent:
    """Counts each stage by task, times the waiting and the running."""

    def __init__(self) -> None:
        self._state = State()
        self._statsd = statsd.StatsClient("127.0.0.1", int(os.environ["BENCH_STATSD"]))

    def take(self, event: dict[str, Any]) -> None:
        """One event."""
        kind = event["type"]
        self._state.event(event)
        if not kind.startswith("task-"):
            return
        task = self._state.tasks[event["uuid"]]
        name = (task.name or "unknown").replace(".", "-")
        self._statsd.incr(f"naive.{name}.{kind[5:]}")
        if kind == "task-started" and task.sent:
            self._statsd.timing(f"naive.{name}.wait", max(0.0, task.started - task.sent) * 1000)
        elif kind == "task-succeeded":
            self._statsd.timing(f"naive.{name}.runtime", task.runtime * 1000)


def main() -> None:
    """Receive until the end."""
    app = Celery(broker=os.environ["BENCH_BROKER"])
    take = Agent().take
    with app.connection() as connection:
        EventReceiver(connection, handlers={"*": take}, app=app, **lasting()).capture()


if __name__ == "__main__":
    main()
