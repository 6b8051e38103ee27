"""Queues nobody consumes."""

from collections.abc import Iterator, Mapping

from celery_statsd.check.facts import Facts
from celery_statsd.check.finding import Finding, critical, listed, ok, unknown, warning
from celery_statsd.probes.base import QueueFacts

_CURE = "start a worker with -Q {name}, or stop sending there"


def unconsumed(facts: Facts) -> Iterator[Finding]:
    """Each queue that has no consumer: as RabbitMQ tells, else as the workers do."""
    taken, silent = _taken(facts), facts.unanswering
    fine = []
    for queue in facts.queues or ():
        if _is_consumed(queue, taken) is not False:
            fine.append(queue.name)
            continue
        if silent and queue.consumers is None:
            said = "no worker that answers takes from it"
            cure = f"ask again: {listed(silent)} did not answer"
            yield unknown("queues", queue.name, said, cure)
        elif queue.length:
            said = f"nobody takes its {queue.length} messages"
            yield critical("queues", queue.name, said, _CURE.format(name=queue.name))
        else:
            said = "nobody would take what comes; it is empty"
            yield warning("queues", queue.name, said, _CURE.format(name=queue.name))
    if fine and taken is not None:
        yield ok("queues", "", f"{len(fine)} have somebody who takes from them: {listed(fine)}")


def consumed(answers: Mapping[str, Mapping[str, object]] | None) -> set[str]:
    """The queues that workers say they consume from."""
    found = set()
    for replies in (answers or {}).values():
        rows = replies.get("active_queues")
        for row in rows if isinstance(rows, list) else ():
            if isinstance(row, Mapping) and isinstance(row.get("name"), str):
                found.add(str(row["name"]))
    return found


def _taken(facts: Facts) -> set[str] | None:
    """What is consumed; None when nobody tells."""
    if facts.answers is None and all(queue.consumers is None for queue in facts.queues or ()):
        return None
    return consumed(facts.answers)


def _is_consumed(queue: QueueFacts, taken: set[str] | None) -> bool | None:
    if queue.consumers is not None:
        return queue.consumers > 0
    return None if taken is None else queue.name in taken
