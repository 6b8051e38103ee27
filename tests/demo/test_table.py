"""The table: it fits, it is complete, and it turns red when it has to."""

import io
import re

import pytest
from rich.console import Console

from celery_statsd.demo.figures import Figures, Meter
from celery_statsd.demo.table import NARROW_COLUMNS, WIDE, WIDE_COLUMNS, Table, foot, grid, head
from celery_statsd.demo.workload import JOBS
from tests.demo.readings import reading

METRICS = ("sent", "received", "succeeded", "failed", "retried", "revoked")


def figures(count: int, running: int = 0) -> Figures:
    """Each number of each row is `count`, each time 345 ms; `running` of all tasks together."""
    rows = ["cluster.all", *(f"task.{job.name.replace('.', '-')}" for job in JOBS)]
    return Meter([job.name for job in JOBS], "w@shop").figures(
        reading(
            {f"{row}.{metric}": count for row in rows for metric in METRICS},
            {"cluster.all.running": running, "cluster.all.queued": 12, "cluster.all.reserved": 16},
            {f"{row}.{metric}": [345] for row in rows for metric in ("wait", "runtime")},
        ),
        61.0,
        1.5,
    )


def printed(drawing: object, width: int, colour: bool = False) -> str:
    stream = io.StringIO()
    system = "standard" if colour else None
    Console(file=stream, width=width, color_system=system, force_terminal=colour).print(drawing)
    return stream.getvalue()


@pytest.mark.parametrize("count", [0, 7, 9999, 123_456])
@pytest.mark.parametrize(
    ("width", "columns"), [(80, NARROW_COLUMNS), (WIDE, WIDE_COLUMNS), (200, WIDE_COLUMNS)]
)
def test_nothing_is_cut(width: int, columns: tuple[object, ...], count: int) -> None:
    """Every head, every name, every number is there, on one line a row."""
    text = printed(grid(figures(count, running=4), width), width)
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
    """`sent` 0 and nothing ended: what is received must run."""
    balanced = printed(grid(figures(0), 80), 80, colour=True)
    assert "\x1b[32m   0\x1b[0m" in balanced
    assert "\x1b[1;31m" not in balanced
    assert re.search(r"\x1b\[1;31m +-2\x1b", printed(grid(figures(0, running=2), 80), 80, True))


def test_drawing_to_no_terminal_is_harmless() -> None:
    """The last table is what stays."""
    stream = io.StringIO()
    with Table(stream) as table:
        table.draw(figures(1), "note")
        table.end(figures(2))
    assert "all tasks" in stream.getvalue()
