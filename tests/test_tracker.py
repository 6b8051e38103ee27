"""The tracker's laws: one outcome for each attempt, none twice, and what nobody tells concluded."""

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celery_statsd.events import OUTCOMES
from celery_statsd.queues import EXPIRY_GRACE, OVERTAKEN
from celery_statsd.task import LONGEST_HISTORY
from celery_statsd.tracker import MOST_NAMES, PROVISIONAL
from tests.bodies import (
    ENDS,
    NOON,
    UNRECEIVED,
    Process,
    client,
    iso,
    merged,
    patiently,
    streams,
)
from tests.scene import Scene

SEQUENCES = (
    # name, what is told in this order (of attempt n, @ a worker), the totals, second ends
    ("usual", "sent received started succeeded", "sent received started succeeded", 0),
    ("failure", "sent received started failed", "sent received started failed", 0),
    ("retry: the next is received before the end is told",
     "sent received started sent1 received1 retried started succeeded",
     "sent*2 received*2 started*2 retried succeeded", 0),
    ("retry, in the order of time",
     "sent received started retried sent1 received1 started succeeded",
     "sent*2 received*2 started*2 retried succeeded", 0),
    ("retry, on another worker",
     "sent received started sent1 received1@2 started@2 retried succeeded@2",
     "sent*2 received*2 started*2 retried succeeded", 0),
    ("retries exhausted", "sent received started sent1 received1 retried started failed",
     "sent*2 received*2 started*2 retried failed", 0),
    ("expired before receipt", "sent revoked", "sent on_arrival revoked", 0),
    ("expired while held for its ETA", "sent received revoked", "sent received revoked", 0),
    ("terminated", "sent received started terminated", "sent received started revoked", 0),
    ("terminated, told twice (4.4, 3.1)", "sent received started terminated terminated",
     "sent received started revoked", 1),
    ("terminated under gevent", "sent received started terminated succeeded",
     "sent received started revoked", 1),
    ("terminated under eventlet", "sent received started succeeded terminated",
     "sent received started succeeded", 1),
    ("Ignore", "sent received started", "sent received started", 0),
    ("Reject with requeue", "sent received started rejected received started succeeded",
     "sent received*2 started*2 rejected succeeded", 0),
    ("Reject without requeue (5.6)", "sent received started rejected",
     "sent received started rejected", 0),
    ("Reject without requeue (5.7)", "sent received started failed rejected",
     "sent received started failed", 1),
    ("not registered", "sent unregistered", "sent on_arrival failed", 0),
    ("hard time limit (5.7)", "sent received started failed failed",
     "sent received started failed", 1),
    ("its child died, rejected on worker lost",
     "sent received started rejected received started failed",
     "sent received*2 started*2 rejected failed", 0),
    ("cold shutdown", "sent received started cancelled", "sent received started returned", 0),
    ("redelivered to another worker",
     "sent received started received@2 started@2 succeeded succeeded@2",
     "sent received*2 started*2 succeeded*2", 0),
    ("redelivered to the same worker", "sent received started received started succeeded succeeded",
     "sent received*2 started*2 succeeded*2", 0),
    ("Broadcast", "received@2 sent received started started@2 succeeded@2 succeeded",
     "sent received*2 started*2 succeeded*2", 0),
    ("sent comes last", "received started succeeded sent", "sent received started succeeded", 0),
    ("started comes before received", "sent started received succeeded",
     "sent received started succeeded", 0),
    ("the end comes before all else", "succeeded started received sent",
     "sent received started succeeded", 0),
    ("no publication is told", "received started succeeded", "received started succeeded", 0),
    ("its start was lost", "sent received succeeded", "sent received succeeded", 0),
    ("its receipt was lost", "sent started succeeded", "sent found started succeeded", 0),
    ("only its end was heard", "failed", "found failed", 0),
    ("revoked, as far as we heard", "revoked", "on_arrival revoked", 0),
)  # fmt: skip

WORD = re.compile(r"([a-z]+)(\d?)(?:@(\d))?")
SPECIAL = {
    "terminated": ("revoked", {"terminated": True}),
    "unregistered": ("failed", {"exception": "NotRegistered('shop.pay')"}),
}


def totals(text: str) -> dict[str, int]:
    words = (word.partition("*") for word in text.split())
    return {word: int(number or 1) for word, _, number in words}


def told(scene: Scene, text: str) -> None:
    """Tell a sequence of SEQUENCES of one task."""
    processes = {"": Process(), "2": Process("w2@web2", 202), "sent": client()}
    for part in text.split():
        word, retries, place = WORD.fullmatch(part).groups()
        word, fields = SPECIAL.get(word, (word, {}))
        if word in ("sent", "received"):
            fields = {"retries": int(retries or 0)}
        who = processes["sent" if word == "sent" else place or ""]
        scene.now += 0.01
        scene.tell(getattr(who, word)("uuid", scene.now, **fields))


@pytest.mark.parametrize(
    ("text", "expected", "second_ends"),
    [row[1:] for row in SEQUENCES],
    ids=[row[0] for row in SEQUENCES],
)
def test_what_celery_tells_comes_to_one_outcome_for_each_attempt(text, expected, second_ends):
    """Each sequence that Celery is known to tell: its totals, and what is left in flight."""
    scene = Scene()
    told(scene, text)
    scene.wait(2)
    assert totals(expected) == scene.totals
    assert second_ends == scene.second_ends
    entered = sum(totals(expected).get(word, 0) for word in ("received", "on_arrival", "found"))
    ended = sum(totals(expected).get(outcome.word, 0) for outcome in OUTCOMES)
    assert entered - ended == sum(scene.in_flight.values())
    assert scene.recounted == scene.in_flight


def test_a_moment_is_told_once_and_with_all_that_is_known():
    """A change carries the set of moments told so far: a rule sees when its needs are met."""
    scene = Scene()
    told(scene, "succeeded started received sent")
    news = [(change.news.word, bin(change.told).count("1")) for change in scene.changes]
    assert [
        ("received", 1), ("started", 2), ("succeeded", 3), ("sent", 1), ("traced", 4),
    ] == news  # fmt: skip


def test_nothing_is_told_of_an_attempt_before_its_receipt():
    """The name comes with the receipt: until then, or PROVISIONAL seconds, nothing is counted."""
    scene, worker = Scene(), Process()
    scene.tell(worker.started("a", NOON), worker.succeeded("a", NOON + 0.1))
    assert {} == scene.totals
    scene.now += PROVISIONAL / 2
    scene.changes += scene.tracker.settle(scene.now)
    assert {} == scene.totals
    scene.tell(worker.received("a", NOON, name="shop.ship"))
    assert {"received": 1, "started": 1, "succeeded": 1} == scene.totals
    assert {"shop.ship"} == {change.of.name for change in scene.changes}


def test_the_last_look_waits_for_nothing():
    """`at_once` settles what a receipt might still have come for."""
    scene, worker = Scene(), Process()
    scene.tell(worker.started("a", NOON))
    scene.changes += scene.tracker.settle(NOON, at_once=True)
    assert {"found": 1, "started": 1} == scene.totals
    assert {("running", "unknown"): 1} == scene.in_flight
    assert 1 == scene.tracker.unmatched


def test_a_publication_names_what_has_no_receipt():
    """What was revoked before receipt stands under the name of its publication."""
    scene, worker = Scene(), Process()
    scene.tell(worker.revoked("a", NOON))
    scene.tell(client().sent("a", NOON, name="shop.ship", queue="q.ship"))
    scene.wait(2)
    named = {(c.news.word, c.of.name, c.of.queue) for c in scene.changes if c.news.word != "traced"}
    assert {(word, "shop.ship", "q.ship") for word in ("sent", "on_arrival", "revoked")} == named
    assert 0 == scene.tracker.unmatched


def test_a_replaced_task_leaves_its_first_half_running():
    """`self.replace` runs another task under the same uuid; the end is of that one."""
    scene, worker, other = Scene(), Process(), client()
    scene.tell(other.sent("a", NOON, name="swap"), worker.received("a", NOON, name="swap"))
    scene.tell(worker.started("a", NOON + 0.1))
    scene.tell(other.sent("a", NOON + 0.2, name="add"))
    scene.tell(worker.received("a", NOON + 0.2, name="add"), worker.started("a", NOON + 0.3))
    scene.tell(worker.succeeded("a", NOON + 0.5, runtime=0.2))
    assert {("running", "swap"): 1} == scene.in_flight
    assert ["add"] == [c.of.name for c in scene.changes if c.news.word == "succeeded"]


def test_a_shadow_name_stands_from_the_receipt_on():
    """A task sent under its own name and received under a shadow: each is counted as it says."""
    scene, worker = Scene(), Process()
    scene.tell(client().sent("a", NOON, name="add"), worker.received("a", NOON, name="Report: EU"))
    scene.tell(worker.started("a", NOON))
    assert {"sent": "add", "received": "Report: EU", "started": "Report: EU"} == {
        c.news.word: c.of.name for c in scene.changes if c.news.word != "traced"
    }
    assert {("running", "Report: EU"): 1} == scene.in_flight


def test_each_attempt_is_traced_to_its_own_publication():
    """The n-th retry was sent by the n-th publication, to the queue that one names."""
    scene, worker, other = Scene(), Process(), client()
    for retries in (0, 1, 2):
        scene.tell(worker.received("a", NOON + retries, retries=retries))
        scene.tell(worker.started("a", NOON + retries))
        scene.tell(worker.retried("a", NOON + retries))
    for retries in (2, 0, 1):
        queue = f"q{retries}"
        scene.tell(other.sent("a", NOON + retries, queue=queue, retries=retries))
    traced = {c.of.retries: c.of.queue for c in scene.changes if c.news.word == "traced"}
    assert {0: "q0", 1: "q1", 2: "q2"} == traced
    assert {} == scene.in_flight


def test_an_end_goes_to_the_attempt_that_began_when_it_says():
    """Two runs of one uuid in one process: a success tells by its runtime which of them ended."""
    scene, worker = Scene(), Process()
    for at in (0.0, 5.0):
        scene.tell(worker.received("a", NOON + at), worker.started("a", NOON + at))
    scene.tell(worker.succeeded("a", NOON + 7.0, runtime=7.0))
    ended = [change.of for change in scene.changes if change.news.word == "succeeded"]
    assert [NOON] == [attempt.started for attempt in ended]


# What nobody tells.


def test_a_warm_shutdown_gives_back_what_has_not_started():
    """Prefetched tasks of a worker that said goodbye are `returned` and wait in their queue again,
    until somebody receives them; what runs may still end."""
    scene, worker, other = Scene(), Process(), client()
    scene.tell(worker.online(NOON))
    for uuid in ("a", "b"):
        scene.tell(other.sent(uuid, NOON), worker.received(uuid, NOON))
    scene.tell(worker.started("a", NOON + 1), worker.offline(NOON + 1, 1, active=1))
    scene.wait(10)
    assert {("queued", "shop.pay"): 1, ("running", "shop.pay"): 1} == scene.in_flight
    assert 1 == scene.totals["returned"]
    scene.tell(worker.succeeded("a", NOON + 9))
    second = Process("w2@web2", 202)
    scene.tell(second.received("b", scene.now))
    scene.tell(second.started("b", scene.now), second.succeeded("b", scene.now))
    assert {} == scene.in_flight == scene.recounted
    assert totals("sent*2 received*3 started*2 succeeded*2 returned") == scene.totals


def test_a_killed_worker_loses_what_nobody_receives_again():
    """No goodbye: after `lost_after` seconds what it held is `lost`, but `returned` if another
    worker has received it since."""
    scene, worker = Scene(lost_after=30.0), Process()
    scene.tell(worker.online(NOON))
    for uuid in ("early", "late"):
        scene.tell(worker.received(uuid, NOON + 0.1), worker.started(uuid, NOON + 0.1))
    scene.tell(worker.beat(NOON + 1, 2, active=2))
    scene.wait(10)
    second = Process("w2@web2", 202)
    scene.tell(second.online(scene.now))
    soon = scene.now + 0.1
    scene.tell(second.received("late", soon), second.started("late", soon))
    scene.wait(20, (second, 1, 1))
    assert totals("received*3 started*3 returned") == scene.totals
    scene.wait(20, (second, 1, 1))
    assert totals("received*3 started*3 returned lost") == scene.totals
    assert {("running", "shop.pay"): 1} == scene.in_flight == scene.recounted


def test_what_was_given_up_and_speaks_again_is_found():
    """Counters only grow: the attempt that was told lost comes in once more, as `found`."""
    scene, worker = Scene(lost_after=5.0), Process()
    scene.tell(worker.online(NOON), worker.received("a", NOON), worker.started("a", NOON))
    scene.wait(20)
    assert totals("received started lost") == scene.totals
    scene.tell(worker.succeeded("a", scene.now))
    scene.wait(2)
    assert totals("received started lost found succeeded") == scene.totals
    assert ["shop.pay"] * 2 == [
        change.of.name for change in scene.changes if change.news.word in ("found", "succeeded")
    ]
    assert {} == scene.in_flight == scene.recounted


def test_a_start_that_comes_after_all_is_of_another_attempt():
    """What was told lost unstarted has its end: a late start begins what is found, with its end."""
    scene, worker = Scene(lost_after=5.0), Process()
    scene.tell(worker.online(NOON), worker.received("a", NOON))
    scene.wait(20)
    assert totals("received lost") == scene.totals
    scene.tell(worker.beat(scene.now), worker.started("a", scene.now + 0.1))
    scene.wait(2)
    assert {("running", "shop.pay"): 1} == scene.in_flight == scene.recounted
    scene.tell(worker.succeeded("a", scene.now))
    assert totals("received lost found started succeeded") == scene.totals


def test_a_name_that_was_told_stays():
    """What was found without a name is `unknown` to its end, though its publication turns up: its
    gauges stand under that."""
    scene, worker = Scene(), Process()
    scene.tell(worker.started("a", NOON))
    scene.wait(2)
    scene.tell(client().sent("a", NOON, name="shop.pay"))
    assert {("running", "unknown"): 1} == scene.in_flight == scene.recounted
    scene.tell(worker.succeeded("a", scene.now))
    assert {} == scene.in_flight
    ends = [change.of.name for change in scene.changes if change.news.word == "succeeded"]
    assert ["unknown"] == ends


def test_an_idle_worker_shows_that_a_task_ended_without_a_word():
    """Ignore, an early Reject, a lost event: the heartbeat that says "nothing runs", and the one
    behind it, make the attempt `unreported`."""
    scene, worker = Scene(), Process()
    scene.tell(worker.online(NOON), worker.received("a", NOON), worker.started("a", NOON + 0.1))
    scene.tell(worker.beat(NOON + 2, 1, active=1))
    scene.wait(1)
    assert {("running", "shop.pay"): 1} == scene.in_flight
    scene.wait(8, (worker, 1, 0))
    assert totals("received started unreported") == scene.totals
    assert {} == scene.in_flight == scene.recounted


def test_a_publication_that_expired_at_the_broker_waits_no_more():
    """RabbitMQ drops it without a word: EXPIRY_GRACE seconds after `expires` it is `expired`."""
    scene = Scene()
    scene.tell(client().sent("a", NOON, expires=iso(NOON + 10)))
    scene.wait(10 + EXPIRY_GRACE)
    assert {("queued", "shop.pay"): 1} == scene.in_flight
    scene.wait(1)
    assert {"sent": 1, "expired": 1} == scene.totals
    assert {} == scene.in_flight == scene.recounted


def test_what_was_received_in_time_does_not_expire():
    """`expires` is of the publication only."""
    scene, worker = Scene(), Process()
    scene.tell(client().sent("a", NOON, expires=iso(NOON + 10)), worker.received("a", NOON + 1))
    scene.wait(60)
    assert {"sent": 1, "received": 1} == scene.totals


def test_a_publication_its_queue_has_left_behind_is_unseen():
    """A task without events (send_events=False) does not wait for ever: when its queue delivers
    what was sent OVERTAKEN seconds later, it is `unseen`; other queues tell nothing."""
    scene, worker, other = Scene(), Process(), client()
    scene.tell(other.sent("silent", NOON), other.sent("elsewhere", NOON, queue="q2"))
    later = NOON + OVERTAKEN + 1
    scene.wait(later - NOON)
    assert {"sent": 2} == scene.totals
    scene.tell(other.sent("a", later), worker.received("a", later))
    scene.wait(1)
    assert 1 == scene.totals["unseen"]
    assert {("queued", "shop.pay"): 1, ("reserved", "shop.pay"): 1} == scene.in_flight
    assert scene.in_flight == scene.recounted


def test_memory_is_bounded_and_forgetting_is_counted():
    """Past the ceiling the oldest tasks end as `unreported`; should they speak they are `found`."""
    scene, worker = Scene(ceiling=2), Process()
    for uuid in "abcd":
        scene.tell(client().sent(uuid, NOON))
        scene.tell(worker.received(uuid, NOON), worker.started(uuid, NOON))
    scene.wait(1)
    assert (2, 2) == (len(scene.tracker), scene.tracker.forgotten)
    assert {("running", "shop.pay"): 2} == scene.in_flight == scene.recounted
    scene.tell(worker.succeeded("a", NOON + 1))
    scene.wait(2)
    assert totals("sent*4 received*4 started*4 unreported*2 found succeeded") == scene.totals
    assert 1 == scene.tracker.unmatched


def test_a_flood_of_names_is_no_flood_of_memory():
    """Names of which nothing waits or runs are dropped when there are too many."""
    scene, worker, other = Scene(), Process(), client()
    for number in range(MOST_NAMES + 100):
        uuid, name = f"{number}", f"task{number}"
        scene.tell(other.sent(uuid, NOON, name=name, queue=name))
        scene.tell(worker.received(uuid, NOON, name=name), worker.started(uuid, NOON))
        if number:
            scene.tell(worker.succeeded(uuid, NOON))
    scene.wait(1)
    assert {("running", "task0"): 1} == scene.in_flight
    assert 1 == len(scene.tracker.in_flight)


def test_a_task_that_is_retried_for_years_stays_small_and_exact():
    """Each retry is received before the last one's end, so the task is never over."""
    scene, worker, other, rounds = Scene(), Process(), client(), 500
    for retries in range(rounds):
        scene.now += 1
        scene.tell(other.sent("a", scene.now, retries=retries))
        scene.tell(worker.received("a", scene.now, retries=retries))
        if retries:
            scene.tell(worker.retried("a", scene.now))
        scene.tell(worker.started("a", scene.now))
    (task,) = scene.tracker._live.values()
    assert LONGEST_HISTORY >= max(len(task.attempts), len(task.sendings))
    assert totals(f"sent*{rounds} received*{rounds} started*{rounds} retried*{rounds - 1}") == (
        scene.totals
    )
    assert {("running", "shop.pay"): 1} == scene.in_flight == scene.recounted


@patiently
@given(streams((*ENDS, "expired", "runs", *UNRECEIVED), beats=True), st.integers(1, 4), st.data())
def test_a_ceiling_bends_no_gauge_and_no_balance(stream, ceiling, data):
    """However little may be kept, what is in flight is what a recount finds, and the entered are
    the ended and those in flight."""
    scene = Scene(ceiling=ceiling)
    for event in merged(data.draw, stream):
        scene.now += 0.2
        scene.tell(event)
        if data.draw(st.booleans()):
            scene.changes += scene.tracker.settle(scene.now)
        terms = Counter(scene.totals)
        entered = sum(terms[word] for word in ("received", "on_arrival", "found"))
        ended = sum(terms[outcome.word] for outcome in OUTCOMES)
        held = sum(n for (stage, _), n in scene.in_flight.items() if stage != "queued")
        assert entered == ended + held
        assert scene.recounted == scene.in_flight


@patiently
@given(streams((*ENDS, "expired", "runs", *UNRECEIVED), beats=True), st.data())
def test_in_flight_equals_a_recount_of_the_attempts(stream, data):
    """The gauges are moved with each event, and equal what the tasks themselves say."""
    scene = Scene()
    for event in merged(data.draw, stream):
        scene.now += 0.01
        scene.tell(event)
        assert scene.recounted == scene.in_flight
        held = sum(life.reserved + life.running for life in scene.roster)
        assert held == sum(n for (stage, _), n in scene.in_flight.items() if stage != "queued")
