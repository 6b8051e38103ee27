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


class Intake:
    """The way into `chronicle`. `foreign` counts the messages of senders outside of `scope`,
    which are left alone undecoded."""

    def __init__(self, chronicle: Chronicle, scope: Scope, log: Log) -> None:
        self.foreign = 0
        self._chronicle = chronicle
        self._scope = scope
        self._refused = Trouble(log, "message_refused", cure="set event_serializer to 'json'")

    def take(self, messages: Sequence[Message], now: float) -> None:
        """Take in what came together at `now` (epoch seconds)."""
        bodies: list[bytes] = []
        try:
            for message in messages:
                if self._is_ours(message) and not self._refuse(message):
                    bodies.append(message.body)
        finally:  # a fault of the source costs nothing that came before it
            if bodies:
                self._chronicle.feed(bodies, now)

    def _is_ours(self, message: Message) -> bool:
        ours = self._scope.hears(message.hostname)
        self.foreign += not ours
        return ours

    def _refuse(self, message: Message) -> bool:
        """Whether `message` is not even to be tried; then it is counted."""
        reason = refusal_of(message)
        if reason:
            self._chronicle.refuse(reason)
            told = BadEvent(f"{reason} {getattr(message, reason)[:60]!r}")
            self._refused.tell(time.monotonic(), told)
        return bool(reason)


def refusal_of(message: Message) -> str:
    """Why `message` is not even tried, by the name of the field that says so; "" when it is."""
    if message.content_type.partition(";")[0].strip().lower() not in JSON:
        return "content_type"
    return "" if message.content_encoding.lower() in UTF8 else "content_encoding"
