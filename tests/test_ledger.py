"""The ledger and the memory of doubles."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from celery_statsd.ledger import MOST_SENDERS, Doubles, Ledger
from tests.bodies import patiently


def test_an_empty_ledger_is_balanced() -> None:
    """Nothing in, nothing out."""
    assert Ledger().balanced()


def test_each_event_stands_in_one_bucket() -> None:
    """Counted, doubled, bad and dropped make up the events; one too many or too few is seen."""
    ledger = Ledger(events=10, counted=4, doubled=3)
    ledger.bad.update(not_json=1, bad_field=1)
    ledger.dropped["custom"] = 1
    assert ledger.balanced()
    for bucket in ("events", "counted", "doubled"):
        setattr(ledger, bucket, getattr(ledger, bucket) + 1)
        assert not ledger.balanced()
        setattr(ledger, bucket, getattr(ledger, bucket) - 1)
    for buckets in (ledger.bad, ledger.dropped):
        buckets["custom"] += 1
        assert not ledger.balanced()
        buckets["custom"] -= 1


def test_two_ledgers_share_nothing() -> None:
    """Reasons counted in one are not in another."""
    first = Ledger()
    first.bad["not_json"] += 1
    assert 0 == Ledger().bad.total()


def saw(doubles: Doubles, clock: int | None, stamp: float = 5.0) -> bool:
    """One event of one sender comes."""
    doubles.prepare(1)
    seen = doubles.trail(("w@h", 1)).saw(clock, stamp)
    if seen:
        doubles.again()
    return seen


@patiently
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5))), st.integers(1, 8))
def test_a_double_is_known_within_the_horizon(stream: list[tuple[int, int]], horizon: int) -> None:
    """What is among the last `horizon` that were new is known; what never came is not."""
    doubles, news = Doubles(horizon), list[tuple[int, int]]()
    for clock, stamp in stream:
        seen = saw(doubles, clock, stamp)
        assert seen or (clock, stamp) not in news[-horizon:]
        assert not seen or (clock, stamp) in news
        if not seen:
            news.append((clock, stamp))


@pytest.mark.parametrize("later", [0.0, 1.0], ids=["at one time", "one after the other"])
def test_memory_of_doubles_is_bounded(later: float) -> None:
    """Between one horizon and two are known, however many came."""
    doubles = Doubles(10)
    assert not any(saw(doubles, number, later * number) for number in range(1005))
    known = [saw(doubles, number, later * number) for number in range(1004, 989, -1)]
    assert [True] * 15 == known
    assert not saw(doubles, 989, later * 989)


def test_an_event_is_told_by_its_sender_its_clock_and_its_time() -> None:
    """Another one of these is another event."""
    doubles = Doubles()
    events = [
        ("w@h", 1, 1, 5.0), ("v@h", 1, 1, 5.0), ("w@h", 2, 1, 5.0), ("w@h", 1, 2, 5.0),
        ("w@h", 1, 1, 6.0), ("w@h", None, 1, 5.0), ("w@h", 1, None, 5.0), ("w@h", 1, 1, 4.0),
    ]  # fmt: skip
    for known in (False, True):
        for hostname, pid, clock, time in events:
            assert known is doubles.trail((hostname, pid)).saw(clock, time)


def test_what_overtakes_others_makes_them_no_doubles() -> None:
    """A heartbeat comes before what its worker has batched; each is known afterwards."""
    trail = Doubles().trail(("w@h", 1))
    assert not trail.saw_aside(9, 9.0)
    assert not any(trail.saw(clock, float(clock)) for clock in range(5))
    assert trail.saw_aside(9, 9.0)
    assert all(trail.saw(clock, float(clock)) for clock in range(5))


@patiently
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9), st.integers(0, 9))), st.integers(1, 8))
def test_a_successor_knows_the_same_doubles(
    stream: list[tuple[bool, int, int]], horizon: int
) -> None:
    """Wherever it takes over."""
    doubles = successor = Doubles(horizon)
    for reborn, clock, stamp in stream:
        if reborn:
            plain = msgspec.msgpack.decode(msgspec.msgpack.encode(successor.dump()))
            successor = Doubles(horizon)
            successor.load(plain)
        elif successor is doubles:
            successor = Doubles(horizon)
            successor.load(doubles.dump())
        assert saw(doubles, clock, stamp) is saw(successor, clock, stamp)


def test_the_senders_that_are_remembered_are_bounded() -> None:
    """The last of so many are known, and twice as many at most."""
    doubles = Doubles(10**9)
    for pid in range(3 * MOST_SENDERS):
        assert not doubles.trail(("v@h", pid)).saw(1, 5.0)
        assert 2 * MOST_SENDERS >= len(doubles._young) + len(doubles._old)
    for pid in range(3 * MOST_SENDERS - 1, 2 * MOST_SENDERS, -1):
        assert doubles.trail(("v@h", pid)).saw(1, 5.0)


def test_what_went_down_with_a_fault_of_ours_is_bad() -> None:
    """All that stands in no bucket, and one if all does."""
    ledger = Ledger(events=10, counted=4, doubled=3)
    for _ in range(2):
        ledger.write_off("fault")
        assert ledger.balanced()
    assert {"fault": 4} == dict(ledger.bad)
    assert 11 == ledger.events
