"""The figures: what is read off the wire, under which name, and what follows from it."""

import pytest

from celery_statsd.demo.figures import MEASURED_OVER, Meter, vitals
from tests.demo.readings import reading

TASK = "shop.tasks.pay"
NODE = "shop-tasks-pay"
WORKER = "worker1@shop"


def meter() -> Meter:
    return Meter([TASK], WORKER)


def test_a_row_is_read_under_the_names_of_the_agent() -> None:
    """Counters, gauges and timers of the task, by its safe name."""
    found = reading(
        {f"task.{NODE}.sent": 9, f"task.{NODE}.received": 8, f"task.{NODE}.succeeded": 5},
        {f"task.{NODE}.queued": 1, f"task.{NODE}.reserved": 2, f"task.{NODE}.running": 1},
        {f"task.{NODE}.wait": [10, 30], f"task.{NODE}.runtime": [7]},
    )
    row = meter().figures(found, 1.0, None).rows[0]
    assert TASK == row.entity
    assert (9, 8, 5) == tuple(row.total(metric) for metric in ("sent", "received", "succeeded"))
    assert (1, 2, 1) == tuple(row.gauge(metric) for metric in ("queued", "reserved", "running"))
    assert (2, 10, 30) == (row.timed("wait"), row.upper("wait", 50), row.upper("wait", 95))
    assert (1, 7) == (row.timed("runtime"), row.highest("runtime"))
    assert 0 == row.difference


def test_nothing_received_is_zeros() -> None:
    """Before the first flush there is a table, too."""
    figures = meter().figures(reading(), 0.0, None)
    total = figures.total
    assert (0, 0, 0.0) == (total.total("sent"), total.difference, total.rate("received"))
    assert (None, None) == (total.gauge("queued"), total.upper("wait", 95))


@pytest.mark.parametrize(
    "end",
    ["succeeded", "failed", "retried", "revoked", "rejected", "returned", "unreported", "lost"],
)
def test_the_difference_is_what_neither_ended_nor_flies(end: str) -> None:
    """Each end takes one away, and so does each attempt in flight."""
    came = {"cluster.all.received": 5, "cluster.all.on_arrival": 1, "cluster.all.found": 1}
    balanced = reading({**came, f"cluster.all.{end}": 4}, {"cluster.all.reserved": 3})
    missing = reading({**came, f"cluster.all.{end}": 3}, {"cluster.all.running": 3})
    assert 0 == meter().figures(balanced, 1.0, None).total.difference
    assert 1 == meter().figures(missing, 1.0, None).total.difference


def test_a_rate_is_a_growth_over_the_flushes_it_took() -> None:
    """A flush is a second, however often one looks in between."""
    subject = meter()
    for received, flushes in ((2, 1), (2, 1), (12, 3), (12, 3)):
        found = reading({"cluster.all.received": received, "agent.demo.ticks": flushes})
        figures = subject.figures(found, 1.0, None)
    assert 5.0 == figures.total.rate("received")


def test_a_rate_forgets_what_is_long_past() -> None:
    """Only the last ten flushes count."""
    subject = meter()
    for flush in range(1, 40):
        received = 100 * min(flush, 20) + 3 * max(0, flush - 20)
        found = reading({"cluster.all.received": received, "agent.demo.ticks": flush})
        figures = subject.figures(found, 1.0, None)
    assert 10 == MEASURED_OVER
    assert 3.0 == figures.total.rate("received")


def test_the_vitals_are_those_that_are_known() -> None:
    """The worker by its gauge, the agent's load only where the kernel tells it."""
    found = reading(
        {"agent.demo.events": 50, "agent.demo.ticks": 1},
        {"worker.worker1_at_shop.up": 1, "agent.demo.rss_bytes": 42e6},
    )
    words = [*vitals(meter().figures(found, 1.0, 1.23))]
    assert ["1 worker up", "0 events/s", "4 datagrams", "agent 1.2% cpu"] == words[:4]
    assert ["this process 42 MB"] == words[4:]
    words = [*vitals(meter().figures(reading(), 1.0, None))]
    assert ["no worker up", "0 events/s", "0 datagrams", "this process 0 MB"] == words


def test_the_example_is_the_first_tasks_path() -> None:
    """The name under which the first row's `succeeded` left the agent."""
    figures = meter().figures(reading(), 0.0, None)
    assert f"celery.shop.task.{NODE}.succeeded.all" == figures.example
