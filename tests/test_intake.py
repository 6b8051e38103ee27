"""What comes in: ours is fed, of other hosts only the number is kept, the impossible is refused."""

import io
from collections.abc import Iterator, Sequence

import pytest

from celery_statsd.chronicle import Chronicle
from celery_statsd.intake import Intake, refusal_of
from celery_statsd.log import Log
from celery_statsd.pipeline import Pipeline
from celery_statsd.scope import CLUSTER, Scope
from celery_statsd.source.base import Facts, Message
from tests.bodies import NOON, Process, body

WORKER = Process("w1@web1")


def message(
    hostname: str = "w1@web1", kind: str = "application/json", encoding: str = "utf-8"
) -> Message:
    """A receipt, as a source gives it."""
    return Message(
        body(WORKER.received("t1", NOON)), Facts(kind, encoding, hostname), "task.received"
    )


class Door:
    """An intake in front of a pipeline, and what is logged."""

    def __init__(self, scope: Scope = CLUSTER) -> None:
        self.logged = io.StringIO()
        log = Log(stream=self.logged)
        self.chronicle = Chronicle(Pipeline, (), log)
        self.intake = Intake(self.chronicle, scope, log)

    def take(self, messages: Sequence[Message]) -> None:
        """They come together."""
        self.intake.take(messages, NOON)

    @property
    def received(self) -> int:
        """The attempts that came in."""
        return self.chronicle.pipeline.balance["received"]


def test_what_is_ours_is_fed() -> None:
    """With the time it came at."""
    door = Door()
    door.take([message()])

    assert (1, 0) == (door.received, door.intake.foreign)


def test_other_hosts_are_left_alone() -> None:
    """Undecoded: whatever it is, it is not even refused. It is counted, and not as an event."""
    door = Door(Scope("web1", frozenset({"web1"})))
    door.take([message("w1@web2"), message(), message("w@web3", kind="x/pickle"), message("")])

    assert (1, 3) == (door.received, door.intake.foreign)
    assert 1 == door.chronicle.pipeline.ledger.events
    assert "" == door.logged.getvalue()


def test_what_cannot_be_read_is_counted_and_told_once() -> None:
    """By the field that says so, with the cure; the body stands nowhere."""
    door = Door()
    door.take([message(kind="application/x-python-serialize")] * 3 + [message(encoding="gzip")])
    ledger = door.chronicle.pipeline.ledger

    assert {"content_type": 3, "content_encoding": 1} == dict(ledger.bad)
    assert ledger.balanced()
    lines = door.logged.getvalue().splitlines()
    assert ["message_refused"] == [line.split()[1] for line in lines]
    assert "event_serializer" in lines[0]
    assert "t1" not in lines[0]


@pytest.mark.parametrize(
    ("kind", "encoding", "reason"),
    [
        ("application/json", "utf-8", ""),
        ("Application/JSON; charset=utf-8", "UTF-8", ""),
        ("", "", ""),
        ("application/json", "binary", ""),
        ("text/plain", "utf-8", "content_type"),
        ("application/x-bad-envelope", "", "content_type"),
        ("application/json", "utf-16", "content_encoding"),
    ],
)
def test_json_in_utf8_is_tried(kind: str, encoding: str, reason: str) -> None:
    """Nothing else is."""
    assert reason == refusal_of(Facts(kind, encoding))


def test_a_fault_of_the_source_costs_nothing_that_came_before() -> None:
    """What had arrived is in."""

    def broken() -> Iterator[Message]:
        yield message()
        raise RuntimeError("a fault")

    door = Door()
    with pytest.raises(RuntimeError, match="a fault"):
        door.intake.take(broken(), NOON)  # type: ignore[arg-type]
    assert 1 == door.received
