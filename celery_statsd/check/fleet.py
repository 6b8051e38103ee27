"""What the workers answer: their versions, and their settings beside the agent's."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from celery_statsd.check.facts import Facts
from celery_statsd.check.finding import Finding, critical, listed, ok, warning

OLDEST, WHOLE = (4, 0), (5, 7)
"""Versions of Celery: before the first one events have other names and channels on Redis; before
the second one workers lose events by themselves (celery.events.dispatcher, celery.worker.consumer):
`-P threads` drops what is added while it sends, and each lost connection takes what runs then."""

OPTIONS = ("global_keyprefix", "fanout_prefix", "fanout_patterns", "sep", "priority_steps")
"""The transport options that name the channels of the events on Redis, and the queues' keys."""

_MASKED = re.compile(r"\*{3,}")
_VERSION = re.compile(r"(\d{1,4})\.(\d{1,4})")


def answers(facts: Facts) -> Iterator[Finding]:
    """Who is heard and does not answer."""
    if facts.heard is None or facts.answers is None:
        return
    if facts.answers:
        said = f"{len(facts.answers)} workers answer: {listed(facts.answers)}"
        yield ok("answers", "", said)
    for name in sorted(facts.unanswering):
        said = "is heard, but does not answer"
        cure = (
            "a busy solo worker, one without remote control, or one of another app on the same "
            "exchange or channels: give each app its own vhost, database or global_keyprefix"
        )
        yield warning("answers", name, said, cure)


def versions(facts: Facts) -> Iterator[Finding]:
    """Celery's version on each worker, as its heartbeats tell it."""
    by_version: dict[str, list[str]] = defaultdict(list)
    for voice in facts.heard.alive if facts.heard else ():
        if voice.version and voice.software in ("", "py-celery"):
            by_version[voice.version].append(voice.name)
    for version, names in sorted(by_version.items()):
        yield from _aged(version, names, facts)
    if len(by_version) > 1:
        told = "; ".join(f"{one}: {listed(names)}" for one, names in sorted(by_version.items()))
        said = f"{len(by_version)} versions of Celery at once ({told})"
        yield warning("versions", "", said, "upgrade all to one")
    elif by_version and not any(is_before(one, WHOLE) for one in by_version):
        yield ok("versions", "", f"Celery {next(iter(by_version))} everywhere")


def _aged(version: str, names: list[str], facts: Facts) -> Iterator[Finding]:
    if is_before(version, OLDEST):
        said = f"Celery {version}: other channels on Redis, events without root_id or task-rejected"
        yield critical("versions", listed(names), said, "upgrade to 5.7")
    elif is_before(version, WHOLE):
        said = f"Celery {version} loses the events of what runs when the broker connection breaks"
        yield warning("versions", listed(names), said, "upgrade to 5.7; `events_lost` counts them")
        threads = [name for name in names if "thread" in facts.pool(name)]
        if threads:
            said = f"Celery {version} with -P threads loses up to nine in ten of its events"
            yield critical("versions", listed(threads), said, "upgrade to 5.7, or use -P prefork")


def is_before(version: str, bound: tuple[int, int]) -> bool:
    """Whether a version's text is of one before `bound`; one that cannot be read is not."""
    found = _VERSION.match(version)
    return bool(found) and (int(found[1]), int(found[2])) < bound  # type: ignore[index]


def settings(facts: Facts) -> Iterator[Finding]:
    """Settings of the workers that decide what the agent hears."""
    confs = facts.confs
    if not confs:
        return
    yield from _track_started(confs)
    mute = [name for name, conf in confs.items() if not conf.get("task_send_sent_event")]
    if mute:
        said = f"{listed(mute)}: task_send_sent_event is off; what these send (retries, chains) has"
        cure = "set task_send_sent_event = True"
        yield warning("task_send_sent_event", "", f"{said} no task-sent", cure)
    else:
        yield ok("task_send_sent_event", "", "on in every worker's app")
    elsewhere = {
        name: conf.get("event_exchange", "celeryev")
        for name, conf in confs.items()
        if conf.get("event_exchange", "celeryev") != facts.expected.event_exchange
    }
    for name, exchange in sorted(elsewhere.items()):
        said = (
            f"sends its events to {exchange}, the agent listens to {facts.expected.event_exchange}"
        )
        yield critical("event_exchange", name, said, f"set event_exchange: {exchange} here")
    yield from _channels(facts)
    yield from _receivers(confs)


def _track_started(confs: Mapping[str, Mapping[str, Any]]) -> Iterator[Finding]:
    tracking = [name for name, conf in confs.items() if conf.get("task_track_started")]
    said = "task-started events come without it"
    if tracking:
        costs = "it only writes a state to the result backend, once a task"
        yield ok("task_track_started", "", f"on ({listed(tracking)}): {costs}; {said}")
    else:
        yield ok("task_track_started", "", f"off, as it may be: {said}")


def _channels(facts: Facts) -> Iterator[Finding]:
    """On Redis: options that make other channels or keys than the agent's do."""
    if facts.redis is None:
        return
    ours = facts.expected.transport_options
    for name, conf in sorted(facts.confs.items()):
        theirs = conf.get("broker_transport_options") or {}
        if not isinstance(theirs, Mapping):
            continue
        for option in OPTIONS:
            if theirs.get(option) != ours.get(option) and not _is_hidden(theirs.get(option)):
                said = (
                    f"its {option} is {theirs.get(option)!r}, the agent's is {ours.get(option)!r}"
                )
                cure = "set transport_options as the app's broker_transport_options"
                yield critical("transport_options", name, said, cure)


def _is_hidden(value: object) -> bool:
    """Whether Celery has masked a value, as it does those whose names sound like secrets."""
    return isinstance(value, str) and bool(_MASKED.search(value))


def _receivers(confs: Mapping[str, Mapping[str, Any]]) -> Iterator[Finding]:
    """The bounds of the queues of Celery's own receivers: not of the agent's."""
    bounds = {
        (c.get("event_queue_ttl", 5.0), c.get("event_queue_expires", 60.0)) for c in confs.values()
    }
    for ttl, expires in sorted(bounds, key=str):
        if ttl is None or expires is None:
            said = (
                f"event_queue_ttl {ttl}, event_queue_expires {expires}: dead receivers' queues grow"
            )
            cure = "leave event_queue_ttl at 5 and event_queue_expires at 60"
            yield warning("event_queue", "", said, cure)
        else:
            said = f"Celery's own receivers (Flower) lose what they do not take within {ttl:g} s"
            yield ok("event_queue", "", f"{said}; the agent's own queue has no such limit")
