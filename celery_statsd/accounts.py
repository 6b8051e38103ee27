"""How many starts of each worker a chorus has accounted for, as counted or as lost.

Agents that hear the same stream miss different parts of it. Whoever speaks next must measure
losses from where the last speaker stood, else what one of them heard is told to be lost by another,
or what nobody heard is told by none. So the speaker tells with each flush that is said how far it
stood at its mark, and the others, who know what they had heard themselves at the same place in the
stream, shift their loss meters to it.
"""

from collections.abc import Mapping
from typing import NamedTuple

from celery_statsd.events import WorkerEvent
from celery_statsd.life import Life

JOINED = "joined"
"""The place where an agent came back, among the marks."""

MARKS = 60
"""Marks whose stands are kept: as many as an understudy keeps flushes."""

FAR = 1 << 40
"""Starts: a loss meter that begins so far ahead tells no loss."""


class Account(NamedTuple):
    """Of a worker's process: what its last heartbeat told and when (its own clock; 0: it never
    beat), and how many of its starts are accounted for; more than `processed` when some were made
    since."""

    pid: int | None
    processed: int
    stamp: float
    starts: int

    def precedes(self, beat: WorkerEvent) -> bool:
        """Whether it is of the process whose heartbeat that is, and older."""
        return self.pid == beat.pid and self.processed <= (beat.processed or 0)


class Stand(NamedTuple):
    """Where the loss meter of a life is: `account.starts` were heard of it, or told to be lost,
    whatever was accounted for before."""

    life: Life
    account: Account


def stand_of(life: Life) -> Stand:
    """Where `life` stands now."""
    return Stand(life, Account(life.pid, life.processed or 0, life.beat_stamp, life.heard))


class Accounts:
    """What one agent knows of the last marks."""

    def __init__(self) -> None:
        self._stands: dict[str, Mapping[str, Stand]] = {}

    def __contains__(self, cut: object) -> bool:
        """Whether that mark was heard."""
        return cut in self._stands

    def note(self, cut: str, stands: Mapping[str, Stand]) -> None:
        """Where each worker's meter stood at a mark, once its flush was drained."""
        self._stands.pop(cut, None)
        self._stands[cut] = stands
        if len(self._stands) > MARKS:
            del self._stands[next(iter(self._stands))]

    def at(self, cut: str, bases: Mapping[str, int]) -> dict[str, Account]:
        """What this agent accounts for at that mark, of each worker whose starts it measures; of
        some it is to measure from other `bases` than it does."""
        return {
            hostname: heard._replace(starts=bases.get(hostname, life.base) + heard.starts)
            for hostname, (life, heard) in self._stands.get(cut, {}).items()
            if life.base is not None
        }

    def bases(
        self, cut: str, accounts: Mapping[str, Account], present: Mapping[str, Stand]
    ) -> dict[str, int]:
        """From where this agent has to measure each life that is still `present`, to stand where
        the speaker stood at that mark."""
        return {
            hostname: accounts[hostname].starts - heard.starts
            for hostname, (life, heard) in self._stands.get(cut, {}).items()
            if hostname in accounts and _are_of_one_life(accounts[hostname], heard)
            if hostname in present and present[hostname].life is life
        }


def bases_of(stands: Mapping[str, Stand]) -> dict[str, int]:
    """From where each worker's starts are measured, if they are."""
    return {name: life.base for name, (life, *_) in stands.items() if life.base is not None}


def is_behind(accounts: Mapping[str, Account], known: Mapping[str, Account]) -> bool:
    """Whether less is accounted for of some process than is `known` to be."""
    return any(
        account.starts < known[hostname].starts and _are_of_one_life(account, known[hostname])
        for hostname, account in accounts.items()
        if hostname in known
    )


def _are_of_one_life(one: Account, other: Account) -> bool:
    """False as well where a process began anew under its old pid, unheard by one of the two: then
    the later heartbeat tells less."""
    grown, later = one.processed - other.processed, one.stamp - other.stamp
    return one.pid == other.pid and grown * later >= 0


def held_back(bases: Mapping[str, int]) -> dict[str, int]:
    """Bases from which no loss is told, see `released`."""
    return {name: base + FAR for name, base in bases.items() if base < FAR // 2}


def released(bases: Mapping[str, int]) -> dict[str, int]:
    """Of those that are held back, what they were."""
    return {name: base - FAR for name, base in bases.items() if base >= FAR // 2}


def withheld(accounts: Mapping[str, Account]) -> dict[str, Account]:
    """Accounts from which no loss is told."""
    return {
        name: account._replace(starts=account.starts + FAR) for name, account in accounts.items()
    }
