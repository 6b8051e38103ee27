"""An outlet: a sink's own thread and mailbox, and what it says of deliveries."""

import io

from celery_statsd.errors import SinkDown
from celery_statsd.log import Log
from celery_statsd.metric import Batch
from celery_statsd.outlet import MAILBOX, Outlet
from celery_statsd.sinks.memory import MemorySink
from tests.servers.process import wait_until
from tests.test_agent import Gated, batch


def nobody(sink: str, number: int) -> None:
    """Nobody wants to know."""


def test_a_full_mailbox_gives_up_the_oldest_and_counts_them() -> None:
    """Past its bound each new batch costs the oldest one, value by value; told once, and over
    when the sink has caught up."""
    stream, sink = io.StringIO(), Gated()
    outlet = Outlet(sink, Log(stream=stream), nobody)
    outlet.start()
    batches = [batch(counters) for counters in range(1, MAILBOX + 5)]
    outlet.put(1, batches[0])
    wait_until(lambda: outlet.waiting == 0, 5, "the sink hangs in the first batch")
    for number, one in enumerate(batches[1:], 2):
        outlet.put(number, one)

    assert MAILBOX == outlet.waiting
    assert sum(len(one.counters) + 2 for one in batches[1:4]) == outlet.given_up
    sink.gate.set()
    wait_until(lambda: len(sink.batches) == MAILBOX + 1, 5, "the rest is sent")
    assert [batches[0], *batches[4:]] == sink.batches
    outlet.put(len(batches) + 1, batch())
    outlet.finish()
    outlet.join(5)
    assert sink.closed
    lines = stream.getvalue().splitlines()
    assert ["sink_behind", "sink_in_time"] == [line.split()[1] for line in lines]


def test_what_a_journal_held_is_not_given_up() -> None:
    """However much it is: the bound is for what comes after it."""
    sink = Gated()
    outlet = Outlet(sink, Log(stream=io.StringIO()), nobody)
    owed = [batch(n) for n in range(3 * MAILBOX)]
    for number, one in enumerate(owed, 1):
        outlet.put(number, one)
    outlet.start()
    wait_until(lambda: outlet.waiting < len(owed), 20, "the sink hangs in the first batch")
    late = [batch(n) for n in range(MAILBOX + 2)]
    for number, one in enumerate(late, len(owed) + 1):
        outlet.put(number, one)

    assert 0 < outlet.given_up == len(owed[1].counters) + 2
    sink.gate.set()
    outlet.finish()
    outlet.join(20)
    assert [owed[0], *owed[2:], *late] == sink.batches


class Away(Gated):
    """Hangs, then fails, as long as it is away; what it keeps is sent with the next."""

    def __init__(self) -> None:
        super().__init__()
        self.away, self.tries = True, 0
        self.kept: list[Batch] = []

    def keep(self, batch: Batch) -> None:
        """Put it behind what is kept."""
        self.kept.append(batch)

    def send(self, batch: Batch) -> None:
        """Fail, and keep it; or send all."""
        self.tries += 1
        self.keep(batch)
        self.gate.wait(20)
        if self.away:
            raise SinkDown("away")
        self.batches += self.kept
        self.kept = []


def test_a_sink_that_is_down_and_behind_is_tried_once_for_all_that_wait() -> None:
    """Its timeout may be longer than the beat, and the outage than any mailbox: nothing is given
    up, and all has been delivered when the last has."""
    sink, told = Away(), list[int]()
    outlet = Outlet(sink, Log(stream=io.StringIO()), lambda _, number: told.append(number))
    outlet.start()
    batches = [batch(n) for n in range(MAILBOX)]
    outlet.put(1, batches[0])
    wait_until(lambda: sink.tries == 1, 20, "it hangs in the first")
    for number, one in enumerate(batches[1:], 2):
        outlet.put(number, one)
    sink.gate.set()
    wait_until(lambda: sink.tries == 2, 20, "the last one is tried")
    sink.away = False
    outlet.put(MAILBOX + 1, batch())
    outlet.finish()
    outlet.join(20)
    assert 0 == outlet.given_up
    assert batches == sink.batches[:MAILBOX]
    assert MAILBOX + 1 == len(sink.batches)
    assert MAILBOX + 1 == told[0]


class Overrun(MemorySink):
    """Its receiver loses some datagrams of each of the first flushes."""

    def __init__(self, lost: list[int]) -> None:
        super().__init__()
        self._lost = lost

    def send(self, batch: Batch) -> None:
        """Count what was lost."""
        super().send(batch)
        self.tally.overrun += self._lost.pop(0)


def test_an_overrun_is_told_once_and_costs_no_second_flush() -> None:
    """A line when it begins, with its number and a cure, and one when it is over; each flush is
    sent once and is delivered."""
    stream, told = io.StringIO(), list[int]()
    sink = Overrun([3, 5, 0, 0])
    outlet = Outlet(sink, Log(stream=stream), lambda _, number: told.append(number))
    outlet.start()
    for number in range(1, 5):
        outlet.put(number, batch(number))
    outlet.finish()
    outlet.join(20)
    lines = stream.getvalue().splitlines()
    assert ["sink_overrun", "sink_has_room"] == [line.split()[1] for line in lines]
    assert "3 datagrams" in lines[0]
    assert "net.core.rmem_default" in lines[0]
    assert [1, 2, 3, 4, 4] == told
    assert 4 == len(sink.batches)


class Limping(MemorySink):
    """Keeps what it cannot deliver, and delivers it at the end, or gives it up."""

    def __init__(self, down: set[int], lets_go: bool = False) -> None:
        super().__init__()
        self._down, self._lets_go = down, lets_go
        self._tries = 0

    def send(self, batch: Batch) -> None:
        """Fail at the tries that the test named."""
        self._tries += 1
        if self._tries in self._down:
            raise SinkDown("down")
        super().send(batch)

    def close(self) -> None:
        """Give up what is kept, or not."""
        self.tally.dropped += self._lets_go


def delivered_by(sink: MemorySink, flushes: int) -> list[int]:
    """What the outlet said after so many flushes and its end."""
    told: list[int] = []
    outlet = Outlet(sink, Log(stream=io.StringIO()), lambda _, number: told.append(number))
    outlet.start()
    for number in range(1, flushes + 1):
        outlet.put(number, batch(number))
    outlet.finish()
    outlet.join(5)
    return told


def test_only_what_was_delivered_is_said_to_be() -> None:
    """A flush that failed is delivered when a later one is; not before."""
    assert [1, 3, 3] == delivered_by(Limping({2}), 3)


def test_what_is_delivered_at_the_end_counts() -> None:
    """A sink that lets go of nothing at its end has delivered all."""
    assert [1, 2] == delivered_by(Limping({2}), 2)


def test_what_is_given_up_at_the_end_does_not_count() -> None:
    """A sink that had to let go has not."""
    assert [1] == delivered_by(Limping({2}, lets_go=True), 2)
