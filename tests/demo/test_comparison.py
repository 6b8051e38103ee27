"""The comparison: equal, and every way not to be."""

from dataclasses import replace

import pytest
from celery import signals

from celery_statsd.demo.comparison import COLUMNS, RED, Account, Comparison
from celery_statsd.demo.truth import ENDS, Truth
from celery_statsd.rules import COUNTERS
from tests.demo.readings import reading

NUMBERS = (9, 8, 1, 7, 4, 1, 1, 3, 0)
EQUAL = Comparison(
    (Account("shop.pay", NUMBERS, NUMBERS), Account("all", NUMBERS, NUMBERS)), *[0] * 5
)


def changed(place: int) -> Comparison:
    """EQUAL, but that the agent has one more in the column `place` of the first account."""
    agent = tuple(number + (at == place) for at, number in enumerate(NUMBERS))
    return replace(EQUAL, accounts=(Account("shop.pay", NUMBERS, agent), EQUAL.accounts[1]))


def text(comparison: Comparison, colour: bool = False) -> str:
    return "\n".join(comparison.lines(colour))


def test_equal_counts_are_equal_and_nothing_is_red() -> None:
    """Both sides of each account, and the verdict, in green."""
    assert EQUAL.equal
    assert text(EQUAL).endswith("\nequal: yes")
    assert 2 == text(EQUAL).count("workload ") - text(EQUAL).count("in flight: workload ")
    assert RED not in text(EQUAL, colour=True)
    assert text(EQUAL, colour=True).endswith("\x1b[1;32mequal: yes\x1b[0m")


@pytest.mark.parametrize(("place", "head"), [*enumerate(COLUMNS)])
def test_any_count_that_differs_is_red_and_named(place: int, head: str) -> None:
    """In whichever column it stands: the agent's number, the verdict and the difference."""
    comparison = changed(place)
    sentence = f"shop.pay {head}: workload {NUMBERS[place]}, agent {NUMBERS[place] + 1}"
    assert not comparison.equal
    assert text(comparison).endswith(f"equal: no\n  {sentence}")
    assert 3 == text(comparison, colour=True).count(RED)
    assert "\x1b" not in text(comparison)


@pytest.mark.parametrize("left", ["unfinished", "in_flight"])
def test_what_has_not_ended_makes_it_unequal(left: str) -> None:
    """On either side, though all counts be the same."""
    comparison = replace(EQUAL, **{left: 1})
    assert not comparison.equal
    assert 2 == text(comparison, colour=True).count(RED)


@pytest.mark.parametrize("odd", ["datagrams_sent", "datagrams_received", "bad_lines"])
def test_trouble_on_the_wire_is_red_but_no_verdict(odd: str) -> None:
    """Whether it cost a count, the counts tell."""
    comparison = replace(EQUAL, **{odd: 1})
    assert comparison.equal
    assert 1 == text(comparison, colour=True).count(RED)


def test_it_fits_a_terminal_of_eighty_columns() -> None:
    """With the longest name of the workload and numbers of four digits."""
    numbers = (9999,) * len(COLUMNS)
    account = Account("shop.tasks.send_mail", numbers, numbers)
    wide = Comparison((account,), 0, 0, 9999, 9999, 0)
    assert 80 >= max(len(line) for line in wide.lines(colour=False))


def test_both_sides_are_read_by_the_same_columns() -> None:
    """The truth's counts by task, the agent's by its names; the sum is the cluster family's."""
    counters = {"task.shop-pay.sent": 2, "cluster.all.sent": 2}
    with Truth() as truth:
        signals.after_task_publish.send(sender="shop.pay")
        signals.after_task_publish.send(sender="shop.pay")
    comparison = Comparison.of(truth, reading(counters), 2)
    assert [[], []] == [account.differences for account in comparison.accounts]
    assert ["shop.pay", "all tasks"] == [account.name for account in comparison.accounts]
    assert 2 == comparison.unfinished
    assert (2, 2, 0) == (
        comparison.datagrams_sent, comparison.datagrams_received, comparison.bad_lines,
    )  # fmt: skip


def test_a_task_only_the_agent_knows_does_not_hide() -> None:
    """What it counted under a name of no job stands in the sum."""
    with Truth() as truth:
        signals.after_task_publish.send(sender="shop.pay")
    counters = {"task.shop-pay.sent": 1, "task.unknown.received": 1, "cluster.all.sent": 1}
    comparison = Comparison.of(truth, reading({**counters, "cluster.all.received": 1}), 3)
    assert ["all tasks recv: workload 0, agent 1"] == comparison.accounts[-1].differences
    assert 1 == comparison.in_flight


def test_the_columns_leave_out_no_metric() -> None:
    """Every counter of tasks and every end of the truth stands in exactly one column."""
    metrics = [metric for metrics in COLUMNS.values() for metric in metrics]
    assert len(metrics) == len(set(metrics))
    assert {*COUNTERS["task"], *ENDS.values(), "other"} == set(metrics)
