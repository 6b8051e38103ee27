"""What stands on the pages behind the tables."""

from celery_statsd.top.columns import COLUMNS
from celery_statsd.top.facts import Facts
from celery_statsd.top.frame import Detail, Tab
from celery_statsd.top.lines import Style, text, width
from celery_statsd.top.pages import MOST_RUNNING, detail_page, help_page
from celery_statsd.top.verdict import ZEROS
from tests.bodies import NOON
from tests.top.scenes import ILL, SHOP, facts, failure, running


def page(tab: Tab, one: Facts, detail: Detail | None = None, columns: int = 80) -> list[str]:
    """A page, as text."""
    drawn = detail_page(tab, one, detail or Detail(), NOON + 60, columns)
    return [text(line) for line in drawn]


def test_numbers_are_whole_and_zeros_are_only_named() -> None:
    """12,040 is no 12k here."""
    found = page(Tab.TASKS, SHOP[1], columns=200)
    assert " task shop.tasks.mail" == found[0]
    assert "came 12040" in found[1]
    assert "~fail 3" in found[1]
    assert found[2].startswith("  none: queue")
    assert "lost" in found[2]


def test_exceptions_come_with_their_number_and_their_words() -> None:
    """And with the place that raised them; a retry is told from a failure."""
    failures = (failure(), failure(retried=True, error="Timeout", text="odd", where=""))
    detail = Detail(classes=(("CardDeclined", 1234), ("Timeout", 1)), failures=failures)
    found = page(Tab.TASKS, SHOP[0], detail)
    assert "      1234  CardDeclined" in found
    at = found.index("  22:13:20  failed  shop.tasks.pay on w1@web1")
    assert [
        "    CardDeclined('no money')",
        '    File "/srv/shop/tasks.py", line 14, in pay',
        "  22:13:20  retried shop.tasks.pay on w1@web1",
        "    Timeout odd",
    ] == found[at + 1 : at + 5]


def test_a_long_place_keeps_its_end() -> None:
    """File and line are there."""
    where = f'File "/{"very/" * 40}deep/tasks.py", line 14, in pay'
    found = page(Tab.TASKS, SHOP[0], Detail(failures=(failure(where=where),)))
    assert any(one.endswith('deep/tasks.py", line 14, in pay') and len(one) <= 80 for one in found)


def test_what_runs_is_told_the_longest_first() -> None:
    """Of a task on which worker, on a worker which task; not all, if they are many."""
    tasks = tuple(running(f"uuid{n}", NOON + n) for n in range(MOST_RUNNING + 4))
    found = page(Tab.TASKS, SHOP[0], Detail(running=tasks))
    assert "     1m00s  w1@web1  uuid0" in found
    assert "  ... and 4 more" in found
    assert "     1m00s  shop.tasks.pay  uuid0" in page(Tab.WORKERS, Facts("w"), Detail(tasks))


def test_what_began_before_the_view_is_owned_to_be_unknown() -> None:
    """The heartbeat tells of three, one is known."""
    busy = facts("w1@web1", gauges={"active": 3}, state="up")
    said = "  what began before the view did is not known by its name"
    assert said in page(Tab.WORKERS, busy, Detail((running("a", NOON),)))
    assert said not in page(Tab.WORKERS, busy, Detail((running("a", NOON),) * 3))


def test_a_queue_runs_nothing() -> None:
    """Its numbers are all there is."""
    found = page(Tab.QUEUES, ILL.queues[1])
    assert any("length 640" in one for one in found)
    assert not any("runs now" in one for one in found)


def test_odd_times_and_names_break_nothing() -> None:
    """What hostile events may hold."""
    odd = failure(at=1e11 * 99, task="\x1b[2J", text="a\nb", where="\x00")
    drawn = detail_page(Tab.TASKS, Facts("\x07"), Detail(failures=(odd,)), NOON, 80)
    assert all(text(line).isprintable() for line in drawn)
    assert any("--:--:--" in text(line) for line in drawn)


def test_help_fits_80_columns_and_explains_everything() -> None:
    """Each column of each table, and each number that should be 0."""
    for tab in Tab:
        drawn = help_page(tab)
        assert 80 >= max(map(width, drawn))
        told = "\n".join(map(text, drawn))
        for explained in (*COLUMNS[tab],):
            assert explained.meaning in told
        for zero in ZEROS:
            assert zero.meaning in told
        assert any(piece.style is Style.HEAD for line in drawn for piece in line)
