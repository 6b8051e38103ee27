"""The load: what a busy cluster sends, the same at each run, and the manifest of what is in it.

Tasks of a skewed popularity are published by clients and run by workers; many are in flight at any
time, so what follows in the stream is hardly ever of one task. Field sets and their order are those
of Celery 5.7 (celery.events.event.Event, celery.worker.request, celery.app.amqp), sizes those of a
small web shop: about 300 bytes of JSON an event, 1 kB with a traceback.

| shape     | messages                                                                    |
| --------- | --------------------------------------------------------------------------- |
| `single`  | every event its own: gevent and eventlet workers, and clients               |
| `mixed`   | workers' task events in lists as long as captured ones, all else singly     |
| `multi24` | lists of 24, the dispatcher's limit; clients do not tell of publications    |

Every task ends before the stream does (unless `settle` is off), every start is in a heartbeat's
`processed`, and timestamps grow in stream time: `rate` events a second from `begin` on.
"""

import json
import random
import uuid
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

Event = dict[str, Any]

BEGIN = 1_780_000_000.0
"""Epoch seconds of the first event, unless another is asked for."""

FREQ = 2.0
"""Seconds between two heartbeats of a worker, Celery's own."""

LIMIT = 24
"""Events in one list at most: celery.events.dispatcher.EventDispatcher's buffer_limit."""

CAPTURED: Mapping[int, int] = {
    1: 21, 2: 18, 3: 16, 4: 16, 5: 13, 6: 7, 7: 4, 8: 2, 10: 2, 17: 1,
}  # fmt: skip
"""Lengths of the lists of a busy prefork worker of four children, and how many in 100 have them."""

ENDS = {"succeeded": 92, "failed": 4, "retried": 4}
"""How attempts end, in 100."""

ERRORS = ("ValueError", "KeyError", "ConnectionError", "shop.errors.OutOfStock")
QUEUES = ("default", "mails", "orders", "reports", "media")
_AREAS = ("orders", "mails", "billing", "search", "media", "stock", "reports", "users")
_VERBS = ("create", "send_confirmation", "refresh", "export_daily", "resize", "notify", "sync")


@dataclass(frozen=True, slots=True)
class Shape:
    """How events become messages: the lengths of workers' lists with their weights (none: all
    events go singly), and whether clients tell of their publications."""

    lengths: Mapping[int, int]
    sent: bool = True


SHAPES: Mapping[str, Shape] = {
    "single": Shape({}),
    "mixed": Shape(CAPTURED),
    "multi24": Shape({LIMIT: 1}, sent=False),
}


@dataclass(frozen=True, slots=True)
class Message:
    """One message: its body, its routing key, the `hostname` of its header, how many events it
    holds, and when it is published, in epoch seconds of the stream."""

    body: bytes
    routing_key: str
    hostname: str
    events: int
    at: float


@dataclass(slots=True)
class Manifest:
    """What is in a stream. `tasks` and `workers` count each stage by task and by worker; `errors`
    the failures by the exception's class."""

    messages: int = 0
    events: int = 0
    bytes: int = 0
    heartbeats: int = 0
    stages: Counter[str] = field(default_factory=Counter)
    tasks: Counter[tuple[str, str]] = field(default_factory=Counter)
    workers: Counter[tuple[str, str]] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)

    def counters(self) -> dict[tuple[str, str, str], int]:
        """The counters a consumer must come to, by family, entity and metric."""
        rows = {("cluster", "all", stage): n for stage, n in self.stages.items()}
        rows |= {("task", *key): n for key, n in self.tasks.items()}
        rows |= {("worker", *key): n for key, n in self.workers.items()}
        return rows | {("exception", error, "failed"): n for error, n in self.errors.items()}


@dataclass(frozen=True, slots=True)
class Load:
    """A stream as a whole: its messages, and what is in it."""

    shape: str
    messages: Sequence[Message]
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Plan:
    """What a stream is made of. `events` is about how many (heartbeats and what it takes to end
    all tasks come on top); `running` is how many tasks run at any time, `waiting` how many wait in
    their queues beside those that are just on their way."""

    shape: str = "mixed"
    events: int = 100_000
    tasks: int = 50
    workers: int = 20
    clients: int = 8
    running: int = 125
    waiting: int = 0
    rate: float = 2000.0
    begin: float = BEGIN
    seed: int = 20
    settle: bool = True


def load(plan: Plan) -> Load:
    """The stream of `plan`, all in memory."""
    stream = Stream(plan)
    return Load(plan.shape, tuple(stream.messages()), stream.manifest)


class _Process:
    """A process that sends events: a name, a pid, a Lamport clock of its own."""

    def __init__(self, hostname: str, pid: int) -> None:
        self.hostname = hostname
        self.pid = pid
        self._clock = 0

    def says(self, type_: str, at: float, fields: Event) -> Event:
        self._clock += 1
        head = {"hostname": self.hostname, "utcoffset": 0.0, "pid": self.pid, "clock": self._clock}
        return {**head, **fields, "timestamp": at, "type": type_}


class _Worker(_Process):
    """A worker: what it holds back for its next list, and what its heartbeats count."""

    def __init__(self, number: int) -> None:
        host = f"web{number // 4 + 1}"
        super().__init__(f"w{number % 4 + 1}@{host}.shop.example", 1000 + 37 * number)
        self.child = _Process(f"gen{self.pid + 5}@{host}", self.pid + 5)
        self.held: list[Event] = []
        self.length = 0
        self.active = 0
        self.processed = 0


class _Task:
    """A task on its way: `step` is what comes next."""

    __slots__ = ("by", "name", "number", "retries", "started", "step", "text", "uuid", "worker")

    def __init__(self, uuid_: str, name: str, number: int, by: _Process, step: str) -> None:
        self.uuid = uuid_
        self.name = name
        self.number = number
        self.by = by
        self.step = step
        self.retries = 0
        self.started = 0.0
        self.text = f"({number}, 'EUR', 'customer-{number % 9973}')"
        self.worker: _Worker | None = None


class Stream:
    """The messages of a plan, one after the other; `manifest` grows with them."""

    def __init__(self, plan: Plan) -> None:
        self.manifest = Manifest()
        self._plan = plan
        self._shape = SHAPES[plan.shape]
        self._dice = random.Random(plan.seed)
        self._names = names(plan.tasks)
        self._weights = list(accumulate(1.0 / (rank + 3) for rank in range(plan.tasks)))
        self._workers = [_Worker(number) for number in range(plan.workers)]
        self._clients = [
            _Process(f"gen{700 + number}@app{number % 3 + 1}", 700 + number)
            for number in range(plan.clients)
        ]
        self._lengths = list(self._shape.lengths)
        self._length_weights = list(accumulate(self._shape.lengths.values()))
        self._young: list[_Task] = []
        self._waiting: deque[_Task] = deque()
        self._running: list[_Task] = []
        self._number = 0
        self._now = plan.begin
        self._beat = 0

    def messages(self) -> Iterator[Message]:
        """All of them; once only."""
        for worker in self._workers:
            yield self._beaten(worker, "worker-online")
        while self.manifest.events < self._plan.events:
            yield from self._turn()
        while self._plan.settle and (self._young or self._waiting or self._running):
            yield from self._advance(self._young or self._let_in() or self._running)
        for worker in self._workers:
            yield from self._let_go(worker)
            yield self._beaten(worker, "worker-heartbeat")

    def heartbeat(self) -> Message:
        """The next one of the first worker; time goes on to the one after it."""
        message = self._beaten(self._workers[0], "worker-heartbeat")
        self._now += FREQ
        return message

    def _turn(self) -> Iterator[Message]:
        """One more event, and the heartbeats that are due."""
        while self._now >= self._plan.begin + self._beat * FREQ / len(self._workers):
            yield self._beaten(self._workers[self._beat % len(self._workers)], "worker-heartbeat")
            self._beat += 1
        while len(self._young) < 3 * min(self._plan.running, 125):
            self._young.append(self._publish())
        full = len(self._running) > self._plan.running
        yield from self._advance(self._running if full else self._young)

    def _let_in(self) -> list[_Task]:
        """All that wait are on their way."""
        self._young += self._waiting
        self._waiting.clear()
        return self._young

    def _advance(self, tasks: list[_Task]) -> Iterator[Message]:
        """The next event of any one of `tasks`."""
        place = self._dice.randrange(len(tasks))
        tasks[place], tasks[-1] = tasks[-1], tasks[place]
        task = tasks.pop()
        self._now += self._dice.uniform(0.2, 1.8) / self._plan.rate
        yield from getattr(self, f"_{task.step}")(task)

    def _publish(self) -> _Task:
        self._number += 1
        name = self._dice.choices(self._names, cum_weights=self._weights)[0]
        identity = str(uuid.UUID(int=self._dice.getrandbits(128), version=4))
        step = "sent" if self._shape.sent else "received"
        return _Task(identity, name, self._number, self._dice.choice(self._clients), step)

    def _sent(self, task: _Task) -> Iterator[Message]:
        queue = QUEUES[self._names.index(task.name) % len(QUEUES)]
        fields = {**_content(task), "queue": queue, "exchange": "", "routing_key": queue}
        self._note("sent", task)
        task.step = "received"
        self._waiting.append(task)
        if len(self._waiting) > self._plan.waiting:  # the first that came is the first to go
            self._young.append(self._waiting.popleft())
        event = task.by.says("task-sent", self._now, fields)
        yield self._message(event, "task.sent", task.by.hostname, 1)

    def _received(self, task: _Task) -> Iterator[Message]:
        task.worker = self._dice.choice(self._workers)
        task.step = "started"
        self._young.append(task)
        return self._tell(task, "received", _content(task))

    def _started(self, task: _Task) -> Iterator[Message]:
        worker = _of(task)
        worker.active += 1
        worker.processed += 1
        task.started = self._now
        task.step = "ended"
        self._running.append(task)
        return self._tell(task, "started", {"uuid": task.uuid})

    def _ended(self, task: _Task) -> Iterator[Message]:
        worker = _of(task)
        worker.active -= 1
        end = self._dice.choices(tuple(ENDS), weights=tuple(ENDS.values()))[0]
        if end == "succeeded":
            runtime = max(0.001, self._now - task.started - 0.001)
            result = f"{{'order': {task.number}, 'state': 'done'}}"
            fields = {"uuid": task.uuid, "result": result, "runtime": runtime}
        else:
            fields = {"uuid": task.uuid, **self._error(task, end)}
        if end == "retried":
            task.retries, task.by = task.retries + 1, worker.child
            task.step = "sent" if self._shape.sent else "received"
            self._young.append(task)
        return self._tell(task, end, fields)

    def _error(self, task: _Task, end: str) -> Event:
        error = self._dice.choice(ERRORS)
        if end == "failed":
            self.manifest.errors[error.rpartition(".")[2]] += 1
        told = f"order {task.number} cannot be done"
        traceback = f"{_STACK}{error}: {told}\n"
        return {"exception": f"{error.rpartition('.')[2]}('{told}')", "traceback": traceback}

    def _tell(self, task: _Task, stage: str, fields: Event) -> Iterator[Message]:
        """An event of a worker: at once, or in its next list."""
        worker = _of(task)
        self._note(stage, task)
        self.manifest.workers[worker.hostname, stage] += 1
        event = worker.says(f"task-{stage}", self._now, fields)
        if not self._lengths:
            yield self._message(event, f"task.{stage}", worker.hostname, 1)
            return
        worker.held.append(event)
        if not worker.length:
            lengths = self._dice.choices(self._lengths, cum_weights=self._length_weights)
            worker.length = lengths[0]
        if len(worker.held) == worker.length:
            yield from self._let_go(worker)

    def _let_go(self, worker: _Worker) -> Iterator[Message]:
        events, worker.held, worker.length = worker.held, [], 0
        if events:
            yield self._message(events, "task.multi", worker.hostname, len(events))

    def _beaten(self, worker: _Worker, type_: str) -> Message:
        self.manifest.heartbeats += 1
        fields = {
            "freq": FREQ, "active": worker.active, "processed": worker.processed,
            "loadavg": [0.51, 0.47, 0.4], "sw_ident": "py-celery", "sw_ver": "5.7.0",
            "sw_sys": "Linux",
        }  # fmt: skip
        event = worker.says(type_, self._now, fields)
        return self._message(event, type_.replace("-", "."), worker.hostname, 1)

    def _note(self, stage: str, task: _Task) -> None:
        self.manifest.stages[stage] += 1
        self.manifest.tasks[task.name, stage] += 1

    def _message(self, told: Event | list[Event], key: str, hostname: str, events: int) -> Message:
        body = json.dumps(told).encode()
        manifest = self.manifest
        manifest.messages += 1
        manifest.events += events
        manifest.bytes += len(body)
        return Message(body, key, hostname, events, self._now)


def heartbeats(begin: float) -> Iterator[Message]:
    """Those of one worker that has nothing to do, from `begin` on, for ever."""
    stream = Stream(Plan(workers=1, begin=begin))
    while True:
        yield stream.heartbeat()


def names(number: int) -> list[str]:
    """As many task names, the most popular first."""
    pairs = [f"shop.{area}.tasks.{verb}" for verb in _VERBS for area in _AREAS]
    return [
        pairs[n] if n < len(pairs) else f"{pairs[n % len(pairs)]}_{n // len(pairs)}"
        for n in range(number)
    ]


def _of(task: _Task) -> _Worker:
    assert task.worker is not None
    return task.worker


def _content(task: _Task) -> Event:
    """What is told of a task when it is published and when it is received."""
    return {
        "uuid": task.uuid, "name": task.name, "args": task.text,
        "kwargs": "{'locale': 'de_DE', 'dry_run': False}", "root_id": task.uuid, "parent_id": None,
        "retries": task.retries, "eta": None, "expires": None,
    }  # fmt: skip


_STACK = """Traceback (most recent call last):
  File "/srv/shop/venv/lib/python3.11/site-packages/celery/app/trace.py", line 585, in trace_task
    R = retval = fun(*args, **kwargs)
                 ^^^^^^^^^^^^^^^^^^^^
  File "/srv/shop/venv/lib/python3.11/site-packages/celery/app/trace.py", line 858, in __call__
    return self.run(*args, **kwargs)
           ^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/srv/shop/orders/tasks.py", line 87, in create
    order = gateway.reserve(number, currency=currency, customer=customer)
            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/srv/shop/orders/gateway.py", line 41, in reserve
    raise error
"""
