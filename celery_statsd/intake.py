"""What comes off the source and goes into the pipeline; what is not even tried is counted."""

import time
from collections.abc import Sequence

from celery_statsd.chronicle import Chronicle
from celery_statsd.errors import BadEvent
from celery_statsd.log import Log
from celery_statsd.scope import Scope
from celery_statsd.source.base import Message
from celery_statsd.trouble import Trouble

JSON = frozenset({"application/json", ""})
UTF8 = frozenset({"utf-8", "utf8", "us-ascii", "binary", ""})


MOST_KINDS = 100
"""Pairs of a content type and an encoding that are remembered."""


class Intake:
    """The way into `chronicle`. `foreign` counts the messages of senders outside of `scope`,
    which are left alone undecoded."""

    def __init__(self, chronicle: Chronicle, scope: Scope, log: Log) -> None:
        self.foreign = 0
        self._reasons: dict[tuple[str, ...], str] = {}
        self._chronicle = chronicle
        self._scope = scope
        self._refused = Trouble(log, "message_refused", cure="set event_serializer to 'json'")

    def take(self, messages: Sequence[Message], now: float) -> None:
        """Take in what came together at `now` (epoch seconds)."""
        bodies: list[bytes] = []
        known, everything = self._reasons, not self._scope.hosts
        try:
            for message in messages:
                if everything or self._is_ours(message):
                    reason = known.get(message[1:3])
                    if reason is None:
                        reason = self._reason(message)
                    if reason:
                        self._refuse(message, reason)
                    else:
                        bodies.append(message.body)
        finally:  # a fault of the source costs nothing that came before it
            if bodies:
                self._chronicle.feed(bodies, now)

    def _is_ours(self, message: Message) -> bool:
        ours = self._scope.hears(message.hostname)
        self.foreign += not ours
        return ours

    def _reason(self, message: Message) -> str:
        """As `refusal_of`, remembered for messages of the same type and encoding."""
        if len(self._reasons) >= MOST_KINDS:
            self._reasons.clear()
        reason = self._reasons[message[1:3]] = refusal_of(message)
        return reason

    def _refuse(self, message: Message, reason: str) -> None:
        self._chronicle.refuse(reason)
        told = BadEvent(f"{reason} {getattr(message, reason)[:60]!r}")
        self._refused.tell(time.monotonic(), told)


def refusal_of(message: Message) -> str:
    """Why `message` is not even tried, by the name of the field that says so; "" when it is."""
    if message.content_type.partition(";")[0].strip().lower() not in JSON:
        return "content_type"
    return "" if message.content_encoding.lower() in UTF8 else "content_encoding"
