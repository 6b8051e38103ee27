"""What the log says meanwhile is shown, and told in the end."""

import pytest

from celery_statsd.log import Log
from celery_statsd.top.notes import MOST, Notes


def test_it_goes_to_stderr_but_while_it_is_held(capsys: pytest.CaptureFixture[str]) -> None:
    """Then it is kept, and comes afterwards, in order."""
    notes = Notes()
    log = Log("info", stream=notes.stream)
    log.info("before")
    assert ("info before\n", "") == (capsys.readouterr().err, notes.last(60))
    with notes.held():
        log.warning("first")
        log.warning("second")
        assert ("", "warning second") == (capsys.readouterr().err, notes.last(60))
        assert "" == notes.last(-1)
    assert "warning first\nwarning second\n" == capsys.readouterr().err
    log.info("after")
    assert "info after\n" == capsys.readouterr().err


def test_it_is_told_whatever_ends_it(capsys: pytest.CaptureFixture[str]) -> None:
    """Also a fault of ours."""
    notes = Notes()

    def fail() -> None:
        with notes.held():
            notes.stream.write("said\n")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert "said\n" == capsys.readouterr().err


def test_what_is_not_kept_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    """The last ones are kept."""
    notes = Notes()
    with notes.held():
        for number in range(MOST + 5):
            notes.stream.write(f"{number}\n")
    first, second, *_ = capsys.readouterr().err.splitlines()
    assert ("(5 older lines are not kept)", "5") == (first, second)
