"""RabbitMQ as the agent needs it: its version, our queue, what dead monitors left, our rights."""

import re
from collections.abc import Iterator

from celery_statsd.check.brokers import RabbitFacts, RabbitQueue, is_receiver
from celery_statsd.check.facts import Facts
from celery_statsd.check.finding import Finding, critical, listed, ok, unknown, warning
from celery_statsd.check.fleet import WHOLE, is_before

WITH_QUORUM, WITH_LIMIT, WITHOUT_TRANSIENT = (3, 8), (4, 0), (4, 3)
"""Versions: the first with quorum queues, the first that drops a message after 20 deliveries, the
first that refuses queues that are neither durable nor exclusive."""

_BOUNDS = ("max-length", "max-length-bytes", "message-ttl")
_POLICY = "set the policy of config/rabbitmq"


def version(facts: Facts) -> Iterator[Finding]:
    """Whether it can do what the agent and the workers ask of it."""
    rabbit = facts.rabbit
    if rabbit is None or not rabbit.version:
        return
    bad = False
    if is_before(rabbit.version, WITH_QUORUM) and facts.expected.queue_type == "quorum":
        said = f"RabbitMQ {rabbit.version} has no quorum queues: a restart of it loses events"
        yield warning("rabbitmq", "", said, "upgrade it, or set event_queue_type: classic")
        bad = True
    if not is_before(rabbit.version, WITHOUT_TRANSIENT):
        voices = facts.heard.alive if facts.heard else ()
        old = [voice.name for voice in voices if is_before(voice.version, WHOLE)]
        if old:
            said = f"RabbitMQ {rabbit.version} refuses the queues of Celery before 5.7"
            yield critical("rabbitmq", listed(old), said, "upgrade them to 5.7")
            bad = True
        open_ = [name for name, conf in facts.confs.items() if _is_open(conf)]
        if open_:
            said = f"RabbitMQ {rabbit.version} refuses queues neither durable nor exclusive"
            yield critical("rabbitmq", listed(open_), said, "set event_queue_exclusive = True")
            bad = True
    if not bad:
        yield ok("rabbitmq", "", f"version {rabbit.version}")
    if rabbit.queues is None:
        said = "without its management API nobody sees other queues, their bounds, and rights"
        yield unknown("rabbitmq", "", said, "set management: http://user:password@host:15672")


def _is_open(conf: object) -> bool:
    told = conf if isinstance(conf, dict) else {}
    return told.get("event_queue_exclusive") is False and not told.get("event_queue_durable")


def own_queue(facts: Facts) -> Iterator[Finding]:
    """The queue in which events wait for the agent: there, of the right type, read, and bounded."""
    rabbit, wanted = facts.rabbit, facts.expected.queue_type
    if rabbit is None or rabbit.queues is None or wanted == "transient":
        return
    ours = [queue for queue in rabbit.queues if _is_own(queue.name, rabbit.own)]
    if not ours:
        said = "there is none yet: what comes before the agent is not kept"
        yield warning("own_queue", rabbit.own, said, "create it at installation: config/rabbitmq")
    for queue in ours:
        yield from _own(queue, wanted, rabbit.version)


def _is_own(name: str, stem: str) -> bool:
    """Whether it is the group's queue, a generation or a part of it."""
    return bool(re.fullmatch(re.escape(stem) + r"(\.(g|p)\d+(of\d+)?)*", name))


def _own(queue: RabbitQueue, wanted: str, server: str) -> Iterator[Finding]:
    bounded, unread = _is_bounded(queue), bool(queue.messages) and queue.consumers == 0
    if unread:
        said = f"{queue.messages} messages wait, and no agent reads them"
        found = warning if bounded else critical
        yield found("own_queue", queue.name, said, "start the agent, or delete the queue")
    if queue.type != wanted:
        said = f"it is {queue.type}, not {wanted}: a restart of the broker loses what waits"
        yield warning("own_queue", queue.name, said, "delete it; the agent makes it anew")
    if not bounded:
        yield warning("own_queue", queue.name, "nothing bounds it: no max-length, no TTL", _POLICY)
    limited = queue.policy is None or "delivery-limit" in queue.policy
    if not is_before(server, WITH_LIMIT) and not limited:
        said = "each message is dropped after 20 deliveries, a crash of the agent being one for all"
        yield warning("own_queue", queue.name, said, _POLICY)
    if bounded and queue.type == wanted and not unread:
        readers = "nobody reads it now" if queue.consumers == 0 else "an agent reads it"
        yield ok("own_queue", queue.name, f"{queue.type}, bounded; {readers}")


def _is_bounded(queue: RabbitQueue) -> bool:
    """Whether anything keeps it from growing for ever; in doubt it is."""
    if queue.policy is None:
        return True
    return any(b in queue.policy or f"x-{b}" in queue.arguments for b in _BOUNDS)


def leftovers(facts: Facts) -> Iterator[Finding]:
    """Event queues of monitors that are gone."""
    queues = facts.rabbit.queues if facts.rabbit else None
    if queues is None:
        return
    dead = [queue for queue in queues if is_receiver(queue.name) and queue.consumers == 0]
    if dead:
        waiting = sum(queue.messages for queue in dead)
        said = f"{len(dead)} event queues of dead monitors, {waiting} messages in them"
        cure = f"delete them ({listed(q.name for q in dead)}); leave event_queue_expires at 60"
        yield warning("leftovers", "", said, cure)
    else:
        yield ok("leftovers", "", "no event queue of a dead monitor")


def rights(facts: Facts) -> Iterator[Finding]:
    """What the agent's own user may do: enough, and not more."""
    rabbit = facts.rabbit
    if rabbit is None or rabbit.rights is None:
        return
    if not _may(rabbit.rights.read, rabbit.own):
        said = f"may not read {rabbit.own} (read: {rabbit.rights.read!r})"
        yield critical("rights", rabbit.user, said, "see config/rabbitmq for the rights it needs")
        return
    more = [right for right, told in _excess(rabbit, facts) if told]
    if more:
        said = f"may do more than listen: {listed(more)}"
        yield ok("rights", rabbit.user, said, "config/rabbitmq has a user who may read one queue")
    else:
        yield ok("rights", rabbit.user, "may read its own queue, and not the tasks'")


def _excess(rabbit: RabbitFacts, facts: Facts) -> Iterator[tuple[str, bool]]:
    rights, queues = rabbit.rights, [queue.name for queue in facts.queues or ()]
    if rights is None:
        return
    yield "read tasks", any(_may(rights.read, queue) for queue in queues or ["celery"])
    yield "forge events", _may(rights.write, facts.expected.event_exchange)
    yield "command workers", _may(rights.write, "celery.pidbox")


def _may(pattern: str, name: str) -> bool:
    """Whether a pattern of RabbitMQ's rights covers a name; "" covers none."""
    try:
        return bool(pattern) and re.search(pattern, name) is not None
    except re.error:
        return False
