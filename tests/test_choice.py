"""Which of several attempts of one process an event goes to."""

from dataclasses import dataclass

import pytest

from celery_statsd import choice
from celery_statsd.events import Moment, TaskEvent, decode
from tests.bodies import NOON, Process, body

WORKER = Process()
RESERVED = Moment.RECEIVED.bit
RUNNING = RESERVED | Moment.STARTED.bit
OVER = RUNNING | Moment.SUCCEEDED.bit
REVOKED = RESERVED | Moment.REVOKED.bit
UNREPORTED = RESERVED | Moment.UNREPORTED.bit
FOUND_RUNNING = Moment.STARTED.bit


@dataclass
class One:
    """An attempt as far as it is looked at."""

    known: int
    started: float | None = None


def heard(word: str, **fields: object) -> TaskEvent:
    (event,) = decode(body(getattr(WORKER, word)("a", NOON + 10, **fields))).events
    assert isinstance(event, TaskEvent)
    return event


@pytest.mark.parametrize(
    ("word", "fields", "mine", "chosen"),
    [
        ("received", {}, [RESERVED, FOUND_RUNNING], 1),
        ("received", {}, [RESERVED, OVER], None),
        ("started", {}, [OVER, RESERVED], 1),
        ("started", {}, [REVOKED, RESERVED], 1),
        ("started", {}, [REVOKED], 0),
        ("started", {}, [UNREPORTED], None),
        ("started", {}, [RUNNING], None),
        ("failed", {}, [RESERVED, RUNNING], 1),
        ("failed", {}, [RUNNING, RUNNING], 1),
        ("failed", {}, [RESERVED, OVER], 0),
        ("failed", {}, [OVER], None),
        ("revoked", {}, [RUNNING, RESERVED], 1),
        ("revoked", {"terminated": True}, [RUNNING, RESERVED], 0),
    ],
)
def test_an_event_goes_to_an_attempt_that_lacks_it(
    word: str, fields: dict[str, object], mine: list[int], chosen: int | None
) -> None:
    """By what each is known to have done; None: it is of a new one."""
    attempts = [One(known) for known in mine]
    expected = None if chosen is None else attempts[chosen]
    assert expected is choice.of(attempts, heard(word, **fields))


def test_of_several_that_run_the_runtime_tells() -> None:
    """The one that began when the end says it did."""
    attempts = [One(RUNNING, NOON + began) for began in (1.0, 4.0, 8.0)]
    assert attempts[1] is choice.of(attempts, heard("succeeded", runtime=6.1))
    assert attempts[2] is choice.of(attempts, heard("succeeded", runtime=None))
