"""A task as far as it is seen: which event is of which sending and which attempt."""

import pytest

from celery_statsd.choice import ENDED, RECEIPT
from celery_statsd.events import Moment, TaskEvent, decode
from celery_statsd.life import Life
from celery_statsd.task import LONGEST_HISTORY, Attempt, Sending, Task
from tests.bodies import NOON, Event, Process, body, client, iso

WORKER, OTHER, CLIENT = Process(), Process("w2@web2", 202), client()


def heard(told: Event) -> TaskEvent:
    (event,) = decode(body(told)).events
    return event


class Story:
    """A task, and the lives that tell of it."""

    def __init__(self) -> None:
        self.task = Task("a")
        self._lives: dict[str, Life] = {}

    def tell(self, told: Event, now: float = NOON) -> Attempt | None:
        """What the tracker does of an event: the attempt it went to, None for a second end."""
        event = heard(told)
        life = self._lives.setdefault(event.hostname, Life(event))
        if self.task.tells_again(event, life):
            return None
        attempt = self.task.attempt_of(event, life, now)
        attempt.learn(event)
        return attempt

    def send(self, **fields: object) -> Sending:
        """A publication."""
        sending = Sending(self.task, heard(CLIENT.sent("a", NOON, **fields)))  # type: ignore[arg-type]
        self.task.sendings.append(sending)
        return sending


def test_a_sending_knows_what_was_told():
    """Its queue, its retries, and the times in their text."""
    sending = Story().send(queue="q1", retries=2, eta=iso(NOON + 5), expires=iso(NOON + 9))
    assert ("q1", 2, NOON, NOON + 5, NOON + 9, "app1") == (
        sending.queue, sending.retries, sending.sent, sending.eta, sending.expires, sending.host,
    )  # fmt: skip
    assert not sending.taken


@pytest.mark.parametrize(
    ("queue", "label"),
    [("bcast.1f0a", "bcast"), ("", "unknown"), (None, "unknown"), ("q.a", "q.a")],
)
def test_a_queue_is_a_bounded_label(queue, label):
    """A Broadcast queue has a new name in every client process."""
    assert label == Story().send(queue=queue).queue


def test_moments_of_one_attempt_meet_in_any_order():
    """Received, started and succeeded of one process are one attempt, however they come."""
    story = Story()
    end, receipt = WORKER.succeeded("a", NOON + 2), WORKER.received("a", NOON)
    (attempt,) = {story.tell(told) for told in (end, receipt, WORKER.started("a", NOON + 1))}
    assert (NOON, NOON + 1, NOON + 2) == (attempt.received, attempt.started, attempt.ended)
    assert Moment.SUCCEEDED is attempt.outcome
    assert attempt.over
    assert [attempt] == story.task.attempts


def test_another_process_is_another_attempt():
    """Two workers that tell of one uuid each run it."""
    story = Story()
    first, second = story.tell(WORKER.received("a", NOON)), story.tell(OTHER.received("a", NOON))
    assert first is not second
    assert second is story.tell(OTHER.started("a", NOON))
    assert first.lacks(Moment.STARTED)


def test_a_moment_that_is_known_is_of_another_attempt():
    """A second receipt in one process: the visibility timeout, a retry."""
    story = Story()
    first, second = story.tell(WORKER.received("a", NOON)), story.tell(WORKER.received("a", NOON))
    assert first is not second


def test_a_start_goes_to_one_that_waits():
    """Not to one that ended without having started."""
    story = Story()
    revoked = story.tell(WORKER.received("a", NOON))
    story.tell(WORKER.revoked("a", NOON))
    waiting = story.tell(WORKER.received("a", NOON))
    assert waiting is story.tell(WORKER.started("a", NOON))
    assert Moment.REVOKED is revoked.outcome


def test_a_revocation_goes_to_one_that_waits_a_termination_to_one_that_runs():
    """`terminated` tells which of two attempts of one process it is."""
    for terminated in (False, True):
        story = Story()
        running = story.tell(WORKER.received("a", NOON))
        story.tell(WORKER.started("a", NOON))
        waiting = story.tell(WORKER.received("a", NOON))
        ended = story.tell(WORKER.revoked("a", NOON, terminated=terminated))
        assert ended is (running if terminated else waiting)


def test_second_ends_are_told_from_ends():
    """The same end told once more is none; of an attempt that runs it is one."""
    story = Story()
    story.tell(WORKER.received("a", NOON))
    story.tell(WORKER.started("a", NOON))
    assert story.tell(WORKER.failed("a", NOON + 1)) is not None
    assert None is story.tell(WORKER.failed("a", NOON + 1))
    assert None is story.tell(WORKER.rejected("a", NOON + 1))
    story.tell(WORKER.received("a", NOON + 2))
    story.tell(WORKER.started("a", NOON + 3))
    assert story.tell(WORKER.failed("a", NOON + 4)) is not None
    assert story.tell(OTHER.failed("a", NOON + 4)) is not None


def test_what_a_receipt_and_an_end_tell():
    """The receipt names the task; the end says how, and what it raised."""
    told = WORKER.received("a", NOON, name="shop.ship", retries=3, eta=iso(NOON + 7))
    attempt = Story().tell(told)
    assert ("shop.ship", 3, NOON + 7) == (attempt.name, attempt.retries, attempt.eta)
    assert "KeyError" == Story().tell(WORKER.failed("a", NOON)).error
    assert 2.5 == Story().tell(WORKER.succeeded("a", NOON, runtime=2.5)).runtime
    assert "gone" == Story().tell(WORKER.failed("a", NOON, exception="NotRegistered('gone')")).name


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (WORKER.revoked("a", NOON), True),
        (WORKER.failed("a", NOON, exception="NotRegistered('shop.gone')"), True),
        (WORKER.failed("a", NOON), False),
        (WORKER.succeeded("a", NOON), False),
    ],
)
def test_what_ends_without_a_receipt(told, expected):
    """Revoked, expired and unregistered tasks are not received; what else ends had been."""
    attempt = Story().tell(told)
    assert expected is attempt.ends_on_arrival
    assert not attempt.known & RECEIPT
    assert attempt.known & ENDED


def test_a_retry_finds_its_own_publication():
    """By its number; a publication that is late finds its attempt the same way."""
    story = Story()
    zeroth, first = story.send(retries=0), story.send(retries=1)
    attempt = story.tell(WORKER.received("a", NOON, retries=1))
    assert first is story.task.sending_of(attempt)
    assert [attempt] == story.task.attempts_of(first)
    assert [] == story.task.attempts_of(zeroth)


def test_a_redelivery_shares_the_publication():
    """One publication, two receipts: both came of it."""
    story = Story()
    sending = story.send()
    for worker in (WORKER, OTHER):
        attempt = story.tell(worker.received("a", NOON))
        assert sending is story.task.sending_of(attempt)
        sending.taken = True


def test_a_redelivery_under_a_shadow_name_shares_it_too():
    """The receipts do not name what was sent: their likes tell."""
    story = Story()
    sending = story.send(name="add")
    first = story.tell(WORKER.received("a", NOON, name="Report"))
    first.sending = story.task.sending_of(first)
    assert sending is first.sending
    sending.taken = True
    second = story.tell(OTHER.received("a", NOON, name="Report"))
    assert sending is story.task.sending_of(second)


def test_received_again_is_of_the_same_message():
    """A later receipt by anybody; a retry is another message."""
    story = Story()
    first = story.tell(WORKER.received("a", NOON), NOON)
    assert not first.received_again
    story.tell(WORKER.received("a", NOON + 1, retries=1), NOON + 1)
    assert not first.received_again
    story.tell(OTHER.received("a", NOON + 2), NOON + 2)
    assert first.received_again


def test_a_task_is_over_when_nothing_waits_or_runs():
    """Neither a publication in its queue nor an attempt."""
    story = Story()
    sending = story.send()
    assert not story.task.over
    sending.taken = True
    assert story.task.over
    story.tell(WORKER.received("a", NOON))
    assert not story.task.over
    story.tell(WORKER.revoked("a", NOON))
    assert story.task.over


def test_what_is_remembered_of_one_task_is_bounded():
    """A task that is retried for years keeps its last attempts, and those that still run."""
    story = Story()
    running = story.tell(OTHER.received("a", NOON))
    running.sending = story.send()
    running.sending.taken = True
    story.tell(OTHER.started("a", NOON))
    for retries in range(1000):
        story.send(retries=retries).taken = True
        story.tell(WORKER.received("a", NOON, retries=retries))
        story.tell(WORKER.started("a", NOON))
        story.tell(WORKER.retried("a", NOON))
        story.task.trim()
    assert running in story.task.attempts
    assert running.sending in story.task.sendings
    assert len(story.task.attempts) <= LONGEST_HISTORY + 1
    assert len(story.task.sendings) <= LONGEST_HISTORY
    assert 999 == story.task.attempts[-1].retries
