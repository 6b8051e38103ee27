"""What an understudy keeps, until somebody has said it."""

from celery_statsd.chronicle import Flush
from celery_statsd.understudy import MOST, Understudy
from tests.test_agent import batch

EMPTY = batch()


def flush(number: int) -> Flush:
    """A flush cut at the mark of its number."""
    return Flush(number, EMPTY, f"c{number}")


def kept(*numbers: int) -> Understudy:
    """One that keeps these."""
    understudy = Understudy()
    for number in numbers:
        assert 0 == understudy.keep(flush(number))
    return understudy


def test_what_was_not_said_is_there_to_be_said() -> None:
    """Oldest first, once."""
    understudy = kept(3, 4, 5)

    assert [flush(3), flush(4), flush(5)] == understudy.take()
    assert [] == understudy.take()


def test_a_mark_is_known_by_its_name() -> None:
    """One that was never kept has no number."""
    understudy = kept(3, 4)

    assert (3, 4, 0) == tuple(map(understudy.number_of, ("c3", "c4", "c9")))


def test_what_was_said_is_dropped() -> None:
    """Up to it, and nothing behind it."""
    understudy = kept(3, 4, 5)
    understudy.drop(2)
    assert 3 == len(understudy)
    understudy.drop(4)
    assert [flush(5)] == understudy.take()


def test_what_there_is_no_room_for_is_counted() -> None:
    """The oldest goes; once something was said its speaker is there, and none of it is missing."""
    understudy = kept(*range(1, MOST + 1))
    assert (1, 1) == (understudy.keep(flush(MOST + 1)), understudy.gone)
    assert (2, 2) == (understudy.keep(flush(MOST + 2)), understudy.gone)
    assert MOST == len(understudy)
    understudy.drop(3)
    assert 0 == understudy.gone
