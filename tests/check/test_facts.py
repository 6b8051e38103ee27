"""What is gathered, in one value: what the examinations ask of it."""

from celery_statsd.check.brokers import RabbitFacts, RabbitQueue, RedisFacts
from celery_statsd.check.facts import Facts
from tests.check.made import W1, conf, facts, heard, voice


def test_workers_are_those_heard_and_those_who_answer() -> None:
    """Together; nobody without either."""
    assert {W1, "w2@web1"} == facts(voice(), answers={"w2@web1": {}}).answers_and_voices
    assert set() == Facts().answers_and_voices


def test_settings_that_were_refused_are_none() -> None:
    """A worker may answer with an error."""
    answers = {W1: conf(a=1), "w2": {"conf": {"error": "no"}}, "w3": {}, "w4": {"conf": "?"}}

    assert [W1] == list(facts(answers=answers).confs)


def test_a_pool_is_told_by_its_worker() -> None:
    """As a text; "" where it is not told."""
    stats = {"stats": {"pool": {"implementation": "celery.concurrency.thread:TaskPool"}}}
    old = {"stats": {"pool": {"max-concurrency": 2, "threads": 2}}}
    told = facts(answers={W1: stats, "w2": {"stats": None}, "w4": old})

    assert "thread" in told.pool(W1)
    assert "threads" == told.pool("w4")
    assert ("", "") == (told.pool("w2"), told.pool("w3"))


def test_the_places_for_commands_are_the_brokers() -> None:
    """Of whichever it is; none when it does not tell."""
    rabbit = RabbitFacts(queues=(RabbitQueue("w9@h.celery.pidbox"), RabbitQueue("mails")))

    assert {"w9@h"} == Facts(rabbit=rabbit).pidboxes
    assert {"w8@h"} == Facts(redis=RedisFacts(pidboxes=("w8@h",))).pidboxes
    assert set() == Facts(rabbit=RabbitFacts()).pidboxes == Facts(heard=heard()).pidboxes
