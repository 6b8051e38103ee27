"""The columns: which fit, how rows are sorted by them, and what is marked."""

import pytest

from celery_statsd.top.columns import (
    COLUMNS,
    LEAST_NAME,
    NAME,
    SORTED,
    fitting,
    grade,
    heads,
    sort,
)
from celery_statsd.top.facts import Facts
from celery_statsd.top.frame import Tab
from celery_statsd.top.verdict import Grade
from tests.top.scenes import ILL, SHOP, facts, timing

each_tab = pytest.mark.parametrize("tab", Tab, ids=lambda tab: tab.value)

HUGE = facts(
    "huge",
    dict.fromkeys(
        ("sent", "received", "succeeded", "failed", "retried", "lost", "started", "events_lost",
         "restarts", "unreported", "found", "revoked"),
        123_456_789,
    ),
    dict.fromkeys(
        ("queued", "reserved", "running", "length", "unacked", "active", "processed",
         "memory_bytes", "heartbeat_age_s", "oldest_age_s", "consumers", "unconsumed",
         "clock_skew_ms", "loadavg_1m"),
        987_654_321.0,
    ),
    {metric: timing(86_399_000.0) for metric in ("wait", "runtime", "lateness")},
    state="unknown",
)  # fmt: skip
"""Numbers as large as they may come."""


@each_tab
def test_no_two_columns_have_one_head_or_one_rank(tab: Tab) -> None:
    """Else sorting or fitting could not tell them apart."""
    columns = COLUMNS[tab]
    assert len(columns) == len({column.head for column in columns})
    assert len(columns) == len({column.rank for column in columns})
    assert SORTED[tab] in heads(tab)
    assert NAME == heads(tab)[0]


@each_tab
@pytest.mark.parametrize("facts", [HUGE, Facts("nothing")], ids=lambda facts: facts.entity)
def test_every_number_leaves_a_blank_beside_it(tab: Tab, facts: Facts) -> None:
    """However large it is, two numbers never look like one."""
    for column in COLUMNS[tab]:
        assert len(column.text(facts)) < column.width, column.head
        assert len(column.head) < column.width or len(column.head) + 1 == column.width


@each_tab
def test_a_wider_terminal_shows_more_and_at_200_columns_all(tab: Tab) -> None:
    """Each width shows what a narrower one does, and the name has its room."""
    shown: set[str] = set()
    for width in range(20, 201):
        chosen = fitting(COLUMNS[tab], width)
        assert shown <= {column.head for column in chosen}
        assert not chosen or width - sum(column.width for column in chosen) >= LEAST_NAME
        shown = {column.head for column in chosen}
    assert fitting(COLUMNS[tab], 200) == COLUMNS[tab]


def test_80_columns_show_what_tells_lost_from_waiting_from_fine() -> None:
    """Of tasks: how many come, wait, run, fail, are lost or missing, and how long they take."""
    heads80 = {tab: {column.head for column in fitting(COLUMNS[tab], 80)} for tab in Tab}
    assert {"in/s", "queue", "run", "wait95", "run95", "fail", "lost", "diff"} <= heads80[Tab.TASKS]
    assert {"state", "beat", "run", "fail", "lost", "unheard"} <= heads80[Tab.WORKERS]
    assert {"level", "length", "takers", "stuck", "oldest", "sent/s"} <= heads80[Tab.QUEUES]


@pytest.mark.parametrize(
    ("head", "turned", "names"),
    [
        ("in/s", False, ["pay", "mail", "reports"]),
        ("in/s", True, ["reports", "mail", "pay"]),
        ("wait95", False, ["mail", "pay", "reports"]),
        ("wait95", True, ["pay", "mail", "reports"]),
        ("fail", False, ["pay", "mail", "reports"]),
        ("name", False, ["reports", "mail", "pay"]),
        ("name", True, ["pay", "mail", "reports"]),
        ("nonsense", False, ["reports", "mail", "pay"]),
    ],
)
def test_rows_are_sorted_by_any_column(head: str, turned: bool, names: list[str]) -> None:
    """The most first; what is not known is last, whichever way; what is equal goes by name."""
    rows = sort(Tab.TASKS, SHOP, head, turned)
    assert names == [row.entity.rpartition("tasks.")[2].partition(".")[0] for row in rows]


def test_workers_in_trouble_come_first() -> None:
    """Sorted by their state: down, left, unknown, up."""
    rows = [facts(f"w-{state}", state=state) for state in ("up", "unknown", "left", "down")]
    found = [row.state for row in sort(Tab.WORKERS, rows, SORTED[Tab.WORKERS], False)]
    assert ["down", "left", "unknown", "up"] == found


def test_a_row_is_as_bad_as_its_worst_number() -> None:
    """Now, or once; a task that only waits is not bad."""
    assert [Grade.BAD, Grade.PAST, Grade.GOOD] == [grade(Tab.TASKS, row) for row in SHOP]
    assert [Grade.GOOD, Grade.BAD] == [grade(Tab.WORKERS, row) for row in ILL.workers]
    assert [Grade.GOOD, Grade.CAREFUL] == [grade(Tab.QUEUES, row) for row in ILL.queues]


@pytest.mark.parametrize(
    ("tab", "bad"),
    [
        (Tab.TASKS, facts("t", {"lost": 1, "received": 1})),
        (Tab.TASKS, facts("t", {"unreported": 1, "received": 1})),
        (Tab.TASKS, facts("t", {"received": 1})),
        (Tab.WORKERS, facts("w", {"events_lost": 1}, state="up")),
        (Tab.WORKERS, facts("w", state="down")),
        (Tab.QUEUES, facts("q", gauges={"unconsumed": 1})),
        (Tab.QUEUES, facts("q", gauges={"level": 3})),
    ],
    ids=["lost", "unreported", "astray", "unheard", "down", "unconsumed", "too long"],
)
def test_what_should_be_0_makes_a_row_bad(tab: Tab, bad: Facts) -> None:
    """Each alone."""
    assert Grade.BAD is grade(tab, bad)
