"""What comes off the source and goes into the pipeline; what is not even tried is counted."""

import time
from collections.abc import Sequence

from celery_statsd.chronicle import Chronicle
from celery_statsd.errors import BadEvent
from celery_statsd.log import Log
from celery_statsd.scope import Scope
from celery_statsd.source.base import LONGEST_FACTS, Facts, Message
from celery_statsd.trouble import Trouble

JSON = frozenset({"application/json", ""})
UTF8 = frozenset({"utf-8", "utf8", "us-ascii", "binary", ""})


MOST_FACTS = 10_000
"""Facts of which is remembered what to do: one for each sender."""

_OURS, _UNKNOWN = "", "?"


class Intake:
    """The way into `chronicle`. `foreign` counts the messages of senders outside of `scope`,
    which are left alone undecoded."""

    def __init__(self, chronicle: Chronicle, scope: Scope, log: Log) -> None:
        self.foreign = 0
        self._verdicts: dict[Facts, str | None] = {}
        self._chronicle = chronicle
        self._scope = scope
        self._refused = Trouble(log, "message_refused", cure="set event_serializer to 'json'")

    def take(self, messages: Sequence[Message], now: float) -> None:
        """Take in what came together at `now` (epoch seconds)."""
        bodies: list[bytes] = []
        known = self._verdicts
        try:
            for message in messages:
                facts = message.facts
                verdict = known.get(facts, _UNKNOWN)
                if verdict is _UNKNOWN:
                    verdict = self._judge(facts)
                if verdict == _OURS:
                    bodies.append(message.body)
                elif verdict is None:
                    self.foreign += 1
                else:
                    self._refuse(facts, verdict)
        finally:  # a fault of the source costs nothing that came before it
            if bodies:
                self._chronicle.feed(bodies, now)

    def _judge(self, facts: Facts) -> str | None:
        """What to do with messages of these facts: take them (""), refuse them for a reason, or
        leave them to others (None)."""
        ours = not self._scope.hosts or self._scope.hears(facts.hostname)
        verdict = refusal_of(facts) if ours else None
        if len(self._verdicts) >= MOST_FACTS:
            self._verdicts.clear()
        if sum(map(len, facts)) <= LONGEST_FACTS:
            self._verdicts[facts] = verdict
        return verdict

    def _refuse(self, facts: Facts, reason: str) -> None:
        self._chronicle.refuse(reason)
        told = BadEvent(f"{reason} {getattr(facts, reason)[:60]!r}")
        self._refused.tell(time.monotonic(), told)


def refusal_of(facts: Facts) -> str:
    """Why a message of these facts is not even tried, by the name of the field that says so; ""
    when it is."""
    if facts.content_type.partition(";")[0].strip().lower() not in JSON:
        return "content_type"
    return "" if facts.content_encoding.lower() in UTF8 else "content_encoding"
