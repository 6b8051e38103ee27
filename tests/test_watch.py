"""The passing events as lines: short ones that leave a terminal alone, whole ones for replay."""

import io
import json
import time
from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celery_statsd.errors import BrokerLost, ConfigError
from celery_statsd.log import Log
from celery_statsd.source.base import Facts, Message, Source
from celery_statsd.watch import LONGEST, Watch

EVENT = {
    "type": "task-received",
    "hostname": "w1@host",
    "timestamp": 1_700_000_000.25,
    "uuid": "0123456789abcdef",
    "name": "shop.pay",
    "retries": 0,
    "pid": 7,
    "clock": 3,
    "args": "(1, 'secret')",
}

LINE = "22:13:20.250 task-received     w1@host                  01234567 name=shop.pay retries=0"


class Bodies(Source):
    """A source that gives one message a read; a None is a broker that is lost and found again."""

    place = "bodies://"

    def __init__(self, bodies: Sequence[bytes | None], refusals: int = 0) -> None:
        super().__init__(Log(stream=io.StringIO()))
        self.left = False
        self.waiting = deque(bodies)
        self._refusals = refusals

    def ack(self) -> None:
        """Nothing to do."""

    def _open(self) -> None:
        if self._refusals:
            self._refusals -= 1
            raise BrokerLost("nobody listens there")

    def _read(self, timeout: float) -> Sequence[Message]:
        if not self.waiting:
            time.sleep(timeout)
            return ()
        body = self.waiting.popleft()
        if body is None:
            raise BrokerLost("gone")
        return [Message(body, Facts("application/json", "utf-8", "w1@host"), "task.multi")]

    def _drop(self) -> None:
        """Nothing is open."""

    def _leave(self) -> None:
        self.left = True


def lines(whole: bool, *bodies: Any) -> list[str]:
    """What a watch shows of bodies; what is not bytes is written as JSON first."""
    wires = [
        body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        for body in bodies
    ]
    source = Bodies(wires)
    watch = Watch(source, whole)
    found = []
    for line in watch.lines(time.monotonic() + 10):
        found.append(line)
        if not source.waiting:
            watch.stop()
    return found


def shown(body: Any) -> str:
    """The only short line of a body."""
    (line,) = lines(False, body)
    return line


def test_a_line_has_what_one_wants_to_know() -> None:
    """Time of day in UTC, type, sender, the task's first digits, and what else it has; no args."""
    assert LINE == shown(EVENT)


def test_each_event_of_a_list_has_a_line() -> None:
    """A batch of events is shown one by one."""
    assert [LINE, LINE] == lines(False, [EVENT, EVENT])


@pytest.mark.parametrize(
    ("body", "line"),
    [
        (b"\x80\x04K\x01.", "no event: 5 bytes that are not JSON"),
        (b"", "no event: 0 bytes that are not JSON"),
        (b"[" * 100_000, "no event: 100000 bytes that are not JSON"),
        (b'"\x1b[2J"', "no event: 6 bytes that are not JSON"),
        (b'"\\u001b[2J"', "no event: \\x1b[2J"),
        (b"17", "no event: 17"),
        (b"null", "no event: None"),
        (b"{}", "--:--:--.--- ?                 ?"),
    ],
)
def test_what_is_no_event_is_shown_as_such(body: bytes, line: str) -> None:
    """Nothing that comes over the wire ends the watch."""
    assert line == shown(body)


@pytest.mark.parametrize("stamp", [1e300, -1e300, float("nan"), float("inf"), "now", None, [], {}])
def test_a_time_that_is_none_is_dashes(stamp: Any) -> None:
    """A timestamp nobody can show leaves the rest of the line as it is."""
    assert LINE.replace("22:13:20.250", "--:--:--.---") == shown({**EVENT, "timestamp": stamp})


@given(st.text(), st.text(), st.text())
def test_no_line_can_take_over_a_terminal(name: str, sender: str, kind: str) -> None:
    """Whatever names hold, a line is one line of printable characters."""
    line = shown({"name": name, "hostname": sender, "type": kind, "timestamp": 1.0})

    assert line.isprintable()


def test_long_values_are_cut() -> None:
    """A page of an exception's text takes a part of one line."""
    line = shown({**EVENT, "exception": "x" * 100_000})

    assert f" exception={'x' * LONGEST}" in line
    assert len(line) < 2 * LONGEST


def test_whole_lines_have_all_fields_and_the_recorders() -> None:
    """Each event as it came, and when it came, in which message, with how many others."""
    before = time.time()
    rows = [json.loads(line) for line in lines(True, [EVENT, EVENT])]

    assert [EVENT, EVENT] == [
        {key: value for key, value in row.items() if not key.startswith("_")} for row in rows
    ]
    assert all(before <= row.pop("_received") <= time.time() for row in rows)
    assert {
        "_batch": 1,
        "_hostname": "w1@host",
        "_routing_key": "task.multi",
        "_size": 2,
    } == {key: value for key, value in rows[1].items() if key.startswith("_")}


def test_a_list_came_at_one_time() -> None:
    """The events of one message have one time of arrival."""
    rows = [json.loads(line) for line in lines(True, [EVENT] * 50)]

    assert 1 == len({row["_received"] for row in rows})


def test_what_is_no_event_is_recorded_without_fields() -> None:
    """A recording stays readable, and has a row for whatever came."""
    found = [json.loads(line) for line in lines(True, b"\x80\x04", 17, EVENT)]

    assert [set(), set(), set(EVENT)] == [
        {key for key in row if not key.startswith("_")} for row in found
    ]
    assert [1, 2, 3] == [row["_batch"] for row in found]


def test_a_gap_makes_the_ordinal_fall() -> None:
    """Each time the broker was away, and only then, the next message has a smaller ordinal."""
    bodies = [EVENT, EVENT, None, EVENT, None, EVENT, None, EVENT, EVENT, EVENT, None, EVENT]
    found = [json.loads(line)["_batch"] for line in lines(True, *bodies)]

    falls = [after < before for before, after in pairwise(found)]
    assert [False, True, True, True, False, False, True] == falls
    assert len(found) == sum(body is not None for body in bodies)


def test_it_ends_at_the_deadline() -> None:
    """With nothing to show it still ends in time, and leaves the broker when closed."""
    source = Bodies([])
    watch, began = Watch(source, False), time.monotonic()

    assert [] == list(watch.lines(began + 0.2))
    assert 0.2 <= time.monotonic() - began < 0.4
    watch.close()
    assert source.left


def test_a_broker_out_of_reach_is_an_error() -> None:
    """The first failure is said in one sentence: key, place, cure."""
    with pytest.raises(ConfigError) as caught:
        next(Watch(Bodies([], refusals=1), False).lines(None))

    assert "broker" == caught.value.key
    assert "bodies:// cannot be listened to" in str(caught.value)
    assert "start the broker, or mend the address" in str(caught.value)


def test_more_addresses_have_their_chance() -> None:
    """With some patience the watch tries again until an address answers."""
    watch = Watch(Bodies([json.dumps(EVENT).encode()], refusals=2), False, patience=10.0)

    assert LINE == next(watch.lines(None))
