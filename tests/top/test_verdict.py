"""The first thing that is seen: it must be right, and name the gravest."""

import pytest

from celery_statsd.top.facts import Facts
from celery_statsd.top.frame import Frame
from celery_statsd.top.verdict import ZEROS, Grade, verdict
from tests.bodies import NOON
from tests.top.scenes import ILL, UP, facts, frame

GOOD, PAST, CAREFUL, BAD = Grade.GOOD, Grade.PAST, Grade.CAREFUL, Grade.BAD


def total(lately: dict[str, int], before: dict[str, int] | None = None) -> Facts:
    """All tasks, of which that has happened beside much that went well."""
    ends = sum(lately.values())
    came = {"received": 1000 + ends, "started": 1000, "succeeded": 1000}
    return facts("all tasks", {**came, **lately}, before=before)


def zeros(shown: Frame) -> dict[str, str]:
    """What the head says of each number that should be 0."""
    return {zero.label: zero.text(shown) for zero in ZEROS}


def test_when_all_is_well_it_says_so_and_how_much_is_there() -> None:
    """FINE, and every number that should be 0 is."""
    told = verdict(frame())
    assert ("FINE", GOOD) == (told.word, told.grade)
    assert "nothing is lost, 10 queued, 4 run on 2 workers" == told.text
    assert [f" {zero.label} 0" for zero in ZEROS] == [*zeros(frame()).values()]


CASES = {
    "away": (frame(connected=False), "DEAF", BAD, "the broker is away"),
    "nobody": (frame(workers=()), "SILENT", BAD, "no worker is heard"),
    "all down": (
        frame(workers=(facts("w1@web1", state="down"),)), "DOWN", BAD,
        "w1@web1 down, and no other is heard",
    ),
    "down": (
        frame(workers=(*UP, facts("w3@web1", state="down"))), "DOWN", BAD, "w3@web1 down",
    ),
    "lost": (frame(total({"lost": 2})), "LOST", BAD, "2 tasks lost"),
    "astray": (
        frame(total({"succeeded": 990})), "LOST", BAD, "1000 tasks unaccounted for",
    ),
    "without a word": (
        frame(total({"unreported": 1})), "BLIND", CAREFUL, "1 task ended without a word",
    ),
    "unheard": (
        frame(workers=(facts("w1@web1", {"events_lost": 7}, state="up"),)), "BLIND", BAD,
        "7 starts unheard",
    ),
    "nobody takes": (
        frame(queues=(facts("mails", gauges={"length": 3, "unconsumed": 3, "consumers": 0}),)),
        "WAITING", BAD, "nobody takes from mails",
    ),
    "nothing is taken": (
        frame(queues=(facts("mails", gauges={"length": 3, "oldest_age_s": 12.0}),)),
        "WAITING", CAREFUL, "mails waits for 12.0s, nothing is taken",
    ),
    "none begins": (
        frame(facts("all tasks", {"sent": 9}, {"queued": 9})), "WAITING", BAD,
        "9 tasks wait and none begins",
    ),
    "too long": (
        frame(queues=(facts("etl", gauges={"length": 2000, "level": 3}),)), "WAITING", BAD,
        "etl bad: 2000 wait",
    ),
    "long": (
        frame(queues=(facts("etl", gauges={"length": 600, "level": 2}),)), "WAITING", CAREFUL,
        "etl long: 600 wait",
    ),
    "some fail": (
        frame(total({"failed": 10})), "FAILING", CAREFUL, "10 tasks failed, 1.0% of what ended",
    ),
    "many fail": (frame(total({"failed": 100})), "FAILING", BAD, "9.1% of what ended"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_each_trouble_has_a_word_and_a_reason(name: str) -> None:
    """Alone."""
    shown, word, grade, reason = CASES[name]
    told = verdict(shown)
    assert (word, grade) == (told.word, told.grade)
    assert reason in told.text


def test_of_several_the_gravest_gives_the_word_and_all_give_reasons() -> None:
    """A worker down, a task lost, a long queue, failures; what is bad goes before what is not."""
    told = verdict(ILL)
    assert ("LOST", BAD) == (told.word, told.grade)
    assert (
        "1 task lost; w2@web1 down; shop long: 640 wait; 5 tasks failed, 4.5% of what ended"
        == told.text
    )
    queue = facts("etl", gauges={"length": 600, "level": 2})
    told = verdict(frame(total({"failed": 100}), queues=(queue,)))
    assert ("FAILING", BAD) == (told.word, told.grade)


def test_many_names_are_not_all_told() -> None:
    """Three, and how many more."""
    workers = tuple(facts(f"w{n}@h", state="down") for n in range(9))
    assert "w0@h, w1@h, w2@h and 6 more down" in verdict(frame(workers=workers)).text


def test_what_is_over_is_remembered_but_no_alarm() -> None:
    """Ten tasks were lost an hour ago: a sign, and FINE; one more, and it is told which are new."""
    over = frame(total({}, before={"received": 10, "lost": 10}))
    again = frame(total({"lost": 1}, before={"received": 10, "lost": 10}))
    assert ("FINE", "~lost 10") == (verdict(over).word, zeros(over)["lost"])
    assert ("LOST", "!lost 11 (1 new)") == (verdict(again).word, zeros(again)["lost"])
    assert (PAST, BAD) == (ZEROS[0].grade(over), ZEROS[0].grade(again))


def test_every_number_that_should_be_0_is_marked_when_it_is_not() -> None:
    """By a sign, whatever the colours; a made-up cluster in which all goes wrong."""
    shown = frame(
        facts("all tasks", {"received": 20, "lost": 1, "failed": 2, "unreported": 3}),
        workers=(facts("w1", {"events_lost": 4}, state="up"), facts("w2", state="down")),
        queues=(facts("q", gauges={"length": 5, "unconsumed": 5}),),
    )
    assert {
        "lost": "!lost 1",
        "failed": "!failed 2",
        "unreported": "!unreported 3",
        "recv-ended": "!recv-ended 14",
        "unheard": "!unheard 4",
        "unconsumed": "!unconsumed 5",
        "down": "!down 1",
    } == zeros(shown)


def test_at_first_it_only_listens() -> None:
    """Workers speak every two seconds: nobody is missed before."""
    told = verdict(frame(workers=(), time=NOON + 3, total=facts("all tasks")))
    assert ("FINE", "listening") == (told.word, told.text)


@pytest.mark.parametrize(
    "gauges",
    [
        {"length": 3, "oldest_age_s": 9.0},
        {"length": 0, "oldest_age_s": 99.0},
        {"length": 3, "oldest_age_s": 99.0, "consumers": 2},
        {"length": 3},
    ],
    ids=["young", "empty", "the broker tells", "unknown age"],
)
def test_a_queue_that_only_waits_for_its_turn_is_no_trouble(gauges: dict[str, float]) -> None:
    """Young, empty, with somebody who takes from it, or of unknown age."""
    assert "FINE" == verdict(frame(queues=(facts("q", gauges=gauges),))).word


def test_idle_is_fine() -> None:
    """Nothing sent, nothing done, workers up."""
    assert "FINE" == verdict(frame(facts("all tasks", gauges={"queued": 0.0}))).word
