"""The table: it fits, it is complete, and it turns red when it has to."""

import io
import re

import pytest
from rich.console import Console

from celery_statsd.demo.figures import Figures, Meter
from celery_statsd.demo.table import NARROW_COLUMNS, WIDE, WIDE_COLUMNS, Table, foot, grid, head
from celery_statsd.demo.workload import JOBS
from tests.demo.readings import reading

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


def printed(drawing: object, width: int, colour: bool = False) -> str:
    stream = io.StringIO()
    system = "standard" if colour else None
    Console(file=stream, width=width, color_system=system, force_terminal=colour).print(drawing)
    return stream.getvalue()


@pytest.mark.parametrize("count", [0, 7, 2499, 123_456])
@pytest.mark.parametrize(
    ("width", "columns"), [(80, NARROW_COLUMNS), (WIDE, WIDE_COLUMNS), (200, WIDE_COLUMNS)]
)
def test_nothing_is_cut(width: int, columns: tuple[object, ...], count: int) -> None:
    """Every head, every name, every number is there, on one line a row."""
    text = printed(grid(figures(count), width), width)
    lines = text.splitlines()
    assert "\u2026" not in text
    assert len(JOBS) + 4 == len(lines)
    assert all(len(line.split()) == len(columns) + 1 for line in lines[2:-2])
    assert width >= max(len(line.rstrip()) for line in lines)
    for job in JOBS:
        assert 1 == len([line for line in lines if line.startswith(f"{job.name} ")])


def test_the_other_lines_fit_eighty_columns() -> None:
    """The head, and what one looks at; all together fit 24 rows."""
    shown = figures(9999)
    lines = [*str(head(shown)).splitlines(), *foot(shown)]
    assert 80 >= max(map(len, lines))
    assert 24 > len(lines) + len(JOBS) + 4
    assert "01:01" in lines[0]


def test_a_difference_is_red_and_none_is_green() -> None:
    """What flies is no difference."""
    balanced = printed(grid(figures(7), 80), 80, colour=True)
    assert "\x1b[32m   0\x1b[0m" in balanced
    assert "\x1b[1;37;41m" not in balanced
    astray = printed(grid(figures(7, astray=2), 80), 80, colour=True)
    assert 1 == len(re.findall(r"\x1b\[1;37;41m +2\x1b", astray))


def test_drawing_to_no_terminal_is_harmless() -> None:
    """The last table is what stays."""
    stream = io.StringIO()
    with Table(stream) as table:
        table.draw(figures(1), "note")
        table.end(figures(2))
    assert "all tasks" in stream.getvalue()
