"""The passing events, one line each: for people, or whole and as `replay` reads them."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from celery_statsd.source.base import Message, Source

SHOWN = ("name", "queue", "retries", "eta", "runtime", "exception", "active", "processed")
"""What a line shows of an event besides its time, type, sender and task, where it has it."""


class Watch:
    """Looks at a source. `whole`: JSON lines with the recorder's fields, else short lines."""

    def __init__(self, source: Source, whole: bool) -> None:
        self._source = source
        self._whole = whole
        self._batch = 0

    def lines(self, deadline: float | None) -> Iterator[str]:
        """A line for each event, until `deadline` (monotonic seconds; None: for ever)."""
        while deadline is None or time.monotonic() < deadline:
            for message in self._source.read(0.5):
                self._batch += 1
                yield from self._lines_of(message)
            self._source.ack()

    def close(self) -> None:
        """Leave the broker."""
        self._source.close()

    def _lines_of(self, message: Message) -> Iterator[str]:
        try:
            body = json.loads(message.body)
        except (ValueError, RecursionError):
            yield f"not JSON: {len(message.body)} bytes, {message.content_type}"
            return
        rows = body if isinstance(body, list) else [body]
        for row in rows:
            if not isinstance(row, dict):
                yield f"no event: {str(row)[:80]!r}"
            elif self._whole:
                yield json.dumps({**row, **self._recorded(message, len(rows))})
            else:
                yield _line(row)

    def _recorded(self, message: Message, size: int) -> dict[str, Any]:
        return {
            "_batch": self._batch,
            "_hostname": message.hostname,
            "_received": time.time(),
            "_routing_key": message.routing_key,
            "_size": size,
        }


def _line(row: dict[str, Any]) -> str:
    stamp = row.get("timestamp")
    shown = datetime.fromtimestamp(stamp, UTC) if isinstance(stamp, int | float) else None
    clock = shown.strftime("%H:%M:%S.%f")[:-3] if shown else "--:--:--.---"
    facts = " ".join(f"{key}={row[key]}" for key in SHOWN if row.get(key) is not None)
    head = f"{clock} {row.get('type', '?')!s:17} {row.get('hostname', '?')!s:24}"
    return f"{head} {str(row.get('uuid', ''))[:8]:8} {facts}".rstrip()
