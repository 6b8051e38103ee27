"""`celery-statsd workers`: who is there and what they do, for people, for programs, and for cron.

An agent whose window is open is asked, for it remembers who was there. Else the command listens
itself, for a few heartbeats, and asks the workers meanwhile: then who was gone before is not known.

The exit code is Nagios's: 0 when all live, 1 when one begins again and again, or nobody can know
whether it lives, 2 when one is dead or there is none at all, 3 when nobody can tell.
"""

import http.client
import json
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from celery_statsd.crew import Crew
from celery_statsd.errors import AskRefused, BrokerLost, ConfigError
from celery_statsd.intake import refusal_of
from celery_statsd.interview import described
from celery_statsd.lengths import span
from celery_statsd.life import State
from celery_statsd.pipeline import Pipeline
from celery_statsd.probes.answers import QUESTIONS, facts_of
from celery_statsd.probes.workers import Answers, Inspector
from celery_statsd.source.base import Source

DEAD, CARE, WELL = 2, 1, 0

ANSWER_WITHIN = 5.0
"""Seconds an agent has to answer."""

PAUSE = 2.0
"""Seconds between two questions to an agent."""

IDLE = 0.5
"""Seconds it waits for a message before it looks at the time."""

_HEADS = (
    *("worker", "state", "active", "pool", "reserved", "for an ETA", "processed", "last beat"),
    *("load", "queues"),
)
_STATES = {
    State.UP.value: ("up", "green", WELL),
    State.LEFT.value: ("has left", "cyan", WELL),
    State.DOWN.value: ("down", "red", DEAD),
}

Told = Mapping[str, Mapping[str, Any]]
"""What is known of each worker, as /workers has it."""


@dataclass(frozen=True, slots=True)
class Row:
    """One worker; `word`, `colour` and `exit_code` are what is thought of it."""

    name: str
    facts: Mapping[str, Any]
    word: str
    colour: str
    exit_code: int


class Teller(ABC):
    """Who knows about the workers; `refusal` is why they could not be asked, "" when they were."""

    refusal = ""

    @abstractmethod
    def tell(self) -> Told:
        """All that is known now. Raises BrokerLost when that is nothing."""

    @abstractmethod
    def rest(self) -> None:
        """Wait until it is worth to ask again."""

    @abstractmethod
    def close(self) -> None:
        """Ask and listen no more."""


class Neighbour(Teller):
    """An agent on whose window one may knock, at `address` (host:port)."""

    def __init__(self, address: str) -> None:
        self._address = address

    def tell(self) -> Told:
        try:
            window = http.client.HTTPConnection(self._address, timeout=ANSWER_WITHIN)
        except http.client.InvalidURL:
            raise ConfigError("http", f"{self._address} is no address", "write host:port") from None
        try:
            window.request("GET", "/workers")
            told: Told = json.load(window.getresponse())["workers"]
        except (OSError, ValueError, LookupError, http.client.HTTPException) as error:
            raise BrokerLost(f"no agent answers at {self._address} ({error})") from error
        finally:
            window.close()
        return told

    def rest(self) -> None:
        time.sleep(PAUSE)

    def close(self) -> None:
        """Nothing is kept open."""


class Muster(Teller):
    """Listens to `source` for `seconds`, and asks through `inspector` meanwhile, if there is
    one."""

    def __init__(self, source: Source, inspector: Inspector | None, seconds: float) -> None:
        self._source = source
        self._inspector = inspector
        self._seconds = seconds
        self._pipeline = Pipeline()
        self._pipeline.begin(time.time())
        self._answers: Answers = {}

    def tell(self) -> Told:
        asking = threading.Thread(target=self._ask, daemon=True)
        asking.start()
        deadline = time.monotonic() + self._seconds
        while time.monotonic() < deadline:
            for message in self._source.read(min(IDLE, self._seconds)):
                if not refusal_of(message.facts):
                    self._pipeline.feed(message.body, time.time())
            self._source.ack()
        asking.join(self._seconds)
        if not self._source.connected:
            raise BrokerLost(f"{self._source.place} cannot be listened to")
        now = time.time()
        self._pipeline.tick(now)
        facts = {name: facts_of(told) for name, told in self._answers.items()}
        crew = Crew(self._pipeline.hands(now), facts)
        return described(self._pipeline.workers(now), crew, now)

    def rest(self) -> None:
        """There is no need: to listen takes its time."""

    def close(self) -> None:
        if self._inspector:
            self._inspector.hang_up()
        self._source.close()

    def _ask(self) -> None:
        try:
            if self._inspector:
                self._answers = self._inspector.ask(QUESTIONS, self._seconds)
        except (AskRefused, BrokerLost) as error:
            self._answers, self.refusal = {}, str(error)


def rows(told: Told) -> list[Row]:
    """The workers, by name."""
    return [_row(name, told[name]) for name in sorted(told)]


def verdict(found: Sequence[Row]) -> int:
    """The exit code: the worst of all; that there is nobody is as bad as one who is dead."""
    return max((row.exit_code for row in found), default=DEAD)


def as_json(found: Sequence[Row]) -> str:
    """An object of names and all that is known."""
    return json.dumps({row.name: row.facts for row in found}, indent=1)


def as_table(found: Sequence[Row]) -> Iterator[tuple[str, str | None]]:
    """The lines of a table, each with its colour."""
    cells = [_HEADS, *(_cells(row) for row in found)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line, row in zip(cells, (None, *found), strict=True):
        name, state, *numbers, queues = line
        middle = "  ".join(map(str.rjust, numbers, widths[2:]))
        head = f"{name.ljust(widths[0])}  {state.ljust(widths[1])}"
        yield f"{head}  {middle}  {queues}", row.colour if row else None


def _row(name: str, facts: Mapping[str, Any]) -> Row:
    answers = "pool_size" in facts
    doubt = ("unheard, answers", "green", WELL) if answers else ("unknown", "yellow", CARE)
    word, colour, code = _STATES.get(facts.get("state", ""), doubt)
    if facts.get("flapping") and code == WELL:
        word, colour, code = f"{word}, flapping", "yellow", CARE
    return Row(name, facts, word, colour, code)


def _cells(row: Row) -> tuple[str, ...]:
    facts = row.facts
    numbers = ("active", "pool_size", "reserved", "scheduled", "processed")
    return (
        row.name,
        row.word,
        *(_number(facts.get(number)) for number in numbers),
        span(facts.get("heartbeat_age_s")),
        "-" if facts.get("loadavg_1m") is None else f"{facts['loadavg_1m']:.2f}",
        ", ".join(facts.get("queues") or ()) or "-",
    )


def _number(value: Any) -> str:
    return "-" if value is None else f"{value:.0f}"
