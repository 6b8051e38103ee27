"""Redis as the agent and the workers need it: buffers, memory, ETAs, leftovers, our rights."""

from collections.abc import Iterator, Mapping
from typing import Any

from celery_statsd.check.facts import Facts
from celery_statsd.check.finding import Finding, critical, listed, ok, unknown, warning
from celery_statsd.events import epoch

VISIBLE_AGAIN = 3600.0
"""Seconds: kombu's own visibility_timeout (kombu.transport.redis.Channel)."""

STALL = 30.0
"""Seconds for which a reader should be able to stand still."""

HEAR, LEASE, LOOK = "hear events", "hold the lease", "see queues"
SEND, FORGE, COMMAND = "send tasks", "forge events", "command workers"
"""What the doctor asks about its user (see `asking`): the first three are of use."""

_NEEDED, _EXCESS = (HEAR, LEASE, LOOK), (SEND, FORGE, COMMAND)


def told(facts: Facts) -> Iterator[Finding]:
    """What this user may not ask Redis."""
    redis = facts.redis
    if redis is None:
        return
    asked: dict[str, object] = {
        "CONFIG GET": redis.limit,
        "INFO": redis.maxmemory,
        "SMEMBERS": redis.receivers,
    }
    asked |= {"CLIENT LIST": redis.subscribers, "ACL DRYRUN": redis.may}
    refused = [command for command, answer in asked.items() if answer is None]
    if refused:
        said = f"{f'Redis {redis.version}'.strip()} does not tell {redis.user}: {listed(refused)}"
        yield unknown("redis", "", said, "run the doctor as a user who may ask; no agent needs to")
    else:
        yield ok("redis", "", f"version {redis.version}")


def buffer(facts: Facts) -> Iterator[Finding]:
    """How long a slow reader may stand still before Redis cuts it off."""
    redis, heard = facts.redis, facts.heard
    if redis is None or redis.limit is None or heard is None or not heard.seconds:
        return
    hard, soft, seconds = redis.limit
    rate = heard.bytes / heard.seconds
    bounds = [
        bound
        for bound in (hard and hard / max(rate, 1), soft and soft / max(rate, 1) + seconds)
        if bound
    ]
    said = f"client-output-buffer-limit pubsub {hard} {soft} {seconds}"
    if not bounds:
        yield ok("buffer", "", f"{said}: a reader that stands still is never cut off")
    elif min(bounds) < STALL:
        said = f"{said}: at {rate / 1000:.0f} kB/s a reader is cut off within {min(bounds):.0f} s"
        cure = "CONFIG SET client-output-buffer-limit 'pubsub 256mb 64mb 60'"
        yield warning("buffer", "", said, cure)
    else:
        yield ok("buffer", "", f"{said}: {rate / 1000:.1f} kB/s fit for {min(bounds):.0f} s")


def memory(facts: Facts) -> Iterator[Finding]:
    """Whether Redis may throw queues away."""
    redis = facts.redis
    if redis is None or redis.maxmemory is None:
        return
    if redis.maxmemory and redis.policy != "noeviction":
        said = f"maxmemory-policy {redis.policy}: when memory is full, queues are thrown away"
        yield critical("memory", "", said, "CONFIG SET maxmemory-policy noeviction")
    else:
        yield ok("memory", "", "no queue is ever evicted")


def visibility(facts: Facts) -> Iterator[Finding]:
    """Whether a task is put back, and run twice, before its ETA comes."""
    if facts.redis is None or facts.heard is None:
        return
    timeouts = {name: _timeout(conf) for name, conf in facts.confs.items()}
    shortest = min(timeouts.values(), default=_timeout({}, facts.expected.transport_options))
    longest = max(facts.heard.longest_eta, _longest_scheduled(facts))
    said = f"the latest ETA is {longest:.0f} s ahead, visibility_timeout is {shortest:.0f} s"
    if longest > shortest:
        cure = "set visibility_timeout in broker_transport_options above the longest ETA"
        yield critical("visibility_timeout", "", f"{said}: it will run more than once", cure)
    else:
        yield ok(
            "visibility_timeout", "", said if longest else f"{shortest:.0f} s, and no ETA seen"
        )


def _timeout(conf: Mapping[str, Any], ours: Mapping[str, Any] | None = None) -> float:
    options = ours if ours is not None else conf.get("broker_transport_options")
    found = options.get("visibility_timeout") if isinstance(options, Mapping) else None
    return float(found) if isinstance(found, int | float) else VISIBLE_AGAIN


def _longest_scheduled(facts: Facts) -> float:
    """Seconds until the latest ETA of what workers hold."""
    until = facts.heard.until if facts.heard else 0.0
    ahead = [0.0]
    for replies in (facts.answers or {}).values():
        rows = replies.get("scheduled")
        for row in rows if isinstance(rows, list) else ():
            when = epoch(str(row.get("eta"))) if isinstance(row, Mapping) else None
            ahead += [when - until] if when is not None else []
    return max(ahead)


def leftovers(facts: Facts) -> Iterator[Finding]:
    """Bindings of receivers that are gone: each live one is a client that subscribes."""
    redis = facts.redis
    if redis is None or redis.receivers is None or redis.subscribers is None:
        return
    dead = redis.receivers - redis.subscribers
    if dead > 0:
        said = f"at least {dead} of {redis.receivers} bindings are of monitors or workers long gone"
        cure = "delete the key _kombu.binding.celeryev: events do not need it"
        yield warning("leftovers", "", said, cure)
    else:
        yield ok("leftovers", "", f"{redis.receivers} receivers are bound, none surely dead")


def rights(facts: Facts) -> Iterator[Finding]:
    """What the agent's own user may do: enough, and not more."""
    redis = facts.redis
    if redis is None or redis.may is None:
        return
    lacking = [need for need in _NEEDED if redis.may.get(need) is False]
    if lacking:
        said = f"may not {listed(lacking)}"
        cure = "see config/redis for the rights it needs"
        found = critical if HEAR in lacking else warning
        yield found("rights", redis.user, said, cure)
    more = [right for right in _EXCESS if redis.may.get(right)]
    if more:
        said = f"may do more than listen: {listed(more)}"
        yield ok("rights", redis.user, said, "config/redis has a user who may not")
    elif not lacking:
        yield ok("rights", redis.user, "may listen, and touch no task")
