"""A failure that repeats: how often the log speaks of it. The times are made up."""

import io

from celery_statsd.errors import SinkDown
from celery_statsd.log import Log
from celery_statsd.trouble import REMIND_EVERY, Trouble


class Teller:
    """A trouble and the lines it wrote."""

    def __init__(self, back: str = "sink_back") -> None:
        self._stream = io.StringIO()
        self.trouble = Trouble(Log(stream=self._stream), "sink_down", back, sink="a")

    @property
    def lines(self) -> list[str]:
        """What the log has."""
        return self._stream.getvalue().splitlines()


def test_it_speaks_once_however_often_it_fails() -> None:
    """The first failure is told at once, the others within a minute are not."""
    teller = Teller()
    for second in range(int(REMIND_EVERY)):
        teller.trouble.tell(100.0 + second, SinkDown("nobody there"))

    assert ['warning sink_down sink=a error="nobody there" failures=1 for_s=0.0'] == teller.lines
    assert int(REMIND_EVERY) == teller.trouble.failures


def test_it_reminds_at_intervals() -> None:
    """While it stays down it speaks once a minute, with how long and how often."""
    teller = Teller()
    for second in range(0, 130, 10):
        teller.trouble.tell(float(second), SinkDown("away"))

    assert [
        "warning sink_down sink=a error=away failures=1 for_s=0.0",
        "warning sink_down sink=a error=away failures=7 for_s=60.0",
        "warning sink_down sink=a error=away failures=13 for_s=120.0",
    ] == teller.lines


def test_its_end_is_told_once() -> None:
    """Once it is over it says so, with how long it was; what always works is never told."""
    teller = Teller()
    teller.trouble.over(1.0)
    teller.trouble.tell(2.0, SinkDown("away"))
    teller.trouble.tell(3.0, SinkDown("away"))
    teller.trouble.over(6.5)
    teller.trouble.over(7.0)

    assert ["info sink_back sink=a failures=2 for_s=4.5"] == teller.lines[1:]
    assert 0 == teller.trouble.failures


def test_a_second_trouble_speaks_at_once() -> None:
    """After its end the next failure is a first one again."""
    teller = Teller()
    teller.trouble.tell(0.0, SinkDown("away"))
    teller.trouble.over(1.0)
    teller.trouble.tell(2.0, SinkDown("away again"))

    assert 'warning sink_down sink=a error="away again" failures=1 for_s=0.0' == teller.lines[-1]


def test_trouble_without_a_return_has_no_end_to_tell() -> None:
    """What can only happen, not be down, has no line for being over."""
    teller = Teller(back="")
    teller.trouble.tell(0.0, SinkDown("refused"))
    teller.trouble.over(1.0)

    assert 1 == len(teller.lines)


def test_a_fault_of_ours_tells_where_it_comes_from() -> None:
    """An error nobody foresaw is an error in the log, with its kind, file and line."""
    teller = Teller()
    try:
        raise ZeroDivisionError
    except ZeroDivisionError as error:
        teller.trouble.tell(0.0, error)
        line = error.__traceback__.tb_lineno if error.__traceback__ else 0

    fault = f'"ZeroDivisionError() at test_trouble.py:{line}"'
    assert [f"error sink_down sink=a error={fault} failures=1 for_s=0.0"] == teller.lines
