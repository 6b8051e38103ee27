"""What waits in the queues: when it is overtaken, when it has expired, and that nothing else
stays in memory."""

from celery_statsd.events import Sent, decode
from celery_statsd.queues import EXPIRY_GRACE, MOST_KNOWN, OVERTAKEN, SPARE, Queues
from celery_statsd.task import Sending, Task
from tests.bodies import NOON, body, client, iso

CLIENT = client()


def sending(at: float = NOON, queue: str = "q", expires: float | None = None) -> Sending:
    """One publication, made `at`."""
    text = None if expires is None else iso(expires)
    (event,) = decode(body(CLIENT.sent("a", at, queue=queue, expires=text))).events
    assert isinstance(event, Sent)
    return Sending(Task("a"), event)


def test_the_first_of_a_queue_are_overtaken_by_one_sent_much_later() -> None:
    """All that were sent so much earlier, in whatever order they came; other queues stay."""
    queues = Queues()
    early, other, late = sending(), sending(queue="r"), sending(NOON + OVERTAKEN)
    for waiting in (early, other, late):
        queues.put(waiting)
    queues.deliver(sending(NOON + OVERTAKEN))
    assert [] == queues.overtaken()
    queues.deliver(sending(NOON + OVERTAKEN + 1))
    queues.deliver(sending(NOON))
    assert [early] == queues.overtaken()


def test_who_is_taken_is_not_overtaken() -> None:
    """It does not wait any more."""
    queues, waiting = Queues(), [sending(), sending()]
    for each in waiting:
        queues.put(each)
    queues.take(waiting[0])
    queues.deliver(sending(NOON + OVERTAKEN + 1))
    assert [waiting[1]] == queues.overtaken()


def test_what_a_queue_has_delivered_survives_a_restart() -> None:
    """So that what waits there is overtaken then, too."""
    queues, successor, waiting = Queues(), Queues(), sending()
    queues.put(waiting)
    queues.deliver(sending(NOON + OVERTAKEN + 1))
    successor.load(queues.dump())
    successor.put(waiting)
    assert [waiting] == successor.overtaken()


def test_a_million_queues_leave_nothing_behind() -> None:
    """Of a queue in which nothing waits the name alone is known, and of so many names the last."""
    queues, most = Queues(), MOST_KNOWN
    for number in range(most + 5):
        waiting = sending(queue=f"q{number}")
        queues.put(waiting)
        queues.deliver(sending(queue=f"q{number}"))
        queues.take(waiting)
        queues.deliver(waiting)
    assert [] == queues.overtaken()
    assert {} == queues.dump()["delivered"] == queues._lines
    assert (most, f"q{most + 4}", 5) == (len(queues.known), [*queues.known][-1], queues.forgotten)
    assert "q4" not in queues.known


def test_what_still_waits_past_its_time_has_expired() -> None:
    """With some grace, and once."""
    queues, waiting, taken = Queues(), sending(expires=NOON + 9), sending(expires=NOON + 9)
    for each in (waiting, taken, sending()):
        queues.put(each)
    queues.take(taken)
    taken.taken = True
    assert [] == list(queues.expired(NOON + 9 + EXPIRY_GRACE))
    assert [waiting] == list(queues.expired(NOON + 10 + EXPIRY_GRACE))
    assert [] == list(queues.expired(NOON + 11 + EXPIRY_GRACE))


def test_what_is_taken_is_not_remembered_until_it_would_expire() -> None:
    """A cluster whose tasks expire after a day must not cost a day's tasks."""
    queues, kept = Queues(), sending(expires=NOON + 86_400)
    queues.put(kept)
    for _ in range(3 * SPARE):
        taken = sending(expires=NOON + 86_400)
        queues.put(taken)
        queues.take(taken)
        taken.taken = True
        assert [] == list(queues.expired(NOON))
    assert SPARE + 2 >= len(queues._expiring)
    assert [kept] == list(queues.expired(NOON + 2 * 86_400))


def test_the_names_of_queues_are_remembered() -> None:
    """Those that tasks were sent to, whatever waits there now; not what stands for no name."""
    queues, successor = Queues(), Queues()
    for name in ("mails", "etl", "bcast", "unknown"):
        waiting = sending(queue=name)
        queues.put(waiting)
        queues.take(waiting)
    queues.overtaken()
    successor.load(queues.dump())
    assert ["mails", "etl"] == [*queues.known] == [*successor.known]


def test_the_oldest_that_waits_is_told_by_queue() -> None:
    """Where any waits."""
    queues = Queues()
    for at, name in ((2, "a"), (1, "a"), (3, "b")):
        queues.put(sending(NOON + at, queue=name))
    gone = sending(queue="c")
    queues.put(gone)
    queues.take(gone)
    assert {"a": NOON + 1, "b": NOON + 3} == queues.oldest()
