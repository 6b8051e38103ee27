"""A Celery application whose tasks end in every way a task can end, and write down that they did.

`WORKLOAD_BROKER` and `WORKLOAD_TRUTH` say where it works and writes: run a worker with
`celery -A tests.servers.workload worker -E`, a client with `python -m tests.servers.client`.
"""

import json
import os
import time
from importlib import import_module
from typing import Any

from celery import Celery, Task, signals
from celery.exceptions import Ignore, Reject

from tests.servers.truth import Recorder

BROKER, TRUTH = "WORKLOAD_BROKER", "WORKLOAD_TRUTH"

INSTRUMENT = "WORKLOAD_INSTRUMENT"
"""The arguments of `instrument`, as JSON, for processes that shall count inside."""

ANY, FORK = "q.any", "q.fork"
"""The queues: FORK is for what only the prefork pool can do, time limits and terminate."""

record = Recorder(os.environ[TRUTH])


class OutOfStockError(Exception):
    """A failure of the application's own class."""


class TryLaterError(Exception):
    """What retries are made for."""


class Witness(Task):
    """A task that writes down how its body is entered and left.

    `run` is autoretry's wrapper where there is one, so what is raised here is what the tracer
    sees: Retry, or the last exception.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        about = {"task": self.name, "id": self.request.id}
        record.write("entered", **about, worker=self.request.hostname)
        try:
            result = self.run(*args, **kwargs)
        except BaseException as error:
            record.write("raised", **about, error=type(error).__name__)
            raise
        record.write("returned", **about)
        return result


app = Celery("workload", broker=os.environ[BROKER], task_cls=Witness)
app.conf.update(
    broker_connection_retry_on_startup=True,
    task_default_queue=ANY,
    task_ignore_result=True,
    task_send_sent_event=True,
    worker_cancel_long_running_tasks_on_connection_loss=False,
)

if INSTRUMENT in os.environ:  # an old Celery has no celery_statsd beside it
    import_module("celery_statsd").instrument(app, **json.loads(os.environ[INSTRUMENT]))


@app.task(name="shop.orders.create")
def create(seconds: float = 0.0) -> float:
    """Succeeds after a while."""
    time.sleep(seconds)
    return seconds


@app.task(name="report: daily/EU@2")
def report() -> None:
    """Succeeds; sent with an ETA. Its name holds what no metric's name may hold."""


FAILURES: dict[str, type[Exception]] = {
    kind.__name__: kind for kind in (ValueError, KeyError, ZeroDivisionError, OutOfStockError)
}


@app.task(name="shop.orders.fail")
def fail(kind: str) -> None:
    """Raises an exception of the class `kind`."""
    raise FAILURES[kind]("as asked")


RETRIES = 2


@app.task(
    name="mail.send",
    bind=True,
    autoretry_for=(TryLaterError,),
    max_retries=RETRIES,
    default_retry_delay=0.1,
)
def send(self: Task, failures: int) -> None:
    """Retried by itself: succeeds after `failures`, or fails when they are more than RETRIES."""
    if self.request.retries < failures:
        raise TryLaterError(f"attempt {self.request.retries}")


@app.task(name="bank.transfer", bind=True, max_retries=RETRIES)
def transfer(self: Task, failures: int) -> None:
    """The same, retried by hand."""
    if self.request.retries < failures:
        raise self.retry(exc=TryLaterError("by hand"), countdown=0.1)


@app.task(name="cache.ignore")
def ignore() -> None:
    """Ends without an ending."""
    raise Ignore


@app.task(name="cache.reject", acks_late=True)
def reject() -> None:
    """Rejects its message, which is not yet acknowledged."""
    raise Reject("not for me", requeue=False)


@app.task(name="cache.reject_early")
def reject_early() -> None:
    """Rejects its message too late: it was acknowledged at the start."""
    raise Reject("not for me either", requeue=False)


@app.task(name="shop.orders.swap", bind=True)
def swap(self: Task) -> None:
    """Lets another task take its place, under its uuid."""
    raise self.replace(create.si(0.0))


@app.task(name="media.encode")
def encode(seconds: float) -> None:
    """Runs until someone ends it."""
    time.sleep(seconds)


@app.task(name="media.hard", time_limit=1)
def hard() -> None:
    """Ended by its hard time limit."""
    time.sleep(30)


@app.task(name="media.soft", soft_time_limit=1)
def soft() -> None:
    """Ended by its soft time limit."""
    time.sleep(30)


@app.task(name="never-started")
def never() -> None:
    """Expires or is revoked before it starts."""


@signals.after_task_publish.connect
def _sent(sender: str, headers: dict[str, Any], routing_key: str, **_: Any) -> None:
    record.write("sent", task=sender, id=headers["id"], queue=routing_key)


@signals.task_received.connect
def _received(request: Any, **_: Any) -> None:
    record.write("received", task=request.name, id=request.id)


@signals.task_revoked.connect
def _revoked(sender: Task, request: Any, terminated: bool, expired: bool, **_: Any) -> None:
    how = "terminated" if terminated else "expired" if expired else "revoked"
    record.write("revoked", task=sender.name, id=request.id, how=how)


@signals.task_unknown.connect
def _unknown(name: str, id: str, **_: Any) -> None:  # noqa: A002 (the signal's own word)
    record.write("unknown", task=name, id=id)


@signals.task_success.connect
def _success(sender: Task, **_: Any) -> None:
    record.write("success", task=sender.name, id=sender.request.id)


@signals.task_failure.connect
def _failure(sender: Task, task_id: str, exception: Exception, **_: Any) -> None:
    record.write("failure", task=sender.name, id=task_id, error=type(exception).__name__)


@signals.worker_ready.connect
def _ready(sender: Any, **_: Any) -> None:
    record.write("ready", worker=sender.hostname)
