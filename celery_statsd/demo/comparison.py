"""The workload's own counts beside the agent's, and the verdict."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Self

from celery_statsd.demo.figures import Reading
from celery_statsd.demo.truth import Truth

COLUMNS = {
    "sent": ("sent",),
    "recv": ("received",),
    "arriv": ("on_arrival",),
    "start": ("started",),
    "ok": ("succeeded",),
    "fail": ("failed",),
    "retry": ("retried",),
    "revok": ("revoked",),
    "other": ("rejected", "returned", "unreported", "lost", "found", "expired", "unseen", "other"),
}
"""Each column's head, and the metrics it adds up. Nothing in the workload makes an `other`."""

RED, GREEN, BOLD, PLAIN = "\x1b[1;31m", "\x1b[1;32m", "\x1b[1m", "\x1b[0m"
"""What turns a terminal's text red, green, bold, and back (ECMA-48, SGR)."""

Paint = Callable[[str, str], str]


@dataclass(frozen=True, slots=True)
class Account:
    """One task's counts on both sides, a number for each of COLUMNS."""

    name: str
    workload: tuple[int, ...]
    agent: tuple[int, ...]

    @property
    def differences(self) -> list[str]:
        """What differs, in words."""
        return [
            f"{self.name} {head}: workload {mine}, agent {theirs}"
            for head, mine, theirs in zip(COLUMNS, self.workload, self.agent, strict=True)
            if mine != theirs
        ]


@dataclass(frozen=True, slots=True)
class Comparison:
    """All accounts, the sum last. `unfinished` is what by the workload's own counts has not ended,
    `in_flight` what by the agent's."""

    accounts: tuple[Account, ...]
    unfinished: int
    in_flight: int
    datagrams_sent: int
    datagrams_received: int
    bad_lines: int

    @classmethod
    def of(cls, truth: Truth, reading: Reading, datagrams_sent: int) -> Self:
        """Compare `truth` with what StatsD received.

        The sum is compared with the `cluster` family, so that nothing hides under a task's name
        that the workload does not know.
        """
        tasks = truth.counts()
        accounts = [_account(task, tasks[task], reading, "task", task) for task in sorted(tasks)]
        total: Counter[str] = Counter()
        for counts in tasks.values():
            total.update(counts)
        accounts.append(_account("all tasks", total, reading, "cluster", "all"))
        return cls(
            tuple(accounts),
            truth.unfinished,
            reading.open("cluster", "all"),
            datagrams_sent,
            reading.received.datagrams,
            reading.received.bad,
        )

    @property
    def equal(self) -> bool:
        """Whether every count of the workload is the agent's, and nothing is left in flight."""
        left = self.unfinished or self.in_flight
        return not left and not any(account.differences for account in self.accounts)

    def lines(self, colour: bool) -> Iterator[str]:
        """All of it, for people; with `colour` what differs is red."""
        paint = _painted if colour else _unpainted
        name = 1 + max(len(account.name) for account in self.accounts)
        yield paint(BOLD, f"{'task':{name}}{'says':9}{''.join(map(_cell, COLUMNS, COLUMNS))}")
        for account in self.accounts:
            yield f"{account.name:{name}}workload {_cells(account.workload, account, _unpainted)}"
            yield f"{'':{name}}agent    {_cells(account.agent, account, paint)}"
        yield ""
        yield self._remainder(paint)
        yield from self._verdict(paint)

    def _remainder(self, paint: Paint) -> str:
        sent, received = self.datagrams_sent, self.datagrams_received
        parts = (
            (
                f"in flight: workload {self.unfinished}, agent {self.in_flight}",
                self.unfinished or self.in_flight,
            ),
            (f"datagrams: {received} of {sent}", sent != received),
            (f"bad lines: {self.bad_lines}", self.bad_lines),
        )
        return "   ".join(paint(RED, text) if wrong else text for text, wrong in parts)

    def _verdict(self, paint: Paint) -> Iterator[str]:
        yield paint(GREEN, "equal: yes") if self.equal else paint(RED, "equal: no")
        for account in self.accounts:
            for difference in account.differences:
                yield paint(RED, f"  {difference}")


def _account(
    name: str, counts: Mapping[str, int], reading: Reading, family: str, entity: str
) -> Account:
    return Account(
        name,
        tuple(sum(counts.get(m, 0) for m in metrics) for metrics in COLUMNS.values()),
        tuple(
            sum(reading.counter(family, entity, m) for m in metrics) for metrics in COLUMNS.values()
        ),
    )


def _cells(numbers: tuple[int, ...], account: Account, paint: Paint) -> str:
    """The `numbers` of one side of `account`, each under its head."""
    cells = map(_cell, numbers, COLUMNS)
    pairs = zip(cells, account.workload, account.agent, strict=True)
    return "".join(cell if mine == theirs else paint(RED, cell) for cell, mine, theirs in pairs)


def _cell(value: object, head: str) -> str:
    return f" {value:>{max(4, len(head))}}"


def _painted(colour: str, text: str) -> str:
    return f"{colour}{text}{PLAIN}"


def _unpainted(_colour: str, text: str) -> str:
    return text
