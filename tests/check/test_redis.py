"""Redis, judged on made values."""

import pytest

from celery_statsd.check import redis
from celery_statsd.check.brokers import RedisFacts
from celery_statsd.check.facts import Expected, Facts
from celery_statsd.check.redis import COMMAND, HEAR, LEASE, LOOK, SEND
from tests.check.made import W1, conf, facts, heard, rows, voice

MB = 1024 * 1024
ENOUGH = {HEAR: True, LEASE: True, LOOK: True}


def test_what_redis_does_not_tell_is_one_finding() -> None:
    """With the commands that were refused."""
    (found,) = redis.told(facts(redis=RedisFacts("7.0", "statsd", limit=(0, 0, 0), maxmemory=0)))

    assert "unknown" == found.severity.word
    assert "does not tell statsd: ACL DRYRUN, CLIENT LIST, SMEMBERS" in found.sentence
    (found,) = redis.told(facts(redis=RedisFacts("", "statsd")))
    assert "Redis does not tell statsd: " in found.sentence


@pytest.mark.parametrize(
    ("limit", "rate", "severity"),
    [
        ((32 * MB, 8 * MB, 60), 10_000, "ok"),
        ((32 * MB, 8 * MB, 60), 5_000_000, "warning"),
        ((0, 0, 0), 5_000_000, "ok"),
        ((0, 8 * MB, 60), 5_000_000, "ok"),  # the soft limit alone leaves a minute
        ((32 * MB, 8 * MB, 60), 0, "ok"),
    ],
)
def test_the_buffer_against_what_comes(
    limit: tuple[int, int, int], rate: int, severity: str
) -> None:
    """How long a reader may stand still, by the bytes that came in a second."""
    came = heard(voice(), bytes=rate * 10)
    (found,) = redis.buffer(facts(heard=came, redis=RedisFacts(limit=limit)))

    assert severity == found.severity.word


@pytest.mark.parametrize(
    ("maxmemory", "policy", "severity"),
    [(0, "allkeys-lru", "ok"), (MB, "noeviction", "ok"), (MB, "allkeys-lru", "critical")],
)
def test_queues_that_may_be_thrown_away(maxmemory: int, policy: str, severity: str) -> None:
    """When there is a bound, and another policy than none."""
    told = facts(redis=RedisFacts(maxmemory=maxmemory, policy=policy))

    assert [severity] == [finding.severity.word for finding in redis.memory(told)]


def test_an_eta_beyond_the_visibility_timeout_runs_twice() -> None:
    """As heard, or as a worker holds it; by the shortest timeout of all."""
    far = heard(voice(), longest_eta=7200.0)
    held = {W1: conf() | {"scheduled": [{"eta": "1970-01-01T03:00:00+00:00", "priority": 6}]}}
    patient = {W1: conf(broker_transport_options={"visibility_timeout": 43_200})}
    known = RedisFacts()

    assert [("critical", "visibility_timeout", "")] == rows(
        redis.visibility(facts(heard=far, answers={W1: conf()}, redis=known))
    )
    assert [("critical", "visibility_timeout", "")] == rows(
        redis.visibility(facts(voice(), answers=held, redis=known))
    )
    assert [("ok", "visibility_timeout", "")] == rows(
        redis.visibility(facts(heard=far, answers=patient, redis=known))
    )


def test_without_answers_our_own_timeout_counts() -> None:
    """The option of kombu's transport."""
    ours = Expected(transport_options={"visibility_timeout": 60})
    told = facts(heard=heard(voice(), longest_eta=61.0), answers={}, redis=RedisFacts())

    assert ["ok"] == [finding.severity.word for finding in redis.visibility(told)]
    short = facts(heard=told.heard, answers={}, redis=RedisFacts(), expected=ours)
    assert ["critical"] == [finding.severity.word for finding in redis.visibility(short)]


def test_bindings_of_the_dead() -> None:
    """More than anybody subscribes."""
    assert [("warning", "leftovers", "")] == rows(
        redis.leftovers(facts(redis=RedisFacts(receivers=9, subscribers=4)))
    )
    assert [("ok", "leftovers", "")] == rows(
        redis.leftovers(facts(redis=RedisFacts(receivers=4, subscribers=9)))
    )


@pytest.mark.parametrize(
    ("may", "expected", "words"),
    [
        (ENOUGH, ["ok"], "touch no task"),
        (ENOUGH | {LOOK: False}, ["warning"], LOOK),
        (ENOUGH | {HEAR: False, LEASE: False}, ["critical"], HEAR),
        (ENOUGH | {SEND: True, COMMAND: True}, ["ok"], f"{COMMAND}, {SEND}"),
        (ENOUGH | {LEASE: False, SEND: True}, ["warning", "ok"], LEASE),
    ],
)
def test_the_rights_of_our_user(may: dict[str, bool], expected: list[str], words: str) -> None:
    """What it lacks, and what is more than it needs."""
    found = list(redis.rights(facts(redis=RedisFacts(user="statsd", may=may))))

    assert expected == [finding.severity.word for finding in found]
    assert words in found[0].sentence


def test_nothing_is_judged_of_another_broker() -> None:
    """No Redis, no finding."""
    every = (
        redis.told,
        redis.buffer,
        redis.memory,
        redis.visibility,
        redis.leftovers,
        redis.rights,
    )

    assert [] == [finding for examine in every for finding in examine(Facts())]
