"""The roster's laws: who is alive, who came anew, and how many starts never arrived."""

from celery_statsd.accounts import Account
from celery_statsd.events import Change, Started, decode
from celery_statsd.life import FREQ, Life, State
from celery_statsd.roster import (
    BATCHING,
    FORGOTTEN_AFTER,
    KEPT_AFTER,
    LONGEST_SILENCE,
    MUTE,
    Roster,
)
from tests.bodies import NOON, Event, Process, body

PATIENCE = 2 * FREQ + BATCHING
"""Seconds of silence after which a worker of the usual heartbeat is dead."""


class Watch:
    """A roster and its clock."""

    def __init__(self, **bounds: float) -> None:
        self.now = NOON
        self.roster = Roster(**bounds)  # type: ignore[arg-type]
        self.changes: list[Change] = []

    def tell(self, *events: Event, late: float = 0.0) -> None:
        """The events arrive `late` seconds after they were made."""
        for event in decode(body(*events)).events:
            self.now = max(self.now, event.timestamp + late)
            if hasattr(event, "uuid"):
                life, told = self.roster.life(event, self.now)
                if isinstance(event, Started):
                    life.note_start(event.timestamp)
            else:
                told = self.roster.observe(event, self.now)
            self.changes += told

    def wait(self, seconds: float) -> None:
        """Let time pass, a second at a time."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(self.now + 1.0, end)
            self.changes += self.roster.tick(self.now)

    @property
    def news(self) -> list[tuple[str, int, int]]:
        """What was told: the word, the pid it was told of, the amount."""
        return [(change.news.word, change.of.pid, change.amount) for change in self.changes]

    @property
    def life(self) -> Life:
        """The present life of the only name there is."""
        (life,) = self.roster
        return life


def test_a_worker_is_up_once_it_beats() -> None:
    """A greeting or a heartbeat makes a life up, with what it tells of itself."""
    watch, worker = Watch(), Process()
    watch.tell(worker.online(NOON), worker.beat(NOON + 2, 7, active=3, freq=5.0))
    life = watch.life
    assert (State.UP, 7, 3, 5.0) == (life.state, life.processed, life.active, life.freq)
    assert (0.5, 0.25, 0.125) == life.loadavg
    assert [] == watch.changes


def test_two_intervals_of_silence_are_a_death() -> None:
    """It stays up as long as it may only be late, then it is down, told once."""
    watch, worker = Watch(), Process()
    watch.tell(worker.beat(NOON))
    watch.wait(PATIENCE)
    assert State.UP is watch.life.state
    watch.wait(1)
    assert State.DOWN is watch.life.state
    watch.wait(100)
    assert [("offline", 101, 1)] == watch.news


def test_the_patience_is_the_workers_own_interval() -> None:
    """A worker that beats every 10 s is not dead after 6."""
    watch, worker = Watch(), Process()
    watch.tell(worker.beat(NOON, freq=10.0))
    watch.wait(20)
    assert State.UP is watch.life.state
    watch.wait(2)
    assert State.DOWN is watch.life.state


def test_any_event_is_a_sign_of_life() -> None:
    """A task's event keeps its worker up when its heartbeats are late."""
    watch, worker = Watch(), Process()
    watch.tell(worker.beat(NOON))
    for second in range(0, 20, 4):
        watch.tell(worker.started("a", NOON + second))
        watch.wait(4)
    assert State.UP is watch.life.state


def test_a_reconnect_is_no_death() -> None:
    """Offline, then online with the same pid and the old `processed`: nothing happened."""
    watch, worker = Watch(), Process()
    watch.tell(worker.online(NOON, 5), worker.beat(NOON + 2, 5), worker.offline(NOON + 3, 5))
    watch.wait(PATIENCE - 1)
    watch.tell(worker.online(watch.now, 5), worker.beat(watch.now + 2, 5))
    watch.wait(PATIENCE)
    assert [] == watch.changes
    assert State.UP is watch.life.state
    assert NOON + 3 + PATIENCE - 1 == watch.life.rejoined_stamp


def test_a_farewell_that_stands_is_a_departure() -> None:
    """Nothing came behind it for as long as a silence would last: it has left, told once."""
    watch, worker = Watch(), Process()
    watch.tell(worker.beat(NOON), worker.offline(NOON + 1))
    watch.wait(PATIENCE + 1)
    assert State.LEFT is watch.life.state
    assert [("offline", 101, 1)] == watch.news
    assert ["w1@web1"] == watch.roster.retire(watch.now)
    assert [] == list(watch.roster)


def test_one_that_had_left_and_comes_back_is_seen_again() -> None:
    """A reconnect that took longer than the farewell's patience: the life is up once more."""
    watch, worker = Watch(), Process()
    watch.tell(worker.beat(NOON, 3), worker.offline(NOON + 1, 3))
    watch.wait(PATIENCE + 1)
    watch.roster.retire(watch.now)
    watch.tell(worker.online(watch.now, 3))
    assert State.UP is watch.life.state
    assert [("offline", 101, 1)] == watch.news


def test_one_that_has_left_stays_while_it_holds_tasks() -> None:
    """A warm shutdown may take its time: the name is closed when the last attempt is over."""
    watch, worker = Watch(), Process()
    watch.tell(worker.beat(NOON), worker.offline(NOON + 1))
    watch.life.unusual_running = 1
    watch.wait(PATIENCE + 1)
    assert [] == watch.roster.retire(watch.now)
    watch.life.unusual_running = 0
    assert ["w1@web1"] == watch.roster.retire(watch.now)


def test_a_new_pid_is_a_restart() -> None:
    """The old life is gone at once, and the new one counts from its own beginning."""
    watch = Watch()
    watch.tell(Process(pid=1).beat(NOON, 9), Process(pid=2).online(NOON + 1))
    assert [("restarts", 2, 1), ("offline", 1, 1)] == watch.news
    assert (2, 0) == (watch.life.pid, watch.life.processed)


def test_a_restart_of_a_dead_worker_is_no_second_death() -> None:
    """It was told as offline when its silence was noticed."""
    watch = Watch()
    watch.tell(Process(pid=1).beat(NOON))
    watch.wait(PATIENCE + 1)
    watch.tell(Process(pid=2).online(watch.now))
    assert [("offline", 1, 1), ("restarts", 2, 1)] == watch.news


def test_a_hangup_is_a_restart_under_the_same_pid() -> None:
    """SIGHUP keeps the pid: `processed` falls, so it is a new life."""
    watch, worker = Watch(), Process()
    watch.tell(worker.beat(NOON, 50))
    old = watch.life
    watch.tell(worker.online(NOON + 1, 0))
    assert [("restarts", 101, 1), ("offline", 101, 1)] == watch.news
    assert watch.life is not old
    assert NOON + 1 == old.gone_at


def test_late_events_of_an_old_process_change_no_present() -> None:
    """Heard after its successor, the earlier process is gone, and the name stays the new one's."""
    watch = Watch()
    watch.tell(Process(pid=2).online(NOON + 10))
    watch.tell(Process(pid=1).succeeded("a", NOON))
    assert [("restarts", 2, 1), ("offline", 1, 1)] == watch.news
    assert (2, State.UP) == (watch.life.pid, watch.life.state)
    watch.tell(Process(pid=1).succeeded("b", NOON + 1))
    assert 2 == len(watch.changes)


def test_a_worker_without_heartbeat_is_unknown_not_down() -> None:
    """It was never heard to beat, so its silence says nothing; a remote heartbeat changes that
    not: it has no `processed`."""
    watch, worker = Watch(), Process()
    watch.tell(worker.received("a", NOON), worker.echo(NOON + 1))
    watch.wait(1000)
    assert State.UNKNOWN is watch.life.state
    assert [] == watch.changes


def test_a_heartbeat_that_was_asked_for_tells_nothing_but_life() -> None:
    """No `processed`, no `active`, and not the interval it names."""
    watch, worker = Watch(), Process()
    watch.tell(worker.beat(NOON, 7, active=2))
    watch.tell(worker.echo(NOON + 1))
    life = watch.life
    assert (7, 2, FREQ) == (life.processed, life.active, life.freq)
    watch.wait(PATIENCE)
    assert State.UP is life.state


def test_a_quiet_worker_is_unknown_the_second_time() -> None:
    """A solo worker is silent while it works: once it came back from such a silence, the next one
    is no death, but for a very long one."""
    watch, worker = Watch(), Process()
    watch.tell(worker.beat(NOON))
    watch.wait(20)
    assert [("offline", 101, 1)] == watch.news
    watch.tell(worker.beat(watch.now))
    assert State.UP is watch.life.state
    watch.wait(20)
    assert State.UNKNOWN is watch.life.state
    watch.wait(LONGEST_SILENCE)
    assert State.DOWN is watch.life.state
    assert [("offline", 101, 1)] * 2 == watch.news


def test_nobody_dies_while_we_are_deaf() -> None:
    """The silence of the time in which we could not listen says nothing; a new one does."""
    watch, worker = Watch(), Process()
    watch.tell(worker.beat(NOON))
    for _ in range(30):
        watch.roster.deaf(watch.now)
        watch.wait(1)
    assert [] == watch.changes
    watch.wait(PATIENCE + 1)
    assert [("offline", 101, 1)] == watch.news


def test_the_dead_are_shown_for_an_hour() -> None:
    """Then their name is closed, once."""
    watch, worker = Watch(), Process()
    watch.tell(worker.beat(NOON))
    watch.wait(60)
    assert [] == watch.roster.retire(NOON + FORGOTTEN_AFTER)
    assert ["w1@web1"] == watch.roster.retire(NOON + FORGOTTEN_AFTER + 1)
    assert [] == watch.roster.retire(NOON + FORGOTTEN_AFTER + 2)
    assert [] == list(watch.roster)


def test_one_without_heartbeat_is_seen_again_whenever_it_speaks() -> None:
    """An hour of silence closes its name, though it may still hold a task."""
    watch, worker = Watch(), Process()
    watch.tell(worker.received("a", NOON))
    watch.life.unusual_reserved = 1
    assert ["w1@web1"] == watch.roster.retire(NOON + FORGOTTEN_AFTER + 1)
    assert [] == list(watch.roster)
    watch.tell(worker.started("a", NOON + FORGOTTEN_AFTER + 2))
    assert (1, State.UNKNOWN) == (watch.life.reserved, watch.life.state)


def test_an_earlier_life_is_forgotten_when_nothing_late_can_come() -> None:
    """Its last events may come KEPT_AFTER seconds late; until then it is known as what it was."""
    watch = Watch()
    watch.tell(Process(pid=1).beat(NOON, 9), Process(pid=2).beat(NOON + 1))
    watch.roster.retire(NOON + KEPT_AFTER)
    watch.tell(Process(pid=1).started("a", NOON))
    assert 2 == len(watch.changes)
    assert 2 == watch.life.pid


def test_the_number_of_lives_is_bounded() -> None:
    """Past the ceiling one is forgotten for each that comes, those not heard for longest first:
    counted, its name closed, and no restart when it speaks again."""
    watch = Watch(ceiling=3)
    workers = [Process(f"w{n}@web1", n) for n in range(6)]
    for worker in workers:
        watch.tell(workers[0].beat(watch.now), worker.beat(watch.now + 1))
    assert 3 == watch.roster.forgotten
    assert {"w0@web1", "w4@web1", "w5@web1"} == {life.hostname for life in watch.roster}
    assert [False] * 3 == [f"w{n}@web1" in watch.roster for n in (1, 2, 3)]
    watch.tell(workers[1].beat(watch.now))
    assert [] == watch.changes
    assert "w1@web1" in {life.hostname for life in watch.roster}


# The loss meter.


def test_no_start_is_missed_where_none_is_lost() -> None:
    """The growth of `processed` is the starts that were seen, whatever came before we listened."""
    watch, worker = Watch(), Process()
    watch.tell(worker.started("old", NOON), worker.beat(NOON + 1, 1000))
    for n in range(5):
        beat = NOON + 2 * n + 2
        watch.tell(worker.started(f"{n}", beat - 0.5), worker.beat(beat, 1001 + n))
    watch.wait(10)
    assert 0 == watch.roster.lost


def test_starts_that_never_came_are_counted() -> None:
    """Two of three starts did not arrive: told once, when nothing can come behind any more."""
    watch, worker = Watch(), Process()
    watch.tell(worker.online(NOON), worker.started("a", NOON + 1), worker.beat(NOON + 2, 3))
    assert [] == watch.changes
    watch.wait(3)
    assert [("events_lost", 101, 2)] == watch.news
    watch.tell(worker.beat(watch.now, 3))
    watch.wait(3)
    assert 2 == watch.roster.lost


def test_a_batch_that_trails_its_heartbeat_is_no_loss() -> None:
    """The start was made before the heartbeat and comes behind it: the heartbeat counted it."""
    watch, worker = Watch(), Process()
    watch.tell(worker.online(NOON), worker.beat(NOON + 2, 1), worker.started("a", NOON + 1.99))
    watch.tell(worker.beat(NOON + 4, 1))
    watch.wait(5)
    assert 0 == watch.roster.lost


def test_a_start_behind_a_heartbeat_belongs_to_the_next() -> None:
    """It does not make up for one that was lost before."""
    watch, worker = Watch(), Process()
    watch.tell(worker.online(NOON), worker.beat(NOON + 2, 1), worker.started("b", NOON + 3))
    watch.tell(worker.beat(NOON + 4, 2))
    assert 1 == watch.roster.lost
    watch.wait(5)
    assert 1 == watch.roster.lost


def test_the_race_of_threads_is_no_loss() -> None:
    """A start counted by a heartbeat may be stamped a moment after it."""
    watch, worker = Watch(), Process()
    watch.tell(worker.online(NOON), worker.beat(NOON + 2, 1), worker.started("a", NOON + 2.01))
    watch.tell(worker.beat(NOON + 4, 1))
    watch.wait(5)
    assert 0 == watch.roster.lost


def test_the_meter_begins_with_the_first_heartbeat() -> None:
    """What was processed before we came is nobody's loss."""
    watch, worker = Watch(), Process()
    watch.tell(worker.beat(NOON, 500), worker.beat(NOON + 2, 501))
    watch.wait(5)
    assert [("events_lost", 101, 1)] == watch.news


def test_what_trails_the_first_heartbeat_hides_no_loss() -> None:
    """A start that the first heartbeat had counted makes up for none of the next."""
    watch, worker = Watch(), Process()
    watch.tell(
        worker.beat(NOON, 500), worker.started("old", NOON - 0.1), worker.beat(NOON + 2, 501)
    )
    watch.wait(5)
    assert 1 == watch.roster.lost


def test_a_gap_of_ours_is_measured() -> None:
    """Nobody listened: the first heartbeat after it tells what was missed."""
    watch, worker = Watch(), Process()
    watch.tell(worker.online(NOON), worker.started("a", NOON + 1), worker.beat(NOON + 2, 1))
    watch.roster.deaf(NOON + 60)
    watch.tell(worker.beat(NOON + 60, 91))
    watch.wait(5)
    assert 90 == watch.roster.lost


def test_a_new_life_begins_a_new_count() -> None:
    """After a restart `processed` counts from 0: that is no negative loss, and hides none."""
    watch = Watch()
    watch.tell(Process(pid=1).beat(NOON, 40), Process(pid=2).online(NOON + 1, 0))
    second = Process(pid=2)
    watch.tell(second.started("a", NOON + 2), second.beat(NOON + 3, 3))
    watch.wait(5)
    assert 2 == watch.roster.lost


def test_what_others_heard_is_no_loss() -> None:
    """After a rebase the next heartbeat is where the counting begins; later losses are losses."""
    watch, worker = Watch(), Process()
    watch.tell(worker.beat(NOON, 10), worker.beat(NOON + 2, 10))
    watch.roster.rebase()
    watch.tell(worker.beat(NOON + 4, 15), worker.beat(NOON + 6, 15))
    assert 0 == watch.roster.lost
    watch.tell(worker.started("t", NOON + 7), worker.beat(NOON + 8, 18), worker.beat(NOON + 10, 18))
    assert 2 == watch.roster.lost


def test_a_loss_that_was_told_before_a_rebase_is_not_told_again() -> None:
    """Nor is it forgotten."""
    watch, worker = Watch(), Process()
    watch.tell(worker.beat(NOON, 10), worker.beat(NOON + 2, 13), worker.beat(NOON + 4, 13))
    watch.roster.rebase()
    watch.tell(worker.beat(NOON + 6, 20), worker.beat(NOON + 8, 20), worker.beat(NOON + 10, 21))
    watch.wait(3.0)
    assert 3 + 1 == watch.roster.lost


def test_a_worker_that_others_knew_is_measured_from_where_they_were() -> None:
    """From its first heartbeat on: what nobody has heard since is lost. What is heard before that
    heartbeat is not."""
    watch, worker = Watch(), Process("w1@web1", pid=7)
    watch.roster.expect({"w1@web1": Account(7, 20, NOON - 9, 22)})
    watch.tell(worker.started("t", NOON + 1), worker.beat(NOON + 2, 30), worker.beat(NOON + 4, 30))
    assert 30 - 22 - 1 == watch.roster.lost


def test_what_others_said_since_counts_more_than_what_was_expected() -> None:
    """The speaker's next word may come before the worker's first heartbeat."""
    watch, worker = Watch(), Process("w1@web1", pid=7)
    watch.roster.expect({"w1@web1": Account(7, 20, NOON - 9, 20)})
    watch.tell(worker.started("t", NOON + 1))
    watch.roster.rebase({"w1@web1": 28})
    watch.tell(worker.beat(NOON + 2, 30), worker.beat(NOON + 4, 30))
    assert 30 - 28 - 1 == watch.roster.lost


def test_what_others_knew_of_another_process_tells_nothing() -> None:
    """Another pid, a count that began anew, a life that is known already."""
    for told in (Account(8, 20, NOON - 9, 20), Account(7, 40, NOON - 9, 40)):
        watch, worker = Watch(), Process("w1@web1", pid=7)
        watch.roster.expect({"w1@web1": told})
        watch.tell(worker.beat(NOON, 30), worker.beat(NOON + 2, 31), worker.beat(NOON + 4, 31))
        assert 1 == watch.roster.lost

    watch, worker = Watch(), Process("w1@web1", pid=7)
    watch.tell(worker.beat(NOON, 30))
    watch.roster.expect({"w1@web1": Account(7, 20, NOON - 9, 20)})
    watch.tell(worker.beat(NOON + 2, 31), worker.beat(NOON + 4, 31))
    assert 1 == watch.roster.lost


def test_no_more_is_expected_than_there_is_room_for() -> None:
    """As many workers as the ceiling."""
    watch = Watch(ceiling=2)
    names = ("w1@a", "w2@a", "w3@a")
    watch.roster.expect({name: Account(7, 20, NOON - 9, 20) for name in names})
    for name in names:
        worker = Process(name, pid=7)
        watch.tell(worker.beat(NOON, 30), worker.beat(NOON + 2, 30))
    assert 20 == watch.roster.lost


def test_when_nobody_beats_it_may_be_us() -> None:
    """Seconds since the last heartbeat of all, once MUTE of them are missing; else 0."""
    watch = Watch()
    assert (0.0, 0.0) == (watch.roster.mute_for(NOON), watch.roster.last_beat)
    watch.tell(Process("w1@a").beat(NOON, 0), Process("w2@b").beat(NOON + 1, 0))
    patience = MUTE * FREQ + BATCHING
    assert NOON + 1 == watch.roster.last_beat
    assert 0.0 == watch.roster.mute_for(NOON + 1 + patience)
    assert patience + 1 == watch.roster.mute_for(NOON + 2 + patience)


def test_a_silence_of_ours_is_not_theirs() -> None:
    """What we could not hear does not count."""
    watch = Watch()
    watch.tell(Process().beat(NOON, 0))
    watch.roster.deaf(NOON + 100)
    assert 0.0 == watch.roster.mute_for(NOON + 101)
    assert 50.0 == watch.roster.mute_for(NOON + 150)


def test_who_said_goodbye_is_not_missed() -> None:
    """The last worker left; nobody has to beat. One that never beats is not missed either."""
    watch, worker = Watch(), Process()
    watch.tell(worker.received("t", NOON))
    assert 0.0 == watch.roster.mute_for(NOON + 100)
    watch.tell(worker.beat(NOON, 0), worker.offline(NOON + 1, 0))
    assert 0.0 == watch.roster.mute_for(NOON + 100)
