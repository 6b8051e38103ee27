"""The screen, as text: at 80x24 and at 200x50, without colours, and at any other size."""

from collections.abc import Sequence

import pytest

from celery_statsd.top.frame import Detail, Frame, Tab
from celery_statsd.top.lines import Line, Style, text, width
from celery_statsd.top.painter import Canvas, Size, paint, table
from celery_statsd.top.state import State, press
from tests.bodies import NOON
from tests.top.scenes import ILL, SHOP, WELL, facts, failure, frame, running, timing

NARROW, WIDE = Size(24, 80), Size(50, 200)

DETAIL = Detail((running("4f1c", NOON + 700),), (("CardDeclined", 5),), (failure(),))


def painted(keys: Sequence[str] = (), size: Size = NARROW, shown: Frame = ILL) -> Canvas:
    """The screen after these keys."""
    state = State()
    canvas = paint(state, shown, Detail(), size)
    for key in keys:
        state = press(state, key, canvas.shown)
        canvas = paint(state, shown, DETAIL if state.inside else Detail(), size)
    return canvas


def lines(*keys: str, size: Size = NARROW, shown: Frame = ILL) -> list[str]:
    """The same as text."""
    return [text(one) for one in painted(keys, size, shown).lines]


def styles(canvas: Canvas, word: str) -> set[Style]:
    """How the pieces that hold `word` look."""
    return {piece.style for one in canvas.lines for piece in one if word in piece.text}


TASKS_80 = """\
celery-statsd top  redis://10.0.0.5:6379/0                last 10 s of 00:12:31
!LOST  1 task lost; w2@web1 down; shop long: 640 wait; 5 tasks failed, 4.5% of w
!lost 1 !failed 8 (5 new)  unreported 0  recv-ended 0  unheard 0  unconsumed 0
!down 1
 in 12.0/s  out 11.3/s  queued 13  resv 6  run 1  wait p95 1.5s  run p95 80ms
[1 tasks 3] 2 workers 2  3 queues 2                                     by in/s
 task                     in/s queue resv  run wait95  run95   ok fail lost diff
!shop.tasks.pay            8.0    10    4    1   12ms   80ms   70    5    0    0
~shop.tasks.mail           4.0     0    2    1   1.5s  3.2ms  12k    3    0    0
 ~_summary_of_all_shops      0     3    -    -      -      -    0    0    0    0
!all tasks                12.0    13    6    1   1.5s   80ms  12k    8    1    0
 q quit  ? help  Tab table  Enter look into  / filter  s sort  r turn  p pause
"""

WORKERS_80 = """\
celery-statsd top  redis://10.0.0.5:6379/0                last 10 s of 00:12:31
!LOST  1 task lost; w2@web1 down; shop long: 640 wait; 5 tasks failed, 4.5% of w
!lost 1 !failed 8 (5 new)  unreported 0  recv-ended 0  unheard 0  unconsumed 0
!down 1
 in 12.0/s  out 11.3/s  queued 13  resv 6  run 1  wait p95 1.5s  run p95 80ms
 1 tasks 3 [2 workers 2] 3 queues 2                                    by state
 worker                    state   beat  run resv start/s fail lost unheard
!w2@web1                    down  41.0s    1    -       0    0    1       0
 w1@web1                      up   1.2s    1    -    11.8    0    0       0
 q quit  ? help  Tab table  Enter look into  / filter  s sort  r turn  p pause
"""

QUEUES_80 = """\
celery-statsd top  redis://10.0.0.5:6379/0                last 10 s of 00:12:31
!LOST  1 task lost; w2@web1 down; shop long: 640 wait; 5 tasks failed, 4.5% of w
!lost 1 !failed 8 (5 new)  unreported 0  recv-ended 0  unheard 0  unconsumed 0
!down 1
 in 12.0/s  out 11.3/s  queued 13  resv 6  run 1  wait p95 1.5s  run p95 80ms
 1 tasks 3  2 workers 2 [3 queues 2]                                  by length
 queue                     level length  held takers stuck oldest sent/s wait95
?shop                    careful    640     -      -     -   3.0s   13.0      -
 reports                    good      3     0      -     -   9.0s   0.30      -
 q quit  ? help  Tab table  Enter look into  / filter  s sort  r turn  p pause
"""

TASK_80 = """\
celery-statsd top  redis://10.0.0.5:6379/0                last 10 s of 00:12:31
!LOST  1 task lost; w2@web1 down; shop long: 640 wait; 5 tasks failed, 4.5% of w
!lost 1 !failed 8 (5 new)  unreported 0  recv-ended 0  unheard 0  unconsumed 0
!down 1
 in 12.0/s  out 11.3/s  queued 13  resv 6  run 1  wait p95 1.5s  run p95 80ms
[1 tasks 3] 2 workers 2  3 queues 2                                     by in/s
 task shop.tasks.pay
  in/s 8.0  out/s 7.5  sent 90  came 80  queue 10  resv 4  run 1  ok 70 !fail 5
 !fail% 6.7
  none: retr revk rejc retn unrp lost expd unsn found diff
 times         number      50%      95%      99%  longest
  wait              1     12ms     12ms     12ms     12ms
  runtime           1     80ms     80ms     80ms     80ms
 exceptions, of failures and of retries
         5  CardDeclined
 the last ones (UTC)
  22:13:20  failed  shop.tasks.pay on w1@web1
    CardDeclined('no money')
    File "/srv/shop/tasks.py", line 14, in pay
 runs now, the longest first: 1
     51.0s  w1@web1  4f1c
 Esc back  up down scroll  p pause  ? help  q quit
"""

TASKS_200 = """\
celery-statsd top  redis://10.0.0.5:6379/0                                                                                                                                        last 10 s of 00:12:31
!LOST  1 task lost; w2@web1 down; shop long: 640 wait; 5 tasks failed, 4.5% of what ended
!lost 1 !failed 8 (5 new)  unreported 0  recv-ended 0  unheard 0  unconsumed 0 !down 1
 in 12.0/s  out 11.3/s  queued 13  resv 6  run 1  wait p95 1.5s  run p95 80ms  460.0 events/s  lag p95 9.0ms
[1 tasks 3] 2 workers 2  3 queues 2                                                                                                                                                             by in/s
 task                                  in/s out/s sent  came queue resv  run wait50 wait95 late50 late95  run50  run95   ok fail fail% retr revk rejc retn unrp lost expd unsn found diff
!shop.tasks.pay                         8.0   7.5   90    80    10    4    1   12ms   12ms      -      -   80ms   80ms   70    5   6.7    0    0    0    0    0    0    0    0     0    0
~shop.tasks.mail                        4.0   3.7   40   12k     0    2    1   1.5s   1.5s      -      -  3.2ms  3.2ms  12k    3   0.0    0    0    0    0    0    0    0    0     0    0
 reports.daily_summary_of_all_shops       0     0    3     0     3    -    -      -      -      -      -      -      -    0    0     -    0    0    0    0    0    0    0    0     0    0
!all tasks                             12.0  11.3  133   12k    13    6    1   12ms   1.5s      -      -  3.2ms   80ms  12k    8   4.5    0    0    0    0    0    1    0    0     0    0
 q quit  ? help  Tab table  Enter look into  / filter  s sort  r turn  p pause
"""  # noqa: E501


@pytest.mark.parametrize(
    ("keys", "screen"),
    [("", TASKS_80), ("2", WORKERS_80), ("3", QUEUES_80), ("enter", TASK_80)],
    ids=["tasks", "workers", "queues", "a task"],
)
def test_the_screen_of_80_columns_and_24_rows(keys: str, screen: str) -> None:
    """To the letter; what is blank between the table and the foot is left out above."""
    found = lines(*keys.split())
    assert 24 == len(found)
    assert screen.splitlines() == [one for one in found if one]


def test_the_screen_of_200_columns_and_50_rows() -> None:
    """All columns, all of the flow, and the whole verdict."""
    found = lines(size=WIDE)
    assert 50 == len(found)
    assert TASKS_200.splitlines() == [one for one in found if one]


def test_in_the_first_three_lines_stands_whether_all_is_well() -> None:
    """A sign, a word, the reasons; the numbers that should be 0."""
    _, verdict, zeros, *_ = lines(shown=frame())
    assert " FINE  nothing is lost, 10 queued, 4 run on 2 workers" == verdict
    zero = " lost 0  failed 0  unreported 0  recv-ended 0  unheard 0  unconsumed 0  down 0"
    assert zero == zeros
    assert {Style.GOOD} == styles(painted(shown=frame()), "FINE")


def test_what_is_bad_is_red_and_has_a_sign() -> None:
    """The verdict, the numbers, and the cells that make a row bad; 0 is not."""
    canvas = painted(["down", "down"])
    assert {Style.BAD} == styles(canvas, "!LOST") == styles(canvas, "!lost 1")
    assert {Style.DIM} == styles(canvas, "unreported 0")
    pay, mail = (
        next(one for one in canvas.lines if task in text(one))
        for task in ("tasks.pay", "tasks.mail")
    )
    assert ("!", Style.BAD) == pay[0]
    assert ("~", Style.PAST) == mail[0]
    assert Style.BAD in {piece.style for piece in pay if piece.text.strip() == "5"}
    assert Style.PAST in {piece.style for piece in mail if piece.text.strip() == "3"}


def test_the_chosen_row_stands_out_and_stays_red_where_it_is_bad() -> None:
    """From edge to edge."""
    row = next(one for one in painted().lines if "tasks.pay" in text(one))
    assert {Style.CHOSEN, Style.BAD} == {piece.style for piece in row}
    assert 80 == width(row)


def many(number: int) -> Frame:
    """So many tasks."""
    return frame(tasks=tuple(facts(f"task{n:03}", {"received": 999 - n}) for n in range(number)))


def test_a_long_table_scrolls_with_the_chosen_row_in_it() -> None:
    """The heads and the sum stay; no more rows than there is room for."""
    first, last = lines(shown=many(200)), lines("end", shown=many(200))
    rows = [one.split()[0].strip("!") for one in last if "task1" in one]
    assert "task000" in "".join(first)
    assert "task199" == rows[-1]
    assert " task " in last[5]
    assert "all tasks" in last[-2]
    shown = painted(shown=many(200)).shown
    assert (200, len(rows)) == (len(shown.names), shown.room)


def test_a_filter_keeps_what_contains_it() -> None:
    """Whatever its case; it is shown, and when nothing is left that is said."""
    found = lines("/", "M", "a", "i", "l")
    assert any("tasks.mail" in one for one in found)
    assert not any("tasks.pay" in one for one in found)
    assert "/Mail_" in found[5]
    assert "type what the name contains" in found[-1]
    assert any("none contains 'xyz'" in one for one in lines("/", *"xyz", "enter"))


@pytest.mark.parametrize(
    ("key", "shown", "said"),
    [
        ("1", frame(), "nothing was heard yet"),
        ("3", frame(), "no queue is known"),
        ("3", frame(probed=False), "this transport cannot be asked"),
    ],
)
def test_an_empty_table_says_why(key: str, shown: Frame, said: str) -> None:
    """And what to do about it."""
    assert any(said in one for one in lines(key, size=Size(24, 120), shown=shown))


def test_it_says_that_it_is_paused_and_what_the_log_said() -> None:
    """At the head and at the foot."""
    assert "PAUSED" in lines("p")[0]
    assert "warning broker_lost" in lines(shown=frame(said="warning broker_lost\x1b[2J"))[-1]
    assert "\x1b" not in "".join(lines(shown=frame(said="warning broker_lost\x1b[2J")))


def test_help_tells_the_keys_and_the_columns() -> None:
    """Of the table that is shown; it can be scrolled."""
    assert any("quit" in one for one in lines("?"))
    tall = lines("2", "?", size=Size(80, 100))
    assert any("unheard" in one and "no event told of" in one for one in tall)


HOSTILE = facts("evil\x1b[2J\nname\u202e\u4e16\u754c" * 9, {"received": 10**15, "failed": 10**12})


@pytest.mark.parametrize("keys", [(), ("2",), ("3",), ("enter",), ("?",), ("/", "x"), ("end",)])
@pytest.mark.parametrize(
    "size",
    [(1, 1), (2, 10), (5, 20), (10, 40), (24, 79), (24, 80), (25, 81), (50, 200), (200, 500)],
)
def test_nothing_is_wider_or_higher_than_the_terminal(keys: tuple[str, ...], size: Size) -> None:
    """Whatever its size, and whatever the names hold; no control character is drawn."""
    rows, columns = size
    for shown in (ILL, frame(), frame(HOSTILE, (HOSTILE, *SHOP), (HOSTILE,), (HOSTILE,))):
        canvas = painted(keys, Size(*size), shown)
        assert rows == len(canvas.lines)
        assert all(width(one) <= columns for one in canvas.lines)
        assert all(text(one).isprintable() for one in canvas.lines)


def test_a_name_that_is_too_long_keeps_its_end() -> None:
    """In which it differs from others."""
    assert any(one.startswith(" ~_summary_of_all_shops ") for one in lines())
    assert any("reports.daily_summary_of_all_shops" in one for one in lines(size=Size(24, 140)))


@pytest.mark.parametrize("columns", [80, 200])
@pytest.mark.parametrize("count", [0, 7, 2499, 123_456])
def test_a_whole_table_has_each_number_apart(columns: int, count: int) -> None:
    """What the demo shows: a head, a line a row, and the sum."""
    gauges = dict.fromkeys(("queued", "reserved", "running"), float(count))
    timers = {metric: timing(float(count)) for metric in ("wait", "lateness", "runtime")}
    rows = [facts(f"t{n}", {"received": count}, gauges, timers) for n in range(3)]
    drawn: list[Line] = table(Tab.TASKS, rows, columns, WELL)
    cells = [text(one).split() for one in drawn]
    assert ["task", "t0", "t1", "t2", "all"] == [one[0].strip("!") for one in cells]
    assert 1 == len({len(one) for one in cells[:4]})
    assert len(cells[0]) + 1 == len(cells[4])  # "all tasks" are two words
