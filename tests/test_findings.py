"""What is wrong, said of those scenes in which it is, and of no others."""

import pytest

from celery_statsd.crew import Crew, Hand, WorkerFacts
from celery_statsd.findings import (
    KINDS,
    STALLED,
    Busy,
    Scene,
    findings,
    safe_to_scale_down,
)
from celery_statsd.life import State
from celery_statsd.probes.base import QueueFacts
from celery_statsd.rules.queue import QUEUE
from celery_statsd.rules.worker import RULES
from tests.bodies import NOON

UP = State.UP


def queue(name="etl", length=10, consumers=1, **more):
    return QueueFacts(name, length, consumers=consumers, **more)


def worker(*queues, active=0, size=2, eta=None, **more):
    return Hand(UP, active=active, **more), WorkerFacts(
        pool_size=size, queues=queues, scheduled=0 if eta is None else 1, eta_at=eta
    )


def scene(*queues, stalled=0.0, busy=(), visibility=None, **workers):
    hands = {name: hand for name, (hand, _) in workers.items()}
    facts = {name: facts for name, (_, facts) in workers.items()}
    names = {facts.name: facts for facts in queues}
    return Scene(
        names, Crew(hands, facts), NOON, dict.fromkeys(names, stalled), dict(busy), visibility
    )


BUSY = {"etl": {"slow": Busy(3, 2), "fast": Busy(4, 0)}}

SCENES = {
    "nobody takes what waits": (scene(queue(consumers=0)), [("unconsumed", "etl")]),
    "nothing waits": (scene(queue(length=0, consumers=0)), []),
    "who takes is not known": (scene(queue(consumers=None)), []),
    "its length is not known": (scene(queue(length=None, consumers=0)), []),
    "idle workers, and nothing moves": (
        scene(queue(), a=worker("etl"), stalled=STALLED),
        [("stuck", "etl")],
    ),
    "not for long": (scene(queue(), a=worker("etl"), stalled=STALLED - 1), []),
    "busy workers, and nothing moves": (
        scene(queue(), a=worker("etl", active=1), stalled=STALLED),
        [],
    ),
    "the broker's consumers are not our workers": (scene(queue(), stalled=STALLED), []),
    "one task has all slots": (
        scene(queue(), a=worker("etl", active=2), busy=BUSY),
        [("head_of_line", "etl")],
    ),
    "it has not all": (scene(queue(), a=worker("etl", size=3, active=2), busy=BUSY), []),
    "nothing else waits": (
        scene(queue(), a=worker("etl", active=2), busy={"etl": {"slow": Busy(3, 2)}}),
        [],
    ),
    "slots are free elsewhere": (
        scene(
            queue(), queue("mails", 0), a=worker("etl", active=2), b=worker("mails", active=1)
        ),
        [("idle_elsewhere", "etl")],
    ),
    "elsewhere something waits, too": (
        scene(queue(), queue("mails", 1), a=worker("etl", active=2), b=worker("mails")),
        [],
    ),
    "what is elsewhere is not looked at": (
        scene(queue(), a=worker("etl", active=2), b=worker("mails")),
        [],
    ),
    "it has free slots itself": (
        scene(queue(), queue("mails", 0), a=worker("etl", active=1), b=worker("mails")),
        [],
    ),
    "the others' slots are taken by what they have reserved": (
        scene(
            queue(), queue("mails", 0), a=worker("etl", active=2), b=worker("mails", reserved=2)
        ),
        [],
    ),
    "a worker flaps": (scene(a=worker(flapping=True)), [("flapping", "a")]),
    "an ETA is farther than Redis waits": (
        scene(a=worker(eta=NOON + 3601), visibility=3600.0),
        [("redelivered", "a")],
    ),
    "it is not farther": (scene(a=worker(eta=NOON + 3599), visibility=3600.0), []),
    "RabbitMQ does not do so": (scene(a=worker(eta=NOON + 9999)), []),
}  # fmt: skip


@pytest.mark.parametrize("name", SCENES)
def test_each_scene_has_its_findings(name):
    """And no other."""
    seen, expected = SCENES[name]
    assert expected == [(finding.kind, finding.entity) for finding in findings(seen)]


def test_the_gravest_comes_first():
    """Each with a sentence and a cure."""
    found = findings(scene(queue(consumers=0), a=worker("x", flapping=True)))
    assert [("unconsumed", 2), ("flapping", 1)] == [(one.kind, one.severity) for one in found]
    assert "10 messages wait in etl, and no worker takes from it" == found[0].text
    assert "start a worker with -Q etl" in found[0].cure
    assert "1 message waits in etl" in findings(scene(queue(length=1, consumers=0)))[0].text


def test_each_kind_is_a_metric():
    """Of the family of its entity."""
    metrics = {("queue", rule.metric) for rule in QUEUE} | {
        ("worker", rule.metric) for rule in RULES
    }
    told = {
        (finding.family, finding.kind) for seen, _ in SCENES.values() for finding in findings(seen)
    }
    assert told <= metrics
    assert {(family, kind) for family, kinds in KINDS.items() for kind in kinds} <= told


@pytest.mark.parametrize(
    ("facts", "workers", "safe"),
    [
        (queue(length=0), {}, True),
        (queue(length=0, unacked=0), {"a": worker("etl")}, True),
        (queue(length=1), {}, False),
        (queue(length=None), {}, False),
        (queue(length=0, unacked=1), {}, False),
        (queue(length=0), {"a": worker("etl", active=1)}, False),
        (queue(length=0), {"a": worker("etl", reserved=1)}, False),
        (queue(length=0), {"a": worker("mails", active=1)}, True),
        (queue(length=0), {"a": (Hand(UP), WorkerFacts())}, False),
    ],
)
def test_it_is_safe_to_scale_down_when_nothing_waits_or_is_held(facts, workers, safe):
    """What is not known is not safe."""
    made = scene(**workers)
    assert safe is safe_to_scale_down(facts, made.crew)
