"""The workload's own counts beside the agent's, and the verdict."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Self

from celery_statsd.demo.figures import Reading

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
"""Each column's head and the metrics it adds up. Nothing in the workload makes an `other`."""

RED, GREEN, DIM, BOLD, PLAIN = "\x1b[1;31m", "\x1b[32m", "\x1b[2m", "\x1b[1m", "\x1b[0m"


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
    """All accounts, the last one the sum; `in_flight` is what the agent still saw as not ended."""

    accounts: tuple[Account, ...]
    in_flight: int
    datagrams_sent: int
    datagrams_received: int
    bad_lines: int

    @classmethod
    def of(
        cls, truth: Mapping[str, Mapping[str, int]], reading: Reading, datagrams_sent: int
    ) -> Self:
        """Compare `truth` (task -> metric -> count) with what StatsD received.

        The sum is compared with the `cluster` family, so that nothing hides under a task's name
        that the workload does not know.
        """
        accounts = [_account(reading, "task", task, task, truth[task]) for task in sorted(truth)]
        total = {metric: 0 for metrics in COLUMNS.values() for metric in metrics}
        for counts in truth.values():
            for metric, number in counts.items():
                total[metric] += number
        accounts.append(_account(reading, "cluster", "all", "all tasks", total))
        received = reading.received
        return cls(
            tuple(accounts),
            reading.open("cluster", "all"),
            datagrams_sent,
            received.datagrams,
            received.bad,
        )

    @property
    def equal(self) -> bool:
        """Whether every count of the workload is the agent's, and nothing is left in flight."""
        return not self.in_flight and not any(account.differences for account in self.accounts)

    def lines(self, colour: bool) -> Iterator[str]:
        """The whole of it for people; with `colour` what differs is red."""
        paint = _paint if colour else _no_paint
        heads = "".join(f"{head:>6}" for head in COLUMNS)
        yield paint(BOLD, f"{'':23}{'counted by':10}{heads}".replace("counted by", "by".ljust(10)))
        for account in self.accounts:
            yield self._line(f"{account.name:23}workload", account.workload, account.workload, paint)
            yield self._line(f"{'':23}agent", account.agent, account.workload, paint)
        yield ""
        yield self._remainder(paint)
        yield from self._verdict(paint)

    @staticmethod
    def _line(head: str, numbers: tuple[int, ...], wanted: tuple[int, ...], paint: "Paint") -> str:
        cells = (
            f"{number:>6}" if number == other else paint(RED, f"{number:>6}")
            for number, other in zip(numbers, wanted, strict=True)
        )
        return f"{head:32}" + "".join(cells)

    def _remainder(self, paint: "Paint") -> str:
        parts = (
            (self.in_flight == 0, f"in flight at the end: {self.in_flight}"),
            (
                self.datagrams_sent == self.datagrams_received,
                f"datagrams: {self.datagrams_sent} sent, {self.datagrams_received} received",
            ),
            (self.bad_lines == 0, f"bad lines: {self.bad_lines}"),
        )
        return "   ".join(text if good else paint(RED, text) for good, text in parts)

    def _verdict(self, paint: "Paint") -> Iterator[str]:
        if self.equal:
            yield paint(GREEN, "equal: yes")
            return
        yield paint(RED, "equal: no")
        for account in self.accounts:
            for difference in account.differences:
                yield paint(RED, f"  {difference}")
