"""The passing events, one line each: for people, or whole and as `replay` reads them."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from celery_statsd.errors import ConfigError
from celery_statsd.source.base import Message, Source

SHOWN = ("name", "queue", "retries", "eta", "runtime", "exception", "active", "processed")
"""What a line shows of an event besides its time, type, sender and task, where it has it."""

LONGEST = 200
"""Characters shown of one value: an exception's text may be a page."""

IDLE = 0.5
"""Seconds it waits for a message before it looks whether it shall go on."""

NO_TIME = "--:--:--.---"


class Watch:
    """Looks at a source. `whole`: JSON lines with the recorder's fields, else short lines.

    `patience` are the seconds in which the broker has to answer at first, if more than one
    attempt is to be made.
    """

    def __init__(self, source: Source, whole: bool, patience: float = 0.0) -> None:
        self._source = source
        self._whole = whole
        self._patience = patience
        self._over = False
        self._batch = 0
        self._reconnects = 0

    def lines(self, deadline: float | None) -> Iterator[str]:
        """A line for each event, until `stop`, or `deadline` (monotonic seconds; None: for ever).

        Raises ConfigError when the broker cannot be reached at all; one that is lost later is
        waited for.
        """
        messages = first_read(self._source, self._patience, lambda: self._over)
        while True:
            for message in messages:
                self._batch = self._next_batch()
                yield from self._lines_of(message)
            self._source.ack()
            left = IDLE if deadline is None else deadline - time.monotonic()
            if self._over or left <= 0:
                return
            messages = self._source.read(min(IDLE, left))

    def stop(self) -> None:
        """Let `lines` end soon. May be called from a signal handler."""
        self._over = True

    def close(self) -> None:
        """Leave the broker."""
        self._source.close()

    def _next_batch(self) -> int:
        """The ordinal of a message; it falls when something may have passed unheard before it."""
        gap = self._source.reconnects != self._reconnects
        self._reconnects = self._source.reconnects
        return min(1, self._batch - 1) if gap else self._batch + 1

    def _lines_of(self, message: Message) -> Iterator[str]:
        now, rows = time.time(), _rows(message.body)
        for row in rows:
            if self._whole:
                # What is no event is one without fields, so that `replay` counts it as bad.
                fields = row if isinstance(row, dict) else {}
                yield json.dumps({**fields, **self._recorded(message, len(rows), now)})
            else:
                yield _line(row) if isinstance(row, dict) else f"no event: {_shown(row)}"

    def _recorded(self, message: Message, size: int, now: float) -> dict[str, Any]:
        return {
            "_batch": self._batch,
            "_hostname": message.facts.hostname,
            "_received": now,
            "_routing_key": message.routing_key,
            "_size": size,
        }


def first_read(source: Source, patience: float, is_over: Callable[[], bool]) -> Sequence[Message]:
    """The messages at hand once the broker answers, or when it `is_over`.

    Raises ConfigError when it does not answer within `patience` (seconds), or at once.
    """
    give_up_at = time.monotonic() + patience
    messages = source.read(0.0)
    while not source.connected and not is_over():
        if time.monotonic() >= give_up_at:
            problem = f"{source.place} cannot be listened to (why is told above)"
            raise ConfigError("broker", problem, "start the broker, or mend the address")
        messages = source.read(IDLE)
    return messages


def _rows(body: bytes) -> list[Any]:
    """What should be the events of a message's body."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = f"{len(body)} bytes that are not JSON"
    return found if isinstance(found, list) else [found]


def _line(row: dict[str, Any]) -> str:
    facts = " ".join(f"{key}={_shown(row[key])}" for key in SHOWN if row.get(key) is not None)
    head = f"{_clock(row.get('timestamp'))} {_shown(row.get('type', '?')):17}"
    sender, task = _shown(row.get("hostname", "?")), _shown(row.get("uuid", ""))[:8]
    return f"{head} {sender:24} {task:8} {facts}".rstrip()


def _clock(stamp: Any) -> str:
    """The time of day, UTC; dashes for what is no time at all."""
    if not isinstance(stamp, int | float):
        return NO_TIME
    try:
        return datetime.fromtimestamp(stamp, UTC).strftime("%H:%M:%S.%f")[:-3]
    except (ValueError, OverflowError, OSError):
        return NO_TIME


def _shown(value: Any) -> str:
    """`value` in one line that leaves a terminal alone, whoever wrote it."""
    text = str(value)[:LONGEST]
    return text if text.isprintable() else repr(text)[1:-1]
