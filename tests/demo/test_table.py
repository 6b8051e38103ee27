"""The demo's table: the one of the live view, with what StatsD received in it."""

import pytest

from celery_statsd.demo.figures import Figures, Meter
from celery_statsd.demo.table import drawing, foot, grid, head
from celery_statsd.demo.workload import JOBS
from celery_statsd.top.facts import ENDED
from celery_statsd.top.lines import Style, text, width
from tests.demo.readings import reading
from tests.demo.terminal import Run
from tests.servers.process import REPOSITORY

ENDS = ("succeeded", "failed", "retried", "revoked")


def figures(count: int, astray: int = 0) -> Figures:
    """Each end of each row came `count` times, each time is 345 ms; of all tasks together some
    fly, and `astray` were received and are nowhere."""
    rows = ["cluster.all", *(f"task.{job.name.replace('.', '-')}" for job in JOBS)]
    counters = {
        **{f"{row}.{end}": count for row in rows for end in ENDS},
        **{f"{row}.{metric}": 4 * count for row in rows for metric in ("sent", "received")},
        "cluster.all.received": 4 * count + 16 + 4 + astray,
    }
    flying = {"cluster.all.queued": 12, "cluster.all.reserved": 16, "cluster.all.running": 4}
    timers = {f"{row}.{metric}": [345.0] for row in rows for metric in ("wait", "runtime")}
    meter = Meter([job.name for job in JOBS], "w@shop")
    return meter.figures(reading(counters, flying, timers), 61.0, 1.5)


@pytest.mark.parametrize("count", [0, 7, 2499, 123_456])
@pytest.mark.parametrize("columns", [80, 128, 200])
def test_nothing_is_cut(columns: int, count: int) -> None:
    """Every head, every name, every number is there, on one line a row."""
    lines = [text(one) for one in grid(figures(count), columns)]
    assert len(JOBS) + 2 == len(lines)
    assert 1 == len({len(line.split()) for line in lines[:-1]})  # "all tasks" are two words
    assert columns >= max(map(len, lines))
    for job in JOBS:
        assert 1 == len([line for line in lines if line[1:].startswith(f"{job.name} ")])


def test_the_numbers_are_those_that_statsd_received() -> None:
    """Of a task and of all together, under the heads of the live view."""
    heads, *_, total = (text(one).split() for one in grid(figures(7), 200))
    row = dict(zip(heads[1:], total[2:], strict=True))
    assert {"sent": "28", "came": "48", "ok": "7", "fail": "7", "retr": "7", "revk": "7"} == {
        head: row[head] for head in ("sent", "came", "ok", "fail", "retr", "revk")
    }
    assert ("12", "16", "4", "0") == tuple(row[h] for h in ("queue", "resv", "run", "diff"))
    assert ("345ms", "345ms") == (row["wait95"], row["run50"])
    assert set(ENDS) < set(ENDED)


def test_all_of_it_fits_80x24() -> None:
    """The head, the table, and what one looks at."""
    shown = figures(9999)
    lines = drawing(shown, "note", 80)
    assert 24 > len(lines)
    assert 80 >= max(map(width, lines))
    assert 80 >= max(len(text(one)) for one in head(shown))
    assert 80 >= max(map(len, foot(shown)))
    assert "00:01:01" in text(lines[0])
    assert "note" == text(lines[-1])


def test_a_difference_is_red_and_has_a_sign() -> None:
    """What flies is no difference."""
    balanced, astray = (grid(figures(0, astray), 80)[-1] for astray in (0, 2))
    assert Style.BAD not in {piece.style for piece in balanced}
    assert ("!", "   2") == (astray[0].text, astray[-1].text[-4:])
    assert Style.BAD is astray[0].style is astray[-1].style


NOWHERE = """
import sys
from celery_statsd.demo.table import Table
from celery_statsd.errors import ConfigError

try:
    Table(sys.stdout)
except ConfigError as error:
    print(error)
"""

DRAWN = """
import sys
from celery_statsd.demo.table import Table
from tests.demo.test_table import figures

with Table(sys.stdout) as table:
    table.draw(figures(1), "note")
    table.end(figures(2))
"""


def test_where_nothing_can_be_drawn_there_is_no_table() -> None:
    """The demo writes lines there."""
    with Run(("-c", NOWHERE)) as piped:
        code, output, errors = piped.finish()
    assert (0, "") == (code, errors)
    assert "it needs a terminal" in output


def test_the_last_table_stays() -> None:
    """As plain lines, on the screen that is given back."""
    with Run(("-c", DRAWN), (24, 80), PYTHONPATH=str(REPOSITORY)) as drawn:
        code, output, errors = drawn.finish()
    live, _, after = output.rpartition("\x1b[?1049l")
    assert (0, "") == (code, errors)
    assert drawn.left_clean
    assert "\x1b[?1049h" in live
    assert "note" in live
    assert "all tasks" in after
    assert "\x1b[1m" not in after.partition("\n")[2]
