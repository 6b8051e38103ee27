"""Lanes: what came since the last folding reaches every family of its rule, once; what waits and
runs is what came in less what went out; and nothing is kept of an empty lane."""

import msgspec
import pytest

from celery_statsd.aggregator import Aggregator
from celery_statsd.events import Moment, decode
from celery_statsd.lanes import TIMERS, VOICES, Lane, Lanes, speakers
from celery_statsd.life import Index, Life
from celery_statsd.metric import Batch
from celery_statsd.names import Names
from celery_statsd.passage import Passage
from celery_statsd.queues import OVERTAKEN, Queues
from celery_statsd.rules import COUNTERS
from celery_statsd.rules.task import LONGEST
from celery_statsd.task import Stage
from tests.bodies import NOON, Process, body

VOICES_OF = {(moment, TIMERS[place].metric): voice for voice, (moment, place) in enumerate(VOICES)}
WAIT = VOICES_OF[Moment.STARTED, "wait"]
RUNTIME = VOICES_OF[Moment.SUCCEEDED, "runtime"]


def life_of(hostname: str = "w1@web1") -> Life:
    (event,) = decode(body(Process(hostname).online(NOON))).events
    return Life(event)


def adding() -> Aggregator:
    return Aggregator(Names("celery", "default", "all", ()), COUNTERS)


def counted(batch: Batch) -> dict[tuple[str, str, str], int]:
    return {(s.family, s.entity, s.metric): n for s, n in batch.counters if n}


def timed(batch: Batch) -> dict[tuple[str, str, str], tuple[float, ...]]:
    return {(s.family, s.entity, s.metric): t.values for s, t in batch.timers}


def work(lane: Lane, number: int = 1, life: Life | None = None) -> None:
    """So many of its tasks come, wait for a quarter of a second, and succeed after a half."""
    for _ in range(number):
        one = Passage(lane, "app1", NOON, life=life, received=NOON, started=NOON + 0.25)
        one.ended, one.runtime = NOON + 0.75, 0.5
        lane.received += 1
        lane.started.append(one)
        lane.succeeded.append(one)
    if life:
        life.received, life.started = life.received + number, life.started + number
        life.succeeded += number


def test_what_came_is_counted_once_in_each_family() -> None:
    """However often it is folded; the second time only what is new."""
    lanes, made, life = Lanes(Queues()), adding(), life_of()
    lane = lanes.of("shop.pay", "q")
    lanes.enrol(life)
    work(lane, 2, life)
    lanes.fold(made)
    work(lane, 1, life)
    lanes.fold(made)
    batch = made.drain(NOON)

    whose = {("cluster", "all"), ("task", "shop.pay"), ("worker", "w1@web1")}
    words = ("received", "started", "succeeded")
    assert {(*who, word): 3 for who in whose for word in words} == counted(batch)
    assert {
        ("cluster", "all", "runtime"): (500.0,) * 3,
        ("task", "shop.pay", "runtime"): (500.0,) * 3,
        ("cluster", "all", "wait"): (250.0,) * 3,
        ("task", "shop.pay", "wait"): (250.0,) * 3,
        ("queue", "q", "wait"): (250.0,) * 3,
        ("cluster", "all", "prefetch"): (250.0,) * 3,
        ("task", "shop.pay", "prefetch"): (250.0,) * 3,
    } == timed(batch)
    assert 3 == lanes.totals[Moment.SUCCEEDED]


def test_a_sending_is_of_a_queue_and_of_no_worker() -> None:
    """And of its task."""
    lanes, made = Lanes(Queues()), adding()
    lanes.of("shop.pay", "q").sent += 1
    lanes.fold(made)
    whose = {("cluster", "all"), ("task", "shop.pay"), ("queue", "q")}
    assert {(*who, "sent"): 1 for who in whose} == counted(made.drain(NOON))


def test_failures_are_counted_by_their_class() -> None:
    """Once."""
    lanes, made = Lanes(Queues()), adding()
    lane = lanes.of("shop.pay", None)
    lane.received = 3
    lane.gathered.update(started=3, failed=3)
    lane.errors.update(KeyError=2, ValueError=1)
    lanes.fold(made)
    lanes.fold(made)
    found = {key: n for key, n in counted(made.drain(NOON)).items() if key[0] == "exception"}
    assert {("exception", "KeyError", "failed"): 2, ("exception", "ValueError", "failed"): 1} == (
        found
    )


def test_what_is_in_flight_is_what_came_in_less_what_went_out() -> None:
    """A stage in which nothing ever was is not told; one that is empty again is, as 0."""
    lanes = Lanes(Queues())
    lane, sendings = lanes.of("shop.pay", "q"), lanes.of("shop.pay", "r")
    assert [] == list(lanes.in_flight())
    lane.received += 5
    assert [(Stage.RESERVED, "shop.pay", 5)] == list(lanes.in_flight())
    lane.gathered.update(started=3, succeeded=1)
    lane.handed_running, lane.handed_reserved = 1, 2
    sendings.waiting, sendings.oldest = 4, NOON
    assert {(Stage.RESERVED, 0), (Stage.RUNNING, 1), (Stage.QUEUED, 4)} == {
        (stage, number) for stage, _, number in lanes.in_flight()
    }


def test_what_clocks_made_absurd_is_clamped_and_counted() -> None:
    """Negative is 0, endless is left out, the longest honest one is kept."""
    lanes = Lanes(Queues())
    values = [-1.0, 0.0, LONGEST, 2 * LONGEST, float("inf")]
    assert [0.0, 0.0, LONGEST * 1000] == lanes.milliseconds(values)
    assert 3 == lanes.clamped
    assert [] == lanes.milliseconds([])


def test_an_empty_lane_is_forgotten_and_its_stages_stand_at_0() -> None:
    """At the first folding without news; what waits or runs keeps its lane."""
    queues, made = Queues(), adding()
    lanes = Lanes(queues)
    work(lanes.of("shop.pay", "q"))
    lanes.of("shop.ship", "q").received += 1
    lanes.fold(made)
    assert 2 == len(lanes)
    lanes.fold(made)
    assert 1 == len(lanes)
    gauges = {(s.entity, s.metric): value for s, value in made.drain(NOON).gauges}
    assert {("shop.pay", "reserved"): 0, ("shop.pay", "running"): 0} == gauges
    lanes.of("shop.ship", "q").handed_reserved += 1
    lanes.fold(made)
    assert 0 == len(lanes)
    assert [] == queues.overtaken()
    assert {} == queues._lines  # no lane is of it any more


def test_many_lanes_are_folded_bit_by_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those with news in turn, as long as they are many; nothing is counted twice, and none of
    them is forgotten for it."""
    monkeypatch.setattr("celery_statsd.lanes.MUCH", 4)
    monkeypatch.setattr("celery_statsd.lanes.EASED", 2)
    lanes, made = Lanes(Queues()), adding()
    for place in range(7):
        work(lanes.of(f"task{place}", "q"))
    for much, left in ((True, 5), (True, 3), (False, 3)):
        assert much is lanes.ease(made)
        assert left == sum(lanes.of(f"task{place}", "q").has_news for place in range(7))
    lanes.fold(made)
    assert 7 == len(lanes)
    told = {(s.entity, s.metric): n for s, n in made.drain(NOON).counters if s.family == "task"}
    assert {1} == {told[f"task{place}", "succeeded"] for place in range(7)}
    lanes.fold(made)
    assert 0 == len(lanes)


def test_lanes_go_on_after_a_restart() -> None:
    """Number for number: what was folded is not folded again, what waits is known to its queue."""
    queues, life = Queues(), life_of()
    lanes, index = Lanes(queues), Index()
    lane = lanes.of("shop.pay", "q")
    lanes.enrol(life)
    work(lane, 3, life)
    lanes.fold(adding())
    sendings = lanes.of("shop.pay", "q")
    lane.received += 1
    lane.errors["KeyError"] = 1
    work(lane, 2, life)
    sendings.sent, sendings.waiting, sendings.oldest = 2, 2, NOON
    lanes.clamped = 1
    state = msgspec.msgpack.decode(msgspec.msgpack.encode(lanes.dump(index)))
    after = Queues()
    reborn, both = Lanes(after), []
    reborn.load(state, [Life.load(life.dump())])
    for some in (lanes, reborn):
        made = adding()
        some.fold(made)
        both.append((made.drain(NOON), list(some.in_flight()), some.totals, some.clamped))
    assert both[0] == both[1]
    assert 2 == after.line("q").usual


def test_only_lanes_in_which_an_old_one_waits_are_overtaken() -> None:
    """By what their queue has delivered."""
    lanes = Lanes(Queues())
    old, young = lanes.of("shop.pay", "q"), lanes.of("shop.ship", "q")
    for lane, oldest in ((old, NOON), (young, NOON + OVERTAKEN)):
        lane.waiting, lane.oldest = 1, oldest
        lane.line.usual += 1
    old.line.deliver(NOON + OVERTAKEN)
    assert {} == lanes.overtaken()
    old.line.deliver(NOON + OVERTAKEN + 1)
    assert {old: NOON + 1} == lanes.overtaken()
    old.waiting = 0
    assert {} == lanes.overtaken()


@pytest.mark.parametrize(
    ("news", "told", "metrics"),
    [
        (Moment.STARTED, {Moment.RECEIVED, Moment.STARTED}, ["prefetch", "lateness"]),
        (
            Moment.STARTED,
            {Moment.TRACED, Moment.RECEIVED, Moment.STARTED},
            ["wait", "prefetch", "lateness"],
        ),
        (Moment.FAILED, {Moment.RECEIVED, Moment.STARTED, Moment.FAILED}, ["runtime"]),
        (Moment.FAILED, {Moment.RECEIVED, Moment.FAILED}, []),
    ],
)
def test_the_timers_of_the_catalogue_speak(
    news: Moment, told: set[Moment], metrics: list[str]
) -> None:
    """Those that need what is new, and nothing that is not told."""
    bits = sum(moment.bit for moment in told)
    assert metrics == [TIMERS[place].metric for place in speakers(news, bits)]


def test_a_worker_is_enrolled_while_it_holds_something_or_has_news() -> None:
    """What it counted is folded once; then it is enrolled anew before it counts again."""
    lanes, made, life = Lanes(Queues()), adding(), life_of()
    lanes.enrol(life)
    life.received += 2
    life.started += 1
    for _ in range(2):
        lanes.fold(made)
        assert {life} == lanes.lives()
    assert 2 == counted(made.drain(NOON))["worker", "w1@web1", "received"]
    life.started, life.succeeded, life.handed_running = 2, 1, 1
    lanes.fold(made)
    assert life.enrolled
    lanes.fold(made)
    assert not life.enrolled
    assert set() == lanes.lives()
    assert 1 == counted(made.drain(NOON))["worker", "w1@web1", "started"]


def test_no_timer_is_a_workers() -> None:
    """For a lane does not know which worker an attempt was of: a row that needs it has to teach
    it."""
    assert not [rule.metric for rule in TIMERS if "worker" in rule.families]


def test_a_sending_that_is_heard_of_late_speaks_in_its_own_lane() -> None:
    """Once, whenever the start is gathered."""
    lanes, made = Lanes(Queues()), adding()
    known, unknown = lanes.of("shop.pay", "q"), lanes.of("shop.pay", None)
    one = Passage(unknown, received=NOON, started=NOON + 1)
    unknown.received += 1
    unknown.started.append(one)
    unknown.gather()
    one.sent, one.lane = NOON - 1, known
    known.traced.append(one)
    lanes.fold(made)
    lanes.fold(made)
    whose = {("cluster", "all"), ("task", "shop.pay"), ("queue", "q")}
    waits = {key[:2]: v for key, v in timed(made.drain(NOON)).items() if key[2] == "wait"}
    assert dict.fromkeys(whose, (2000.0,)) == waits
