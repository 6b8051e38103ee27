"""An event without what is private in it: arguments, results, and the texts of exceptions.

What stays is named, not what goes: an event may carry whatever its sender put there. The metrics
made of a redacted event are those of the event: the class of its exception stays.
"""

import re
from collections.abc import Mapping
from typing import Any

from celery_statsd.events import KNOWN_TYPES, exception_class, exception_name, unregistered

COMMON = frozenset({"type", "hostname", "timestamp", "pid", "clock", "utcoffset"})
"""The fields that stay of every event, also of one that is not Celery's own."""

KEPT = COMMON | {
    "uuid", "name", "queue", "exchange", "routing_key", "retries", "eta", "expires",
    "root_id", "parent_id", "runtime", "terminated", "signum", "expired", "requeue",
    "freq", "active", "processed", "loadavg", "sw_ident", "sw_ver", "sw_sys",
}  # fmt: skip
"""Those that stay of Celery's own (celery.worker.request, celery.worker.state, celery.app.amqp)."""

TEXTS = ("exception", "traceback")
"""The fields of which only the exception's class stays."""

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def redacted(event: Mapping[str, Any]) -> dict[str, Any]:
    """`event`, as the wire had it, without what is private; what is none becomes one without
    fields."""
    kind = event.get("type")
    if not isinstance(kind, str):
        return {}
    stays = KEPT if kind in KNOWN_TYPES else COMMON
    kept = {key: value for key, value in event.items() if key in stays}
    told = {key: event[key] for key in TEXTS if key in event}
    return kept | _class_alone(told) if kind in KNOWN_TYPES else kept


def _class_alone(told: Mapping[str, Any]) -> dict[str, Any]:
    """What `told` of an exception and its traceback has to say for the same class to be seen."""
    wrong = {key: 0 for key, text in told.items() if text is not None and not isinstance(text, str)}
    unsound = {key: found[0] for key, text in told.items() if (found := _surrogate(text))}
    if wrong or unsound:  # no event can be made of it, and none shall be
        return wrong or unsound
    exception, traceback = (told.get(key) or "" for key in TEXTS)
    name = exception_name(exception, traceback)
    shown = unregistered(exception) or (f"{name}()" if name else "")
    if exception_class(shown, "") == exception_class(exception, traceback):
        return {"exception": shown} if told else {}
    return {"traceback": name}


def _surrogate(text: Any) -> re.Match[str] | None:
    return _LONE_SURROGATE.search(text) if isinstance(text, str) else None
