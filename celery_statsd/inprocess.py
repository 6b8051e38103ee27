"""Where events cannot go: Celery's signals, counted inside of workers and clients.

    from celery_statsd import instrument
    instrument(app, sink="statsd://127.0.0.1:8125")

in the module of the app. Each process counts what happens in it and tells a StatsD, under the
agent's names; the sums are the agent's. It works with any broker (SQS has no fan-out for events),
without a broker (`task_always_eager`), and without `-E`.

| told             | by the signal                            | in                              |
| ---------------- | ---------------------------------------- | ------------------------------- |
| sent             | after_task_publish                       | clients, beat, tasks that send  |
| received         | task_received                            | the worker                      |
| started          | task_prerun                              | the process that runs the task  |
| succeeded        | task_success                             | the same                        |
| retried          | task_retry                               | the same                        |
| failed           | task_failure                             | the same; time limits, lost     |
|                  |                                          | children: the worker            |
| unreported       | task_postrun after Ignore                | the process that runs the task  |
| rejected         | task_postrun after Reject (since Celery  | the same                        |
|                  | 5.7 one that is final is `failed`)       |                                 |
| revoked          | task_revoked                             | the worker                      |
| on_arrival       | task_revoked, task_unknown, unreceived   | the worker                      |

What happens to nobody who lives to tell it is not told here: lost, returned, found, expired and
unseen are for the agent to conclude, as are the gauges, which no process could tell alone.

Each message gets a header, HEADER: when it was sent, and to which queue. Times are measured with
it; a message without one has no `wait`.
"""

import atexit
import socket
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import celery
from celery import Celery, signals
from celery.exceptions import Reject

from celery_statsd.errors import ConfigError
from celery_statsd.events import epoch
from celery_statsd.log import Log
from celery_statsd.sinks import sink_from
from celery_statsd.sinks.base import Sink
from celery_statsd.turnstile import Row, Turnstile

HEADER = "celery_statsd"
"""A header of each message: [sent (epoch seconds), queue], and, from a worker to the process that
runs the task, when it was received."""

STARTED = "celery_statsd_started"
"""An attribute of a task's request: when it started (monotonic seconds)."""

OUTSIDE = frozenset({"TimeLimitExceeded", "WorkerLostError", "Terminated"})
"""Failures the worker tells of a process that cannot; of one attempt, it may tell several."""

MOST_ENDED = 1000
"""Attempts ended from outside that are remembered, so that none is counted twice."""

TIMED = ("succeeded", "failed", "retried")
"""The ends that have a runtime, by the catalogue."""

UID = "celery-statsd"


FINAL_REJECTION_FAILS = tuple(map(int, celery.__version__.split(".")[:2])) >= (5, 7)
"""Whether Celery tells a rejection without requeueing as a failure, as it does from 5.7 on."""

Sinks = str | Sink | Iterable[str | Sink]


def instrument(  # noqa: PLR0913
    app: Celery,
    sink: Sinks = "statsd://127.0.0.1:8125",
    *,
    prefix: str = "celery",
    name: str = "default",
    flush_interval: float = 10.0,
    log_level: str = "warning",
) -> "Instrument":
    """Count what happens to tasks in this process, and in those that are forked from it.

    `sink` is an address, a sink (for tests: `celery_statsd.sinks.memory.MemorySink()`), or several;
    `name` is the cluster's in the metrics, as the setting `app`; `flush_interval` is in seconds.
    Celery's signals are the process's: of several apps in it all are counted.

    Raises ConfigError for what cannot be. Nothing is raised from then on.
    """
    if not isinstance(app, Celery):
        raise ConfigError("app", f"{type(app).__name__} is no Celery app", "give the app itself")
    if not 0 < flush_interval < float("inf"):
        problem = f"{flush_interval!r} is no length of time"
        raise ConfigError("flush_interval", problem, "give a number of seconds")
    if Instrument.installed is not None:
        raise ConfigError("app", "this process is instrumented already", "call it once")
    places = [sink] if isinstance(sink, str | Sink) else list(sink)
    for place in places:
        _judge(place)
    host = socket.gethostname().partition(".")[0]
    turnstile = Turnstile(
        lambda: [sink_from(place) if isinstance(place, str) else place for place in places],
        Log(log_level),
        prefix=prefix,
        app=name,
        host=host,
        interval=flush_interval,
    )
    return Instrument(turnstile)


class Instrument:
    """Receivers of Celery's signals, connected while `installed`, that note rows at `turnstile`."""

    installed: "Instrument | None" = None

    def __init__(self, turnstile: Turnstile) -> None:
        self._turnstile = turnstile
        self._worker: str | None = None
        self._ended: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._receivers = list(self._guarded())
        for signal, receiver in self._receivers:
            signal.connect(receiver, weak=False, dispatch_uid=UID)
        atexit.register(turnstile.close)
        Instrument.installed = self

    def flush(self) -> None:
        """Send at once what has added up: for tests, and before a process replaces itself."""
        self._turnstile.flush()

    def remove(self) -> None:
        """Hear no more signals, and send what is left."""
        for signal, _ in self._receivers:
            signal.disconnect(dispatch_uid=UID)
        atexit.unregister(self._turnstile.close)
        self._turnstile.close()
        Instrument.installed = None

    def _guarded(self) -> Iterator[tuple[Any, Callable[..., None]]]:
        for signal, act in (
            (signals.before_task_publish, self._publishing),
            (signals.after_task_publish, self._published),
            (signals.task_received, self._received),
            (signals.task_unknown, self._unknown),
            (signals.task_revoked, self._revoked),
            (signals.task_prerun, self._started),
            (signals.task_success, self._succeeded),
            (signals.task_retry, self._retried),
            (signals.task_failure, self._failed),
            (signals.task_postrun, self._finished),
            (signals.worker_process_shutdown, self._ending),
            (signals.worker_shutdown, self._ending),
        ):
            yield signal, _quiet(act, self._turnstile)

    def _publishing(self, headers: dict[str, Any], declare: Any = None, **_: Any) -> None:
        queue = declare[-1].name if declare else None
        headers[HEADER] = [time.time(), queue]

    def _published(
        self, sender: str, headers: dict[str, Any], routing_key: str = "", **_: Any
    ) -> None:
        queue = _stamp(headers.get(HEADER))[1] or routing_key or None
        self._turnstile.note(Row("sent", sender, queue=queue))

    def _received(self, request: Any, **_: Any) -> None:
        facts = request.request_dict
        facts[HEADER] = [*_stamp(facts.get(HEADER))[:2], time.time()]
        self._worker = request.hostname
        for word in ("failed", "revoked"):
            self._ended.pop((request.id, word), None)
        self._turnstile.note(Row("received", request.name, request.hostname))

    def _unknown(self, sender: Any, name: str, **_: Any) -> None:
        worker = getattr(sender, "hostname", None)
        self._turnstile.note(Row("failed", name, worker, error="NotRegistered"))
        self._turnstile.note(Row("on_arrival", name, worker))

    def _revoked(self, sender: Any, request: Any, **_: Any) -> None:
        if not self._ends(request.id, "revoked"):
            return
        name, worker = request.shadow or sender.name, request.hostname or self._worker
        self._turnstile.note(Row("revoked", name, worker))
        if _stamp(getattr(request, HEADER, None))[2] is None:
            self._turnstile.note(Row("on_arrival", name, worker))

    def _started(self, task: Any, **_: Any) -> None:
        request, now = task.request, time.time()
        setattr(request, STARTED, time.monotonic())
        sent, queue, received = _stamp(getattr(request, HEADER, None))
        eta = epoch(request.eta) if isinstance(request.eta, str) else None
        times = tuple(_waits(now, sent, received, eta))
        name, worker = _who(task, request)
        self._turnstile.note(Row("started", name, worker, queue, times=times))

    def _succeeded(self, sender: Any, **_: Any) -> None:
        self._end("succeeded", sender, sender.request)

    def _retried(self, sender: Any, request: Any, **_: Any) -> None:
        self._end("retried", sender, request)

    def _failed(self, sender: Any, task_id: str, exception: BaseException, **_: Any) -> None:
        if isinstance(exception, Reject):
            return  # told by `_finished`, which knows more of it
        error = type(exception).__name__
        if error in OUTSIDE and not self._ends(task_id, "failed"):
            return
        request = sender.request
        if request.id == task_id:
            self._end("failed", sender, request, error)
        else:  # told by the worker, of a task that ran elsewhere
            self._turnstile.note(Row("failed", sender.name, self._worker, error=error))

    def _finished(self, task: Any, state: str | None, retval: Any, **_: Any) -> None:
        if state == "IGNORED":
            self._end("unreported", task, task.request)
        elif state == "REJECTED" and FINAL_REJECTION_FAILS and not retval.requeue:
            self._end("failed", task, task.request, "Reject")
        elif state == "REJECTED":
            # A message that was acknowledged early cannot be given back, and nobody tells.
            self._end("rejected" if task.acks_late else "unreported", task, task.request)

    def _ending(self, **_: Any) -> None:
        self._turnstile.close()

    def _end(self, metric: str, task: Any, request: Any, error: str | None = None) -> None:
        began = getattr(request, STARTED, None)
        times: tuple[tuple[str, float], ...] = ()
        if began is not None and metric in TIMED:
            times = (("runtime", time.monotonic() - began),)
        name, worker = _who(task, request)
        self._turnstile.note(Row(metric, name, worker, error=error, times=times))

    def _ends(self, task_id: str, word: str) -> bool:
        """Whether that is told of the attempt for the first time."""
        if (task_id, word) in self._ended:
            return False
        self._ended[task_id, word] = None
        if len(self._ended) > MOST_ENDED:
            self._ended.popitem(last=False)
        return True


def _quiet(act: Callable[..., None], turnstile: Turnstile) -> Callable[..., None]:
    """`act`, as a receiver of a signal that raises nothing."""

    def receiver(**facts: Any) -> None:
        try:
            act(**facts)
        except Exception as error:
            turnstile.fault(error)

    return receiver


def _judge(place: str | Sink) -> None:
    """Raise ConfigError for a sink that cannot add up what several processes tell."""
    address = sink_from(place).address if isinstance(place, str) else place.address
    if address.scheme.startswith("graphite"):
        problem = f"{address.text}: each process would overwrite what the others tell"
        raise ConfigError("sink", problem, "send to a StatsD")


def _who(task: Any, request: Any) -> tuple[str, str | None]:
    """The task's name, and the worker that runs it; None where a client runs it itself."""
    return request.shadow or task.name, None if request.is_eager else request.hostname


def _stamp(header: Any) -> tuple[float | None, str | None, float | None]:
    """When a message was sent, to which queue, and when it was received, as far as it tells."""
    if not isinstance(header, list | tuple):
        return None, None, None
    sent, queue, received = [*header, None, None, None][:3]
    return sent, queue, received


def _waits(
    now: float, sent: float | None, received: float | None, eta: float | None
) -> Iterator[tuple[str, float]]:
    """The times up to a start, as the catalogue has them."""
    if sent is not None:
        yield "wait", now - max(sent, eta or 0.0)
    if received is not None:
        held = now - max(received, eta or 0.0)
        yield "prefetch", held
        if eta is not None:
            yield "lateness", held
