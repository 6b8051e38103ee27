"""The sums since the beginning, and those of the window."""

from celery_statsd.top.history import History
from tests.bodies import NOON
from tests.top.scenes import batch, timing

PAY = "task/shop.pay"


def taken(*growths: int, window: float = 10.0, interval: float = 2.0) -> History:
    """A history of so many receipts in each interval."""
    history = History(window)
    for number, growth in enumerate(growths, 1):
        history.take(batch(NOON + number * interval, interval, {f"{PAY}/received": growth}))
    return history


def test_totals_grow_and_the_window_slides() -> None:
    """Ten seconds are five intervals of two."""
    history = taken(1, 2, 4, 8, 16, 32, 64)
    pay = history.facts("task", "shop.pay")
    assert (127, 124, 10.0) == (pay.total("received"), pay.lately("received"), pay.span)
    assert 12.4 == pay.rate("received")


def test_a_young_history_covers_what_it_has() -> None:
    """Rates are right from the first batch on."""
    pay = taken(3, 5).facts("task", "shop.pay")
    assert (4.0, 2.0) == (pay.span, pay.rate("received"))


def test_one_long_batch_stands_alone() -> None:
    """After a pause all of it is one interval, longer than the window."""
    history = taken(100, 100)
    history.take(batch(NOON + 304, 300.0, {f"{PAY}/received": 600}))
    pay = history.facts("task", "shop.pay")
    assert (300.0, 2.0, 800) == (pay.span, pay.rate("received"), pay.total("received"))


def test_gauges_are_those_of_the_last_batch() -> None:
    """What is not told any more is not known."""
    history = History(10.0)
    history.take(batch(NOON, gauges={"queue/q/length": 3, "queue/q/unacked": 1}))
    history.take(batch(NOON + 2, gauges={"queue/q/length": 4}))
    assert {"length": 4} == history.facts("queue", "q").gauges


def test_timers_are_kept_as_long_as_the_window() -> None:
    """Then they go, and nothing of them stays."""
    history = History(4.0)
    for number in range(4):
        values = {f"{PAY}/wait": timing(float(number))} if number < 2 else {}
        history.take(batch(NOON + 2 * number, timers=values))
        if number == 1:
            assert 2 == history.facts("task", "shop.pay").timed("wait")
    assert 0 == history.facts("task", "shop.pay").timed("wait")


def test_an_entity_is_known_before_anything_happened_to_it() -> None:
    """A counter of 0 is a sign of life; the order is that of their first sight."""
    history = History(10.0)
    history.take(batch(NOON, counters={"task/b/sent": 0, "task/a/sent": 1, "queue/q/sent": 0}))
    assert (["b", "a"], ["q"], []) == tuple(map(history.entities, ("task", "queue", "worker")))


def test_what_is_forgotten_begins_anew() -> None:
    """Its counts, too; the others keep theirs, and the window still slides."""
    history = History(4.0)
    for number in range(3):
        counters = {"worker/w1/lost": 1, "worker/w2/lost": 1}
        history.take(batch(NOON + 2 * number, counters=counters))
    history.forget("worker", ["w2"])
    history.take(batch(NOON + 6, counters={"worker/w1/lost": 5}))
    history.take(batch(NOON + 8, counters={"worker/w1/lost": 0}))
    history.take(batch(NOON + 10, counters={"worker/w1/lost": 0}))
    assert (5, 3) == tuple(history.facts("worker", w).total("lost") for w in ("w1", "w2"))
    assert (0, 0) == tuple(history.facts("worker", w).lately("lost") for w in ("w1", "w2"))
