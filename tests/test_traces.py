"""The recorded traces of real workers against what their task bodies and signals counted.

Everything is compared to the unit. Where the truth and the events speak of different things, or
Celery tells an end in a way of its own, a named row below says which, and why.
"""

import random
from collections import Counter
from typing import NamedTuple

import pytest

from celery_statsd.pipeline import Pipeline
from tests.bodies import Event
from tests.traces import NAMES, Message, Sums, delayed, merged_anew, messages, replay, truth

Counts = Counter[tuple[str, str]]
"""By task and metric."""


class Fate(NamedTuple):
    """How an attempt ends for Celery, by how its body ended: the first row that fits is it.

    `before` and `since` bound the versions; `error` is what a failure is counted under; `twice`:
    the end is told two times.
    """

    task: str
    body: str
    metric: str
    why: str
    error: str = ""
    before: float = 9.9
    since: float = 0.0
    twice: bool = False


FATES = (
    Fate("wl.hard", "killed", "failed", "5.7 tells a hard limit twice", "TimeLimitExceeded",
         since=5.7, twice=True),
    Fate("wl.hard", "killed", "failed", "the hard time limit", "TimeLimitExceeded"),
    Fate("wl.nap", "killed", "revoked", "3.1, 4.4 tell a termination twice",
         before=5.0, twice=True),
    Fate("wl.nap", "killed", "revoked", "terminated"),
    Fate("wl.late", "killed", "returned", "its worker was killed; acks_late: it ran once more"),
    Fate("wl.sleepy", "killed", "lost", "its worker was killed; acknowledged early: it is gone"),
    Fate("wl.late_lost", "SIGKILL", "failed", "3.1 knows no reject_on_worker_lost",
         "WorkerLostError", before=4.0),
    Fate("wl.late_lost", "SIGKILL", "rejected", "reject_on_worker_lost gives it back"),
    Fate("wl.suicide", "SIGKILL", "failed", "its process died", "WorkerLostError"),
    Fate("wl.requeue_once", "Reject", "unreported", "3.1 has no task-rejected", before=4.0),
    Fate("wl.requeue_once", "Reject", "rejected", "given back to the broker"),
    Fate("wl.reject", "Reject", "unreported", "3.1 has no task-rejected", before=4.0),
    Fate("wl.reject", "Reject", "rejected", "acks_late: to the dead letters", before=5.7),
    Fate("wl.reject", "Reject", "failed", "5.7 tells failed, then rejected", "Reject", twice=True),
    Fate("wl.reject_early", "Reject", "unreported", "acknowledged early: no word", before=5.7),
    Fate("wl.reject_early", "Reject", "failed", "5.7 says failed", "Reject"),
    Fate("wl.ignore", "Ignore", "unreported", "no event follows an Ignore"),
    Fate("wl.swap", "replace", "unreported", "replaced: only what replaces it tells an end"),
    Fate("wl.manual_retry", "Retry", "retried", "self.retry"),
)  # fmt: skip


class Correction(NamedTuple):
    """Where what happened and what was told differ in one trace."""

    trace: str
    task: str
    metric: str
    amount: int
    why: str


CORRECTIONS = (
    Correction("redis-threads-lossy-56", "wl.noop", "started", -85, "the dispatcher's race"),
    Correction("redis-threads-lossy-56", "wl.noop", "succeeded", -6, "the dispatcher's race"),
    Correction("redis-threads-lossy-56", "wl.noop", "unreported", 6, "no end came of these"),
    Correction("rmq-reconnect-56", "wl.sleepy", "succeeded", -1, "told to the lost connection"),
    Correction("rmq-reconnect-56", "wl.sleepy", "unreported", 1, "no end came of it"),
    Correction("rmq-reconnect-56", "wl.late", "succeeded", -1, "told to the lost connection"),
    Correction("rmq-reconnect-56", "wl.late", "unreported", 1, "no end came of it"),
    Correction("rmq-kill-restart-57", "wl.add", "expired", 3, "RabbitMQ drops what expired"),
    Correction("redis-kill-restart-57", "wl.add", "expired", 3, "nobody took them in their time"),
)

STARTS_UNHEARD = {"redis-threads-lossy-56": 85, "redis-gap-57": 90, "redis-nosent-57": 24}
"""Where starts were lost; elsewhere only those of `wl.silent` are missing, by its own wish."""

TIMERS = ("wait", "prefetch", "runtime")

SHADOW = "Report: daily/EU"
"""What `wl.add` is called in some receipts; its bodies count as `wl.add`."""


class Truth:
    """What a trace's truth says the agent must count."""

    def __init__(self, name: str) -> None:
        told = truth(name)
        self.name = name
        self.celery = float(told["celery"])
        self.rows: Counter[tuple[str, str, str, str]] = Counter()
        for kind, rows in told["counts"].items():
            for row in rows:
                self.rows[kind, row["task"], row["queue"], row["detail"]] += row["n"]
        for what, ends in told["executed"].items():
            task, _, queue = what.partition("|")
            self.rows["killed", task, queue, "killed"] += ends["killed"]
        self.by_worker = self.of("worker_start")
        for mark, sign in (("before", 1), ("during", -1)):  # nobody listened between the marks
            for row, number in told.get("marks", {}).get(mark, {}).items():
                self.rows[tuple(row.split("|"))] += sign * number
        if name == "redis-nosent-57":  # no task-sent at all; q.beta's worker runs without -E
            for row in list(self.rows):
                if row[0] == "published" or row[2] == "q.beta":
                    del self.rows[row]

    def of(self, kind: str, place: int = 3) -> Counter[str]:
        """The numbers of one kind, by detail (3), queue (2) or task (1)."""
        found: Counter[str] = Counter()
        for row, number in self.rows.items():
            if row[0] == kind and number:
                found[row[place]] += number
        return found

    def fate(self, task: str, body: str) -> Fate:
        """How an attempt ended whose body ended so."""
        for fate in FATES:
            if (fate.task, fate.body) == (task, body) and fate.since <= self.celery < fate.before:
                return fate
        return Fate(task, body, "failed", "an exception like any other", body)

    def ends(self) -> list[tuple[Fate, int]]:
        """The ends of the bodies that did not return, but for retries of `Flake`."""
        rows = [
            (self.fate(task, detail), number)
            for (kind, task, _, detail), number in self.rows.items()
            if kind in ("raise", "killed")
        ]
        again = self.of("retry", 1)
        return [*rows, (self.fate("wl.flaky", "Flake"), -again["wl.flaky"])]

    def counts(self) -> Counts:
        """All counters of all tasks."""
        counts: Counts = Counter()
        kinds = {"published": "sent", "start": "started", "return": "succeeded"}
        for kind, metric in kinds.items():
            for task, number in self.of(kind, 1).items():
                counts[task, metric] += number
        counts["wl.flaky", "retried"] = self.of("retry", 1)["wl.flaky"]
        for fate, number in self.ends():
            counts[fate.task, fate.metric] += number
        shadowed = self.rows_of_shadow()
        for metric in ("started", "succeeded"):
            counts["wl.add", metric] -= shadowed
            counts[SHADOW, metric] += shadowed
        self._unstarted(counts)
        for correction in CORRECTIONS:
            if correction.trace == self.name:
                counts[correction.task, correction.metric] += correction.amount
        for task, metric in list(counts):
            if task == "wl.silent" and metric != "sent":  # send_events=False
                del counts[task, metric]
        return +counts

    def rows_of_shadow(self) -> int:
        """How many tasks were received under their shadow name (3.1 knows none)."""
        return self.of("received", 1)[SHADOW]

    def _unstarted(self, counts: Counts) -> None:
        """Receipts, and the ends of what never started: unregistered, revoked, given back."""
        received, revoked = self.of("received", 1), self.unstarted_revoked()
        for task, number in self.of("unknown", 1).items():
            counts[task, "on_arrival"] = counts[task, "failed"] = number
        for task in {task for task, metric in counts if metric == "started"}:
            taken = received[task]
            if self.celery < 4.0:  # no such signal: what was revoked was held for its ETA
                taken = counts[task, "started"] + revoked[task]
            given_up = taken - counts[task, "started"] - revoked[task]
            counts[task, "received"] = taken
            counts[task, "revoked"] += revoked[task]
            counts[task, "returned"] += max(0, given_up)
            counts[task, "on_arrival"] += max(0, -given_up)

    def unstarted_revoked(self) -> Counter[str]:
        """Tasks revoked or expired before they could start."""
        found: Counter[str] = Counter()
        for (kind, task, _, detail), number in self.rows.items():
            if kind == "revoked" and detail != "terminated":
                found[task] += number
        return found

    def queues(self) -> dict[str, int]:
        """Publications by queue."""
        queues = self.of("published", 2)
        if self.celery < 4.0:  # task-sent of a retry names the default queue, wherever it went
            again = self.of("retry", 2)
            queues = queues - again + Counter(celery=again.total())
        return dict(queues)

    def errors(self) -> Counter[str]:
        """Failures by the class of the exception."""
        errors = Counter(NotRegistered=sum(self.of("unknown").values()))
        for fate, number in self.ends():
            if fate.metric == "failed":
                errors[fate.error] += number
        return +errors

    @property
    def unheard(self) -> int:
        """Starts whose event never came."""
        return STARTS_UNHEARD.get(self.name) or self.of("start", 1)["wl.silent"]

    @property
    def second_ends(self) -> int:
        """Ends that were told once more."""
        return sum(number for fate, number in self.ends() if fate.twice)

    @property
    def never_taken(self) -> Counter[str]:
        """What seems to wait at the end, for no receipt is ever told of it."""
        silent = self.of("published", 1)["wl.silent"]
        ghosts = self.of("published", 1)["wl.ghost"] if self.celery < 4.0 else 0
        return +Counter({"wl.silent": silent, "wl.ghost": ghosts})


def assert_balanced(pipeline: Pipeline) -> None:
    """Nothing is missing at a flush."""
    assert pipeline.balance["difference"] == 0, pipeline.balance
    assert pipeline.ledger.balanced(), pipeline.ledger


def replayed(stream: list[Message] | tuple[Message, ...]) -> Sums:
    return replay(stream, Pipeline(), check=assert_balanced)


@pytest.mark.parametrize("name", NAMES)
def test_every_count_of_every_task_is_exact(name: str) -> None:
    """Each counter of each task is what its bodies and signals say, and `all` is their sum."""
    sums = replayed(messages(name))
    expected = Truth(name).counts()
    assert dict(expected) == sums.by("task")
    totals: Counter[tuple[str, str]] = Counter()
    for (_, metric), number in expected.items():
        totals["all", metric] += number
    assert dict(totals) == sums.by("cluster")


@pytest.mark.parametrize("name", NAMES)
def test_failures_are_told_by_class(name: str) -> None:
    """Each failure stands under the class its body raised, or that ended it from outside."""
    sums = replayed(messages(name))
    assert dict(Truth(name).errors()) == sums.of("exception", "failed")


@pytest.mark.parametrize("name", NAMES)
def test_publications_are_told_by_queue(name: str) -> None:
    """Each publication stands under its queue."""
    assert Truth(name).queues() == replayed(messages(name)).of("queue", "sent")


@pytest.mark.parametrize("name", NAMES)
def test_starts_by_worker_are_exact_and_so_is_the_loss(name: str) -> None:
    """What a worker's bodies entered is what it was seen to start and what the meter missed."""
    sums, told = replayed(messages(name)), Truth(name)
    started, lost = sums.of("worker", "started"), sums.of("worker", "events_lost")
    assert told.by_worker == Counter(started) + Counter(lost)
    assert told.unheard == sum(lost.values())
    assert told.unheard == sums.counters["agent", "localhost", "events_lost"]


@pytest.mark.parametrize("name", NAMES)
def test_the_end_leaves_nothing_in_flight(name: str) -> None:
    """Nothing is left reserved or running; what waits is what no event ever tells of."""
    gauges = replayed(messages(name)).gauges
    waiting = {
        task: value
        for (family, task, metric), value in gauges.items()
        if (family, metric) == ("task", "queued") and value
    }
    assert dict(Truth(name).never_taken) == waiting
    assert (0, 0) == (gauges["cluster", "all", "reserved"], gauges["cluster", "all", "running"])


@pytest.mark.parametrize("name", NAMES)
def test_each_event_has_its_bucket(name: str) -> None:
    """No event of a real worker is bad or doubled; custom ones and second ends are dropped."""
    pipeline = Pipeline()
    stream = messages(name)
    replay(stream, pipeline, check=assert_balanced)
    types = Counter(event["type"] for message in stream for event in message.events)
    custom = types["shop-order"] + types["task-progress"]
    dropped = Counter(custom=custom, second_end=Truth(name).second_ends)
    assert types.total() == pipeline.ledger.events
    assert (0, 0) == (pipeline.ledger.bad.total(), pipeline.ledger.doubled)
    assert +dropped == +pipeline.ledger.dropped


@pytest.mark.parametrize("name", NAMES)
def test_a_life_ends_once(name: str) -> None:
    """Each process that said it was there leaves or dies once; a reconnect is neither."""
    sums = replayed(messages(name))
    online = {m.sender for m in messages(name) if m.events[0]["type"] == "worker-online"}
    assert Counter(hostname for hostname, _ in online) == Counter(sums.of("worker", "offline"))
    reborn = {"w1@lab.example": 1} if "kill-restart" in name else {}
    assert reborn == sums.of("worker", "restarts")


@pytest.mark.parametrize("name", NAMES)
def test_every_start_and_end_is_timed(name: str) -> None:
    """A start has its wait and prefetch, an end its runtime, wherever the parts are known."""
    sums, told = replayed(messages(name)), Truth(name)
    counts = told.counts()
    for task in {task for task, _ in counts}:
        started = counts[task, "started"]
        ends = ("succeeded", "failed", "retried")
        ran = sum(counts[task, end] for end in ends) - told.of("unknown", 1)[task]
        times = {metric: sums.times.get(("task", task, metric), (0, 0.0))[0] for metric in TIMERS}
        wait = 0 if name == "redis-nosent-57" else started
        assert {"wait": wait, "prefetch": started, "runtime": ran} == times, task


def test_runtimes_are_those_the_bodies_took() -> None:
    """The sum of the runtimes is what the events say, to the millisecond."""
    stream = messages("redis-visibility-57")
    told = sum(event.get("runtime") or 0.0 for message in stream for event in message.events)
    count, total = replayed(stream).times["cluster", "all", "runtime"]
    assert (36, pytest.approx(1000.0 * told)) == (count, total)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", [name for name in NAMES if name != "redis-gap-57"])
def test_delays_between_processes_change_nothing(name: str, seed: int) -> None:
    """Each process late by up to 5 s of its own: not one counter of a task or worker moves.

    (The gap is left out: delayed events would come while nobody listened.)
    """
    calm = replayed(messages(name))
    late = replayed(delayed(messages(name), random.Random(seed), 5.0))
    for family in ("task", "worker", "exception", "queue"):
        assert calm.by(family) == late.by(family)


TIMED = {
    "redis-gap-57": "what follows from the silence of the gap",
    "redis-kill-restart-57": "deaths and expiries are told by our own clock",
    "rmq-kill-restart-57": "deaths are told by our own clock",
    "rmq-reconnect-56": "the end of what was cut off is concluded from silence",
}
"""Traces in which something is concluded from the time of arrival, and what."""


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", sorted(set(NAMES) - set(TIMED)))
def test_any_merge_of_the_processes_gives_the_same_totals(name: str, seed: int) -> None:
    """However far apart the processes are heard, half a minute at times: the same totals, but for
    what is concluded from silence (deaths, hence `offline`; TIMED)."""
    mixed = replayed(merged_anew(messages(name), random.Random(seed)))
    calm = replayed(messages(name))
    for family in ("cluster", "task", "exception", "queue"):
        assert calm.by(family) == mixed.by(family)


def at_once(events: list[Event]) -> Sums:
    """What these events come to when all of them are heard in one moment."""
    now = max(event["timestamp"] for event in events)
    moment = [Message(now, (event,)) for event in events]
    return replay(moment, Pipeline(), after=2.0, check=assert_balanced)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", NAMES)
def test_any_order_of_the_events_gives_the_same_totals(name: str, seed: int) -> None:
    """Even when a process is heard out of its order. What only that order tells is left out:
    heartbeats, which judge what came before them, which half of `wl.swap` ended, and which of the
    two words of `wl.reject` came first."""
    stream = [event for message in messages(name) for event in message.events]
    ordered = {e["uuid"] for e in stream if e.get("name") in ("wl.swap", "wl.reject")}
    kept = [e for e in stream if e["type"].startswith("task-") and e["uuid"] not in ordered]
    shuffled = random.Random(seed).sample(kept, len(kept))
    calm, mixed = at_once(kept), at_once(shuffled)
    for family in ("cluster", "task", "exception", "queue"):
        assert calm.by(family) == mixed.by(family)


@pytest.mark.parametrize("name", NAMES)
def test_doubled_events_change_nothing(name: str) -> None:
    """Every message delivered twice: all counters of the stream stay, the doubles are counted."""
    stream = messages(name)
    twice = [again for message in stream for again in (message, message._replace(away=False))]
    pipeline = Pipeline()
    sums = replay(twice, pipeline, check=assert_balanced)
    once = replayed(stream)
    for family in ("cluster", "task", "worker", "exception", "queue"):
        assert once.by(family) == sums.by(family)
    assert once.gauges["cluster", "all", "queued"] == sums.gauges["cluster", "all", "queued"]
    known = pipeline.ledger.events - pipeline.ledger.dropped["custom"]
    assert known == 2 * pipeline.ledger.doubled
