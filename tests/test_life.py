"""One life: what its loss meter makes of starts and heartbeats. How lives come and go is told in
`test_roster`."""

from celery_statsd.events import WorkerEvent, decode
from celery_statsd.life import RACE, SETTLED, Index, Life, State
from tests.bodies import NOON, Process, body


def beat(at: float, processed: int | None, active: int = 0) -> WorkerEvent:
    """A heartbeat of the worker."""
    (event,) = decode(body(Process().beat(at, processed, active=active))).events
    assert isinstance(event, WorkerEvent)
    return event


def life() -> Life:
    """One that has just been heard of."""
    return Life(beat(NOON, 0))


def begun(processed: int = 10) -> Life:
    """One whose starts are measured."""
    one = life()
    assert 0 == one.note_beat(beat(NOON, processed), NOON)
    return one


def test_what_was_heard_and_what_was_lost_add_up() -> None:
    """To what has been processed since the counting began."""
    one = begun()
    for at in (0.5, 1.0):
        one.note_start(NOON + at)
    one.note_beat(beat(NOON + 2, 15), NOON + 2)
    lost = one.note_beat(beat(NOON + 4, 15), NOON + 4)

    assert (3, 3, 5) == (lost, one.lost, one.heard)
    assert one.base is not None
    assert one.processed == one.base + one.heard


def test_a_heartbeat_is_judged_when_it_has_settled() -> None:
    """A batch may trail it for so long."""
    one = begun()
    one.note_beat(beat(NOON + 2, 11), NOON + 2)
    assert 0 == one.settle(NOON + 2 + SETTLED)
    assert 1 == one.settle(NOON + 2.1 + SETTLED)
    assert 0 == one.settle(NOON + 9 + SETTLED)


def test_a_start_close_behind_a_heartbeat_was_counted_by_it() -> None:
    """One that is further behind belongs to the next."""
    one = begun()
    one.note_beat(beat(NOON + 2, 11), NOON + 2)
    one.note_start(NOON + 2 + RACE)
    one.note_start(NOON + 2.1 + RACE)
    assert 0 == one.note_beat(beat(NOON + 4, 12), NOON + 4)
    assert 0 == one.note_beat(beat(NOON + 6, 12), NOON + 6)


def test_a_new_base_counts_on() -> None:
    """What was heard is not forgotten when the counting begins anew: only what it is measured by
    is another number."""
    one = begun()
    one.note_start(NOON + 1)
    one.base = None
    one.note_beat(beat(NOON + 2, 30), NOON + 2)

    assert (29, 1) == (one.base, one.heard)
    one.note_beat(beat(NOON + 4, 32), NOON + 4)
    assert 2 == one.settle(NOON + 9)


def test_a_base_that_is_given_tells_what_is_missing_since() -> None:
    """Somebody else had accounted for 14."""
    one = begun()
    one.note_beat(beat(NOON + 2, 20), NOON + 2)
    one.base = 14
    assert 6 == one.note_beat(beat(NOON + 4, 20), NOON + 4)


def test_a_life_outlives_its_process() -> None:
    """All of it, but for what it holds: that is counted anew."""
    one, index = begun(), Index()
    one.state, one.loadavg = State.UP, (0.5, 0.25, 0.125)
    one.unusual_reserved, one.unusual_running = 2, 1
    one.received, one.started, one.folded, one.enrolled = 5, 2, (4, 2, 0, 0, 0), True
    one.note_start(NOON + 1)
    assert (0, 0) == (index.of(one), index.of(one))
    (plain,) = index.dump()
    again = Life.load(plain)

    assert (3, 2) == (again.reserved, again.running)
    again.unusual_reserved, again.unusual_running = 2, 1
    assert one.dump() == again.dump()


def test_a_life_of_an_earlier_journal_is_read() -> None:
    """What it did not tell yet is as of one that is new."""
    (event,) = decode(body(Process().beat(NOON, 3))).events
    plain = Life(event).dump()
    for later in ("entity", "restarted_at", "version"):
        del plain[later]
    old = Life.load(plain)
    assert (old.hostname, (), "") == (old.entity, old.restarted_at, old.version)
