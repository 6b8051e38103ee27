"""Everything of the demo that runs, started and ended in order."""

import io
import threading
import time
from contextlib import ExitStack
from typing import Self

from celery_statsd.agent import Agent
from celery_statsd.demo.comparison import Comparison
from celery_statsd.demo.figures import APP, HOST, PREFIX, Figures, Meter, Reading
from celery_statsd.demo.load import Load
from celery_statsd.demo.statsd import Receiver
from celery_statsd.demo.truth import Truth
from celery_statsd.demo.worker import HOSTNAME, Worker, silence
from celery_statsd.demo.workload import JOBS, Publisher, app_of
from celery_statsd.log import Log
from celery_statsd.pipeline import Pipeline
from celery_statsd.sinks import sink_from
from celery_statsd.source import source_for
from celery_statsd.source.base import Broker

FLUSH_EVERY = 1.0
"""Seconds: ten times as often as an agent would, for those who watch."""

CONNECT_WITHIN = 5.0
"""Seconds for the agent to listen."""

AGENT_WITHIN = 4.0
"""Seconds for the agent to say its farewell in."""


class Stage:
    """The broker, the worker, the workload, the agent and a StatsD, in threads of this process.

    The agent listens before the worker comes up, and leaves after it: it sees all there is.
    """

    def __init__(self) -> None:
        self._said = io.StringIO()
        log = Log("warning", stream=self._said)
        self._receiver = Receiver()
        self._sink = sink_from(f"statsd://127.0.0.1:{self._receiver.port}?mtu=8932")
        self._source = source_for(Broker(("memory://",)), log)
        self._agent = Agent(
            self._source,
            lambda: Pipeline(prefix=PREFIX, app=APP, host=HOST),
            [self._sink],
            log,
            host=HOST,
            alias="memory",
            flush_interval=FLUSH_EVERY,
        )
        self._listening = threading.Thread(target=self._agent.run, name="demo agent", daemon=True)
        self._app = app_of(JOBS)
        self._truth = Truth()
        self._worker = Worker(self._app)
        self._publisher = Publisher(self._app, JOBS)
        self._meter = Meter([job.name for job in JOBS], HOSTNAME)
        self._load = Load(())
        self._began = time.monotonic()
        self._open = ExitStack()

    def __enter__(self) -> Self:
        """Start all, each when what it needs is there."""
        with ExitStack() as started:
            started.enter_context(silence())
            started.callback(self._app.close)
            started.enter_context(self._truth)
            started.callback(self._receiver.close)
            self._receiver.start()
            started.callback(self._stop_agent)
            self._start_agent()
            started.callback(self._worker.stop)
            self._worker.start()
            self._worker.wait_until_ready()
            started.callback(self._publisher.stop)
            self._publisher.start()
            self._open = started.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()

    def finish(self) -> None:
        """End all, in the reverse order: nothing that was said stays unheard."""
        self._open.close()

    def wind_down(self) -> None:
        """Publish nothing more."""
        self._publisher.stop()

    def wait_until_done(self, timeout: float) -> bool:
        """Whether, after `wind_down`, the last task ends within `timeout` seconds."""
        return self._truth.wait_until_done(timeout)

    def figures(self) -> Figures:
        """What StatsD has received up to now."""
        reading = Reading(self._receiver.read())
        return self._meter.figures(reading, time.monotonic() - self._began, self._load.percent())

    def comparison(self) -> Comparison:
        """The workload's own counts beside the agent's; to be asked for after `finish`."""
        reading = Reading(self._receiver.read())
        return Comparison.of(self._truth, reading, self._sink.tally.packets)

    @property
    def complaints(self) -> str:
        """What the agent has logged: nothing, when all is well."""
        return self._said.getvalue()

    def _start_agent(self) -> None:
        others = set(threading.enumerate())
        self._listening.start()
        deadline = time.monotonic() + CONNECT_WITHIN
        while not self._source.connected and time.monotonic() < deadline:
            time.sleep(0.01)
        self._load = Load(set(threading.enumerate()) - others)

    def _stop_agent(self) -> None:
        self._agent.stop()
        self._listening.join(AGENT_WITHIN)
