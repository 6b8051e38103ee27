"""What an agent says and what it leaves to others: each event once, whoever lives and dies."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from celery_statsd.metric import OWN
from celery_statsd.sinks.base import Address
from celery_statsd.sinks.memory import MemorySink
from celery_statsd.speaker import REGATHER, SKEW, aside
from celery_statsd.understudy import MOST
from tests.bodies import Process, body, patiently
from tests.chorus import FREQ, SINKS, Singer, Stage, speaking_outlet

STAGES = ("received", "started", "succeeded")

DEEDS = ("work", "work", "work", "pulse", "read", "read", "read", "renew", "beat", "deliver",
         "deliver", "kill", "stop", "start", "start")  # fmt: skip

Deed = tuple[str, int, int]


@pytest.fixture(autouse=True, scope="module")
def _mail() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(*speaking_outlet)
        yield


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Two agents with journals, both warm: the first speaks."""
    with Stage([tmp_path / "0", tmp_path / "1"]) as made:
        warm_up(made)
        yield made


def warm_up(stage: Stage) -> None:
    """All start, and hear a mark."""
    for agent in stage.agents:
        agent.start()
        agent.voice.renew()
    stage.beat()
    for agent in stage.agents:
        agent.read(99)
        agent.voice.renew()
        deliver(stage)
    assert stage.agents[0].voice.identity == stage.wire.lease
    assert all(agent.warm for agent in stage.agents)


def deliver(stage: Stage) -> None:
    """All mail of all agents, and what the others hear of it."""
    for agent in stage.living:
        for sink in range(len(SINKS)):
            while agent.mail[sink].entries:
                agent.deliver(sink)
    for agent in stage.living:
        agent.read(99)


def hear(stage: Stage) -> None:
    """All that is in the stream."""
    for agent in stage.living:
        agent.read(len(stage.wire.stream))


def assert_exact(stage: Stage) -> None:
    """Each sink has got the truth, and no series twice for one time."""
    for sums in stage.sums.values():
        assert dict.fromkeys(STAGES, stage.truth) == {s: sums.counters[s] for s in STAGES}
        assert 0 == sums.counters["found"]
        assert [] == sums.again
        assert 0 == sums.counters["events_lost"]


def play(stage: Stage, deeds: list[Deed]) -> None:
    """Do the deeds that can be done; one warm agent, at least, always stays."""
    for word, number, amount in deeds:
        agent = stage.agents[number % len(stage.agents)]
        stage.pass_time()
        if word in ("work", "pulse"):
            getattr(stage, word)()
        elif word == "beat":
            stage.beat()
        elif word == "start":
            if not agent.alive:
                agent.start()
        elif agent.alive:
            act(stage, agent, word, amount)
    for agent in stage.agents:
        if not agent.alive:
            agent.start()
    stage.settle()


def act(stage: Stage, agent: Singer, word: str, amount: int) -> None:
    """What only a living agent does."""
    from_others = [one for one in stage.living if one is not agent and one.warm]
    match word:
        case "read":
            agent.read(amount)
        case "renew":
            agent.voice.renew()
        case "deliver":
            agent.deliver(amount % len(SINKS))
        case "kill" if from_others:
            agent.kill()
        case "stop" if from_others:
            agent.stop(float(int(stage.wire.now) + 1))


plays = st.lists(
    st.tuples(st.sampled_from(DEEDS), st.integers(0, 2), st.integers(1, 6)), max_size=150
)


@settings(patiently, max_examples=15)
@given(plays, st.lists(st.booleans(), min_size=2, max_size=3))
def test_each_event_is_said_once_while_one_warm_agent_lives(
    deeds: list[Deed], journals: list[bool]
) -> None:
    """Agents die, leave, come back with a journal or without one, read late, deliver late to one
    sink and later to the other: each sink gets the truth."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / str(n) if has else None for n, has in enumerate(journals)]
        with Stage(paths) as stage:
            warm_up(stage)
            play(stage, deeds)
            assert_exact(stage)


@settings(patiently, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.booleans()), max_size=6))
def test_a_gap_that_all_had_is_told_to_the_unit(gaps: list[tuple[int, int, bool]]) -> None:
    """Redis goes, with all it had, and comes back: so many attempts were heard before, so many by
    nobody, and the agents' processes may have gone with it. What was not counted is told."""
    with tempfile.TemporaryDirectory() as folder, Stage(journals(folder)) as stage:
        warm_up(stage)
        stage.settle()
        for heard, unheard, killed in gaps:
            work(stage, heard)
            for agent in stage.agents:
                if killed:
                    agent.kill()
            stage.wire.cut, stage.wire.said = "", None
            stage.unheard(unheard)
            for agent in stage.agents:
                stage.wire.leave(agent.voice.identity)
                (agent.start if killed else agent.join)()
            stage.settle()
        for sums in stage.sums.values():
            assert stage.truth == sums.counters["started"] + sums.counters["events_lost"]
            assert sum(unheard for _, unheard, _ in gaps) == sums.counters["events_lost"]


_soon = st.integers(0, int(REGATHER) - 1)
_seldom = st.one_of(st.integers(1, 3), st.integers(int(REGATHER) + 6, 30))


def epochs(until: st.SearchStrategy[int]) -> st.SearchStrategy[list[tuple[int, ...]]]:
    """Seconds after which each agent is back: two of them while nobody speaks yet, one whenever it
    may be; attempts that nobody hears; seconds until Redis is gone again."""
    rows = st.tuples(_soon, _soon, st.integers(0, 30), st.integers(0, 4), until)
    return st.lists(rows, max_size=5)


@settings(patiently, max_examples=15)
@given(epochs(_seldom), st.booleans())
def test_a_redis_that_forgets_again_and_again(lives: list[tuple[int, ...]], lasting: bool) -> None:
    """Each time its agents are back at other moments, and some of them not before it goes again.
    Nothing is counted twice, and what is missing is told, whoever comes first."""
    assert_told(forgotten_again(lives, lasting))


@settings(patiently, max_examples=15)
@given(epochs(st.integers(1, 30)), st.booleans())
@example([(0, 0, 5, 0, 5), (5, 5, 0, 0, 5)], False)
def test_a_redis_that_forgets_as_soon_as_somebody_has_spoken(
    lives: list[tuple[int, ...]], lasting: bool
) -> None:
    """Before the speaker has judged what others had heard without it: then nobody knows that both
    have spoken. Nothing is counted twice and nothing is silent, but losses may be told too high."""
    stage = forgotten_again(lives, lasting)
    for sums in stage.sums.values():
        assert stage.truth <= sums.counters["started"] + sums.counters["events_lost"]
        assert {1} == set((+sums.tasks).values())
        assert [] == sums.again


def forgotten_again(lives: list[tuple[int, ...]], lasting: bool) -> Stage:
    """The end of such a story."""
    with tempfile.TemporaryDirectory() as folder:
        paths = journals(folder, 3) if lasting else [None] * 3
        with Stage(paths) as stage:
            warm_up(stage)
            stage.settle()
            for *backs, unheard, until in [*lives, (0, 3, 5, 1, 40)]:
                stage.forget()
                stage.unheard(unheard)
                began = stage.wire.now
                while stage.wire.now < began + until:
                    for agent, back in zip(stage.agents, backs, strict=True):
                        if not agent.voice.connected and began + back <= stage.wire.now:
                            agent.join()
                    stage.go_on(2)
                stage.tell()
            stage.settle()
            return stage


@pytest.mark.parametrize("end", ["SIGTERM", "SIGKILL"])
@pytest.mark.parametrize("lasting", [True, False], ids=["journal", "no journal"])
def test_who_ends_while_it_holds_losses_back(tmp_path: Path, end: str, lasting: bool) -> None:
    """Redis forgot, and the last agent is stopped before others had the time to come back: it tells
    what it held back before it leaves, or goes on holding it when it is back."""
    with Stage(journals(tmp_path) if lasting else [None, None]) as stage:
        warm_up(stage)
        stage.settle()
        last, other = stage.agents
        other.kill()
        stage.forget()
        stage.unheard(7)
        last.join()
        stage.go_on(2)
        assert stage.wire.now + 1 < last.speaker._waits_until
        if end == "SIGTERM":
            last.stop(float(int(stage.wire.now) + 2))
            if not lasting:
                assert_told(stage)
                assert 7 == stage.sums[SINKS[0]].counters["events_lost"]
        elif lasting:
            last.kill()
        stage.wire.now += 2.0
        if not last.alive:
            last.start()
        for _ in range(30):
            stage.go_on(1)
        stage.settle()
        assert_told(stage)


def test_a_worker_that_the_speaker_does_not_know() -> None:
    """What is held back of it is told by who does know it, once it may be."""
    with Stage([None, None]) as stage:
        warm_up(stage)
        other = Process("w2@web2", pid=77)
        first, second = stage.agents
        second.kill()
        stage.settle()
        stage.wire.stream.append(body(other.beat(stage.wire.now, 10, freq=1000.0)))
        stage.settle()
        stage.forget()
        first.join()
        second.start()
        second.voice.renew()
        for _ in range(20):
            stage.go_on(1)
        assert second.voice.identity == stage.wire.lease
        stage.settle()
        second.kill()
        stage.settle()
        stage.wire.stream.append(body(other.beat(stage.wire.now, 13, freq=1000.0)))
        stage.settle()
        stage.truth += 3
        assert_told(stage)


@pytest.mark.parametrize("lasting", [True, False], ids=["journal", "no journal"])
def test_what_was_missed_since_the_last_mark_is_no_loss(tmp_path: Path, lasting: bool) -> None:
    """Others heard it, and say it at the next one: until that is heard of, whoever came back tells
    no loss, whatever heartbeats say meanwhile. What was heard by nobody is told all the same."""
    with Stage(journals(tmp_path) if lasting else [None, None]) as stage:
        warm_up(stage)
        stage.settle()
        there, back = sorted(stage.agents, key=lambda one: one.voice.identity != stage.wire.lease)
        back.kill()
        work(stage, 50)
        stage.unheard(7)
        back.start()
        work(stage, 2)
        stage.beat()
        hear(stage)
        for _ in range(3):  # the flush is on its way
            stage.wire.now += FREQ
            stage.pulse()
            hear(stage)
        for sink in range(len(SINKS)):
            while there.mail[sink].entries:
                there.deliver(sink)
        hear(stage)
        there.kill()
        for _ in range(10):
            stage.go_on(1)
        stage.settle()
        assert_told(stage)
        assert {7} == {sums.counters["events_lost"] for sums in stage.sums.values()}


def test_who_leaves_the_chorus_tells_what_it_held_back() -> None:
    """Its user may not take part any more, and it comes back alone: no mark will ever be said."""
    with Stage([None]) as stage:
        (agent,) = stage.agents
        agent.start()
        agent.voice.renew()
        stage.settle()
        stage.unheard(5)
        agent.join()
        agent.voice.chorus = False
        stage.settle()
        assert {5} == {sums.counters["events_lost"] for sums in stage.sums.values()}


def assert_told(stage: Stage) -> None:
    """What is missing is told, and nothing counted twice."""
    for sums in stage.sums.values():
        assert stage.truth == sums.counters["started"] + sums.counters["events_lost"]
        assert {1} == set((+sums.tasks).values())
        assert [] == sums.again


deaths = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 12)), max_size=12)
"""Which agent dies, or comes back, and half seconds until the next one does."""


@settings(patiently, max_examples=15)
@given(deaths, st.lists(st.booleans(), min_size=3, max_size=3))
def test_all_may_die(deaths: list[tuple[int, int]], lasting: list[bool]) -> None:
    """Each with a journal or without one. What nobody hears meanwhile, and what they take along, is
    told by those who come: Redis knows how far the last speaker was."""
    with tempfile.TemporaryDirectory() as folder:
        both = zip(journals(folder, 3), lasting, strict=True)
        paths = [path if keep else None for path, keep in both]
        with Stage(paths) as stage:
            warm_up(stage)
            stage.settle()
            stage.go_on(2)
            stage.tell()
            for number, wait in deaths:
                agent = stage.agents[number]
                (agent.kill if agent.alive else agent.start)()
                for _ in range(wait):
                    stage.go_on(2)
            for agent in stage.agents:
                if not agent.alive:
                    agent.start()
            for _ in range(10):
                stage.go_on(1)
            stage.settle()
            assert_told(stage)


def journals(folder: str | Path, number: int = 2) -> list[Path | None]:
    """A file for each agent."""
    return [Path(folder) / str(one) for one in range(number)]


def work(stage: Stage, attempts: int) -> None:
    """So many attempts, heard by all who live."""
    for _ in range(attempts):
        stage.work()
    hear(stage)


def test_the_other_one_says_what_the_dead_had_in_hand(stage: Stage) -> None:
    """It was cut and not sent: whoever takes over has kept it, and says it under its own time."""
    first, second = stage.agents
    work(stage, 3)
    stage.beat()
    hear(stage)
    assert len(first.mail[0].entries) == 1
    first.kill()
    second.voice.renew()
    work(stage, 2)
    stage.beat()
    hear(stage)
    times = [batch.time for number, batch in second.mail[0].entries if number]
    stage.settle()

    assert 2 == len(times) == len(set(times))
    assert_exact(stage)


def test_only_the_sink_that_lacks_it_gets_it_from_the_other(stage: Stage) -> None:
    """One sink was slow for a while: who takes over sends it what it lacks, and the quick one
    nothing again."""
    first, second = stage.agents
    for _ in range(3):
        work(stage, 2)
        stage.beat()
        hear(stage)
        while first.mail[0].entries:
            first.deliver(0)
        hear(stage)
    first.kill()
    second.voice.renew()
    stage.settle()

    assert_exact(stage)


def test_what_was_said_while_one_was_away_is_not_said_again(stage: Stage) -> None:
    """It died between the mark and the word that all is said: that word is kept for it."""
    first, second = stage.agents
    work(stage, 3)
    stage.beat()
    hear(stage)
    second.kill()
    while any(mail.entries for mail in first.mail):
        first.deliver(0)
        first.deliver(1)
    second.start()
    first.kill()
    second.voice.renew()
    stage.settle()

    assert_exact(stage)


def test_what_one_missed_and_another_heard_is_no_loss(stage: Stage) -> None:
    """It was away for less than a flush: the mark is the same, the worker's count is not."""
    first, second = stage.agents
    stage.settle()
    second.kill()
    work(stage, 4)
    second.start()
    stage.beat()
    hear(stage)
    deliver(stage)
    first.kill()
    second.voice.renew()
    stage.settle()

    assert_exact(stage)


def test_what_one_missed_is_no_loss_though_it_knows_no_heartbeat() -> None:
    """It came back without a journal, and heard a flush said before any heartbeat. Then it has to
    speak."""
    with Stage([None, None]) as stage:
        warm_up(stage)
        first, second = stage.agents
        stage.settle()
        second.kill()
        work(stage, 4)
        second.start()
        work(stage, 2)
        stage.beat()
        hear(stage)
        deliver(stage)
        stage.pulse()
        hear(stage)
        second.voice.renew()
        first.kill()
        second.voice.renew()
        stage.settle()

        assert_exact(stage)


def test_what_others_went_on_with_is_dropped(stage: Stage) -> None:
    """It comes back with a flush nobody had said yet, and with half another one; both were said
    meanwhile by one who is dead now."""
    first, second = stage.agents
    work(stage, 2)
    stage.beat()
    hear(stage)
    work(stage, 3)
    second.kill()
    deliver(stage)
    stage.beat()
    hear(stage)
    deliver(stage)
    first.kill()
    second.start()
    stage.settle()

    assert_exact(stage)


def test_a_journal_goes_on_where_nobody_else_was(tmp_path: Path) -> None:
    """All die in the middle of a flush, and come back: what they had is said once."""
    with Stage([tmp_path / "0", tmp_path / "1"]) as stage:
        warm_up(stage)
        work(stage, 3)
        for agent in stage.agents:
            agent.kill()
        for agent in stage.agents:
            agent.start()
        stage.settle()

        assert_exact(stage)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("lasting", [False, True])
def test_the_last_to_leave_says_what_is_left(
    order: tuple[int, int], lasting: bool, tmp_path: Path
) -> None:
    """All agents are stopped within one flush: none leaves to another what that one leaves too."""
    with Stage([tmp_path / str(n) if lasting else None for n in range(2)]) as stage:
        warm_up(stage)
        work(stage, 3)
        for number in order:
            stage.agents[number].stop(stage.wire.now + 1.0)

        assert_exact(stage)


@pytest.mark.parametrize("lasting", [False, True])
def test_a_mark_its_speaker_did_not_hear_is_no_end(lasting: bool, tmp_path: Path) -> None:
    """It asked for a mark and left; the last of all, who has cut there, leaves without another."""
    with Stage([tmp_path / str(n) if lasting else None for n in range(2)]) as stage:
        warm_up(stage)
        work(stage, 3)
        first, second = stage.agents
        stamp = stage.wire.now + 1.0
        first.stop(stamp)
        stage.wire.lease = first.voice.identity
        stage.wire.mark(first.voice.identity, stamp)
        second.stop(stamp + 1.0)
        if lasting:
            second.start()
            stage.wire.leave(first.voice.identity)
            stage.settle()

        assert_exact(stage)


def test_who_leaves_others_leaves_the_rest_to_them(stage: Stage) -> None:
    """Its last flush would stand at the same time as theirs; its gauges end at 0 all the same."""
    first, second = stage.agents
    work(stage, 3)
    first.stop(stage.wire.now + 1.0)

    assert 0 == stage.sums[SINKS[0]].counters["started"]
    second.voice.renew()
    stage.settle()
    assert_exact(stage)


def test_what_nobody_kept_is_counted(stage: Stage) -> None:
    """A sink that is down for longer than an understudy keeps flushes: its speaker dies, and what
    is missing is told as given up."""
    first, second = stage.agents
    for _ in range(MOST + 3):
        stage.beat()
        hear(stage)
    assert 0 == second.chronicle.given_up
    first.kill()
    second.voice.renew()
    stage.beat()
    hear(stage)

    assert 3 == second.chronicle.given_up


def test_no_mark_is_set_for_a_time_that_was_flushed(stage: Stage) -> None:
    """The clock of who takes over is behind: its beats wait until they are new. One that was set
    back by more is the one that counts."""
    second = stage.agents[1]
    stage.agents[0].kill()
    second.voice.renew()
    last = stage.wire.now
    before = stage.wire.cut
    for stamp in (last - 3.0, float(int(last))):
        second.beat(stamp)
    assert before == stage.wire.cut
    second.beat(float(int(last)) + 1.0)
    after = stage.wire.cut
    assert before != after
    second.beat(float(int(last)) - 2 * SKEW)
    assert after != stage.wire.cut


def test_vitals_are_told_without_a_mark(stage: Stage) -> None:
    """While nobody sets a mark an agent says what it knows of itself, and nothing else."""
    second = stage.agents[1]
    stage.wire.lease = "somebody who hangs"
    work(stage, 2)
    for _ in range(3):
        stage.beat()
    entries = list(second.mail[0].entries)

    assert 2 == len(entries)
    assert {0} == {number for number, _ in entries}
    assert {"agent", "broker"} == {row[0].family for _, told in entries for row in told.counters}


@pytest.fixture
def reader() -> Iterator[Singer]:
    """An agent that hears what others do not: on a queue, or alone."""
    with Stage([None]) as stage:
        (agent,) = stage.agents
        agent.start()
        agent.voice.chorus = False  # type: ignore[misc]
        stage.work()
        agent.read()
        yield agent


def reporters(agent: Singer) -> set[str]:
    """Under which names the last flush speaks of the cluster's counters."""
    _, told = agent.mail[0].entries[-1]
    return {s.path.rpartition(".")[2] for s, _ in told.counters if s.family == "cluster"}


def test_who_is_not_served_speaks_aside(reader: Singer) -> None:
    """Its counts are facts of its own name, its zeros are not said at all."""
    reader.beat(0.0)
    assert {"agent0"} == reporters(reader)
    reader.beat(0.0)
    assert set() == reporters(reader)


def test_who_is_served_speaks(reader: Singer) -> None:
    """For all; until it is not served any more."""
    reader.speaker.serve(True, time.time())
    reader.beat(0.0)
    assert {"all"} == reporters(reader)
    reader.speaker.serve(False, time.time())
    reader.beat(0.0)
    assert set() == reporters(reader)


def test_who_was_first_tells_of_the_queues(reader: Singer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though nobody sends any events: messages may wait where there are no workers."""
    monkeypatch.setattr(type(reader.voice), "stood_by", False)

    def told() -> set[tuple[str, str]]:
        reader.chronicle.pipeline.note("queue", "etl", "length", 5)
        reader.chronicle.pipeline.note("cluster", "all", "findings", 1)
        reader.beat(0.0)
        _, batch = reader.mail[0].entries[-1]
        return {(s.family, s.metric) for s, _ in batch.gauges if s.family not in OWN}

    assert reader.speaker.leads
    assert {("queue", "length")} == told()
    monkeypatch.setattr(type(reader.voice), "stood_by", True)
    assert not reader.speaker.leads
    assert set() == told()


def test_who_takes_over_lets_an_interval_pass(
    reader: Singer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one may have said its farewell for the same beat."""
    monkeypatch.setattr(type(reader.voice), "stood_by", True)
    reader.speaker.serve(True, time.time())
    reader.beat(0.0)
    assert {"agent0"} == reporters(reader)
    reader.speaker.serve(False, time.time())
    reader.speaker.serve(True, time.time() - reader.speaker.interval)
    reader.beat(0.0)
    assert {"all"} == reporters(reader)


def test_aside_keeps_what_is_ones_own(reader: Singer) -> None:
    """Vitals as they are; of the rest the counts that are not 0, and the timers, no gauge."""
    reader.speaker.serve(True, time.time())
    reader.beat(0.0)
    _, told = reader.mail[0].entries[-1]
    said = aside(told, "me")

    assert told.part(own=True) == said.part(own=True)
    assert () == said.part(own=False).gauges
    own = said.part(own=False)
    assert {"me"} == {s.path.rpartition(".")[2] for s, _ in (*own.counters, *own.timers)}
    assert sum(total for _, total in told.part(own=False).counters) == sum(
        total for _, total in own.counters
    )
    assert all(total for _, total in own.counters)


def test_a_sink_that_stays_keeps_its_outlet(reader: Singer) -> None:
    """With all that waits there; one that goes sends what it has, and is not followed any more."""
    speaker = reader.speaker
    stays, goes = reader.mail
    speaker.adopt([MemorySink(Address.parse(sink)) for sink in ("statsd://new", SINKS[0])])
    new, same = reader.mail

    assert same is stays
    assert new.sink.address.text == "statsd://new"
    assert ["statsd://new", SINKS[0]] == list(reader.chronicle.sinks)
    assert goes in speaker.finish()


def test_a_new_sink_gets_what_comes(reader: Singer) -> None:
    """From the next flush on."""
    reader.beat(0.0)
    reader.speaker.adopt([MemorySink(Address.parse("statsd://new"))])
    assert not reader.mail[0].entries
    reader.beat(0.0)
    assert [2] == [number for number, _ in reader.mail[0].entries]


@pytest.mark.parametrize(("stood_by", "lost"), [(True, 0), (False, 7)])
def test_what_was_served_to_another_one_is_no_loss(
    stood_by: bool, lost: int, reader: Singer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who takes over begins to count starts anew; who was alone all the time does not."""
    monkeypatch.setattr(type(reader.voice), "stood_by", stood_by)
    worker, wire = Process("w2@web2"), reader.voice._wire
    for served, processed in ((True, 1), (True, 1), (False, 8), (True, 8), (True, 8)):
        wire.now += FREQ
        wire.stream.append(body(worker.beat(wire.now, processed, freq=FREQ)))
        reader.speaker.serve(served, wire.now)
        if served:
            reader.read()
        else:
            wire.stream.pop()

    told = reader.chronicle.flush(wire.now).batch.counters
    assert lost == sum(
        total
        for series, total in told
        if (series.family, series.metric) == ("worker", "events_lost")
    )
