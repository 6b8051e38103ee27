"""A steady, mixed day's work of a small shop: the tasks, and who publishes them.

What becomes of a publication is settled by its ordinal, not by chance, so that each kind of end
is seen soon, and in every run.
"""

import heapq
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count, islice
from typing import Any

from celery import Celery

RETRY_AFTER = 0.5
"""Seconds from a failed attempt to the next one."""

LONGEST = 2.5
"""Seconds that what was published last may need to end: retries and held tasks included."""

_MOST_RETRIES = 2


class CardDeclined(Exception):
    """The bank said no: fails at once."""


class ConnectionDropped(Exception):
    """The other side hung up: tried again."""


class GatewayTimeout(Exception):
    """The payment gateway took too long: tried again."""


class BadPicture(Exception):
    """Not a picture: fails at once."""


MISHAPS = {
    error.__name__: error for error in (CardDeclined, ConnectionDropped, GatewayTimeout, BadPicture)
}
PASSING = (ConnectionDropped, GatewayTimeout)
"""The exceptions after which a task is tried again."""


@dataclass(frozen=True, slots=True)
class Every:
    """One of each `nth` publications: its first `times` attempts raise `error`."""

    nth: int
    error: type[Exception]
    times: int = 1


@dataclass(frozen=True, slots=True)
class Job:
    """A task and how it is published: `rate` times a second, `burst` at once.

    A body runs from `fastest` to `slowest` seconds. With a `delay` (seconds) a publication has an
    ETA: each `recalled_nth` is revoked while it waits for that, each `stale_nth` expires
    meanwhile, each `dead_nth` has expired before it is received.
    """

    name: str
    rate: float
    fastest: float
    slowest: float
    mishaps: tuple[Every, ...] = ()
    burst: int = 1
    delay: float = 0.0
    recalled_nth: int = 0
    stale_nth: int = 0
    dead_nth: int = 0


JOBS = (
    Job(
        "shop.tasks.send_mail", 5.0, 0.02, 0.12,
        (Every(8, ConnectionDropped), Every(31, ConnectionDropped, 3)),
    ),
    Job(
        "shop.tasks.bill_card", 3.0, 0.08, 0.3,
        (Every(7, CardDeclined), Every(11, GatewayTimeout, 2)),
    ),
    Job("shop.tasks.remind", 2.0, 0.01, 0.04, delay=1.2, recalled_nth=4, dead_nth=9),
    Job("stock.tasks.reserve", 9.0, 0.002, 0.008),
    Job("search.tasks.index", 2.5, 0.04, 0.15, delay=0.6, stale_nth=5),
    Job("media.tasks.resize", 0.4, 0.1, 0.35, (Every(6, BadPicture),), burst=8),
    Job("reports.daily", 0.5, 0.5, 0.9),
)  # fmt: skip


def app_of(jobs: tuple[Job, ...]) -> Celery:
    """A Celery application with a task for each of `jobs`, on a broker in this process's memory."""
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.update(
        broker_transport_options={"polling_interval": 0.02},  # seconds; kombu's own is 1
        broker_connection_retry_on_startup=True,  # not to be warned about it
        task_default_queue="shop",
        task_ignore_result=True,
        task_send_sent_event=True,
        worker_send_task_events=True,
    )
    for job in jobs:
        app.task(
            name=job.name,
            bind=True,
            shared=False,  # no task of any other app
            autoretry_for=PASSING,
            retry_kwargs={"max_retries": _MOST_RETRIES, "countdown": RETRY_AFTER},
        )(_body)
    return app


def _body(task: Any, seconds: float, mishap: str | None, times: int) -> None:
    time.sleep(seconds)
    if mishap and task.request.retries < times:
        raise MISHAPS[mishap]("so it goes")


class Publisher(threading.Thread):
    """Publishes `jobs` with `app` until it is stopped."""

    def __init__(self, app: Celery, jobs: tuple[Job, ...]) -> None:
        super().__init__(name="demo publisher", daemon=True)
        self._app = app
        self._jobs = jobs
        self._dice = random.Random(1)
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._stopping = threading.Event()

    def run(self) -> None:
        """Publish each job at its own rate, and revoke what is to be revoked when it is time."""
        for job in self._jobs:
            self._do_in(0.5 / job.rate, partial(self._keep_publishing, job, count(1)))
        while not self._stopping.wait(max(0.0, self._due[0][0] - time.monotonic())):
            heapq.heappop(self._due)[2]()

    def stop(self) -> None:
        """Publish nothing more; waits for what is being published."""
        self._stopping.set()
        if self.is_alive():
            self.join()

    def _do_in(self, seconds: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._due, (time.monotonic() + seconds, next(self._order), action))

    def _keep_publishing(self, job: Job, numbers: Iterator[int]) -> None:
        self._do_in(1 / job.rate, partial(self._keep_publishing, job, numbers))
        for number in islice(numbers, job.burst):
            self._publish(job, number)

    def _publish(self, job: Job, number: int) -> None:
        seconds = self._dice.uniform(job.fastest, job.slowest)
        mishap = next((every for every in job.mishaps if _is_nth(number, every.nth)), None)
        arguments = (seconds, mishap.error.__name__, mishap.times) if mishap else (seconds, None, 0)
        sent = self._app.tasks[job.name].apply_async(arguments, **_options(job, number))
        if _is_nth(number, job.recalled_nth):
            self._do_in(job.delay / 2, partial(self._app.control.revoke, sent.id))


def _options(job: Job, number: int) -> dict[str, float]:
    options = {"countdown": job.delay} if job.delay else {}
    if _is_nth(number, job.stale_nth):
        options["expires"] = job.delay / 2
    if _is_nth(number, job.dead_nth):
        options["expires"] = -1.0
    return options


def _is_nth(number: int, nth: int) -> bool:
    """Whether `number` is one of each `nth`: one in the middle, so that not all come at once."""
    return bool(nth) and number % nth == nth // 2
