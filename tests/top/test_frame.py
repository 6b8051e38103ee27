"""The frame: one place for each table."""

from celery_statsd.top.frame import Detail, Tab
from tests.top.scenes import ILL


def test_each_table_has_its_rows() -> None:
    """Under its own name, too."""
    for tab in Tab:
        assert ILL.tables[tab] == getattr(ILL, tab.value)
    assert (3, 2, 2) == (len(ILL.tasks), len(ILL.workers), len(ILL.queues))


def test_of_nothing_that_is_looked_into_nothing_is_known() -> None:
    """An empty detail."""
    assert ((), (), ()) == (Detail().running, Detail().classes, Detail().failures)
