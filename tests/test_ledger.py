"""The ledger and the memory of doubles."""

from functools import partial

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


@patiently
@given(st.lists(st.integers(0, 30)), st.integers(1, 8))
def test_a_double_is_known_within_the_horizon(stream: list[int], horizon: int) -> None:
    """What is among the last `horizon` that were new is known; what never came is not."""
    doubles, news = Doubles(horizon), []
    for item in stream:
        seen = doubles.seen(1, item, 5.0)
        assert seen or item not in news[-horizon:]
        assert not seen or item in news
        if not seen:
            news.append(item)


def test_memory_of_doubles_is_bounded() -> None:
    """Between one horizon and two are known, however many came."""
    doubles = Doubles(10)
    seen = partial(doubles.seen, 1)
    assert not any(seen(number, 5.0) for number in range(1005))
    assert [True] * 15 == [seen(number, 5.0) for number in range(1004, 989, -1)]
    assert not seen(989, 5.0)


def test_an_event_is_told_by_its_sender_its_clock_and_its_time() -> None:
    """Another one of these is another event, in whatever process it is looked at."""
    doubles = Doubles()
    events = [
        ("w@h", 1, 1, 5.0), ("v@h", 1, 1, 5.0), ("w@h", 2, 1, 5.0), ("w@h", 1, 2, 5.0),
        ("w@h", 1, 1, 6.0), ("w@h", None, 1, 5.0), ("w@h", 1, None, 5.0),
    ]  # fmt: skip
    for known in (False, True):
        for hostname, pid, clock, time in events:
            assert known is doubles.seen(doubles.sender(hostname, pid), clock, time)


def test_a_sender_has_one_number_however_many_are_remembered() -> None:
    """It is told from host and pid alone, so that a successor knows it too."""
    doubles = Doubles()
    first = doubles.sender("w@h", 1)
    for pid in range(MOST_SENDERS + 5):
        doubles.sender("v@h", pid)
        assert MOST_SENDERS >= len(doubles._senders)
    assert first == doubles.sender("w@h", 1) == Doubles().sender("w@h", 1)
    others = {doubles.sender(*other) for other in (("w@h", None), ("w@h", 2), ("w@g", 1))}
    assert 3 == len(others - {first})
