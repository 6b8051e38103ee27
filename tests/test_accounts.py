"""What one agent accounts for, and what another one makes of it."""

from celery_statsd.accounts import MARKS, Account, Accounts, Stand, bases_of, is_behind, stand_of
from celery_statsd.events import WorkerEvent, decode
from celery_statsd.life import Life
from tests.bodies import NOON, Process, body

NAME = "w1@web1"


def life(processed: int, heard: int = 0, base: int | None = 0, pid: int = 101) -> Life:
    """One whose last heartbeat was at NOON."""
    (event,) = decode(body(Process(NAME, pid=pid).beat(NOON, processed))).events
    assert isinstance(event, WorkerEvent)
    one = Life(event)
    one.note_beat(event, NOON)
    one.lost, one.base = heard, base
    return one


def noted(*lives: Life, cut: str = "c1") -> Accounts:
    """At one mark."""
    accounts = Accounts()
    accounts.note(cut, stands(*lives))
    return accounts


def stands(*lives: Life) -> dict[str, Stand]:
    """Of each."""
    return {one.hostname: stand_of(one) for one in lives}


def account(processed: int, starts: int, stamp: float = NOON, pid: int = 101) -> Account:
    """Of the worker."""
    return Account(pid, processed, stamp, starts)


def test_the_speaker_tells_how_far_it_is() -> None:
    """What it began with and what it has heard, or told to be lost, at that mark."""
    one = life(processed=20, heard=5, base=14)
    accounts = noted(one)
    one.lost += 7  # later

    assert {NAME: account(20, 19)} == accounts.at("c1", {})
    assert {NAME: account(20, 105)} == accounts.at("c1", {NAME: 100})
    assert {} == accounts.at("another", {})


def test_of_whom_it_does_not_measure_it_tells_nothing() -> None:
    """Its next heartbeat begins the counting."""
    one = life(20, base=None)
    assert {} == noted(one).at("c1", {})
    assert {} == bases_of(stands(one))


def test_the_others_measure_from_where_it_is() -> None:
    """Whatever they have heard, before that mark or since."""
    one = life(processed=20, heard=3)
    accounts = noted(one)
    one.lost += 4
    one.base = accounts.bases("c1", {NAME: account(20, 19)}, stands(one))[NAME]

    assert 19 + 4 == one.base + one.heard


def test_a_mark_that_was_not_heard_tells_nothing() -> None:
    """Nor does a worker that one of the two does not know."""
    one = life(20)
    assert {} == noted(one).bases("another", {NAME: account(20, 19)}, stands(one))
    assert {} == noted(one).bases("c1", {"w2@web1": account(20, 19)}, stands(one))
    assert {} == noted().bases("c1", {NAME: account(20, 19)}, stands(one))


def test_another_process_is_another_matter() -> None:
    """Another pid; the same one, begun anew before the mark or since."""
    one = life(20)
    accounts = noted(one)
    assert {} == accounts.bases("c1", {NAME: account(20, 19, pid=7)}, stands(one))
    assert {} == accounts.bases("c1", {NAME: account(3, 3, stamp=NOON + 2)}, stands(one))
    assert {} == accounts.bases("c1", {NAME: account(90, 90, stamp=NOON - 2)}, stands(one))
    assert {} == accounts.bases("c1", {NAME: account(20, 19)}, stands(life(20)))
    assert {} == accounts.bases("c1", {NAME: account(20, 19)}, {})


def test_a_heartbeat_that_one_of_the_two_missed_does_not_matter() -> None:
    """More was processed later."""
    one = life(20)
    accounts = noted(one)
    for told in (account(25, 19, stamp=NOON + 2), account(15, 14, stamp=NOON - 2)):
        assert {NAME: told.starts} == accounts.bases("c1", {NAME: told}, stands(one))


def test_only_the_last_marks_are_kept() -> None:
    """As many as an understudy keeps flushes; one that is noted again is new."""
    accounts = Accounts()
    for number in range(MARKS):
        accounts.note(f"c{number}", {})
    accounts.note("c0", {})
    accounts.note("new", {})

    assert "c0" in accounts
    assert "c1" not in accounts
    assert "c2" in accounts


def test_an_account_precedes_the_heartbeats_of_its_process() -> None:
    """Those that tell as much or more."""
    beats = [decode(body(Process(NAME).beat(NOON, n))).events[0] for n in (19, 20, 21)]
    assert [False, True, True] == [account(20, 19).precedes(beat) for beat in beats]
    assert not account(20, 19, pid=7).precedes(beats[2])


def test_who_knows_less_is_behind() -> None:
    """Of a process that both know."""
    assert is_behind({NAME: account(20, 19)}, {NAME: account(20, 20)})
    assert not is_behind({NAME: account(20, 20)}, {NAME: account(20, 20)})
    assert not is_behind({NAME: account(20, 19)}, {"w2@web1": account(20, 20)})
    assert not is_behind({}, {NAME: account(20, 20)})
    assert not is_behind({NAME: account(2, 2, stamp=NOON + 2)}, {NAME: account(20, 20)})
