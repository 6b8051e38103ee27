"""Facts out of what workers say, and none out of what they do not."""

import pytest

from celery_statsd.crew import WorkerFacts
from celery_statsd.probes.answers import MOST_NAMES, QUESTIONS, facts_of
from celery_statsd.probes.workers import QUESTIONS as ALLOWED

ETA = "2026-07-01T12:00:00+00:00"


def test_what_is_asked_may_be_asked():
    """Nothing that changes a worker."""
    assert set(QUESTIONS) <= ALLOWED


def test_each_answer_is_a_fact():
    """As Celery 5 gives them."""
    answers = {
        "stats": {"prefetch_count": 16, "pool": {"max-concurrency": 8, "processes": [1, 2, 3]}},
        "active_queues": [{"name": "etl", "exchange": {}}, {"name": "mails"}],
        "reserved": [{}, {}],
        "scheduled": [{"eta": ETA}, {"eta": "2026-06-01T12:00:00+00:00"}, {"eta": None}],
        "revoked": ["a"],
        "registered": ["shop.pay [rate_limit=10/m]", "shop.ship"],
    }
    assert facts_of(answers) == WorkerFacts(
        3, 16, 2, 3, 1, ("shop.pay", "shop.ship"), ("etl", "mails"), 1782907200.0
    )


@pytest.mark.parametrize(
    ("pool", "size"),
    [
        ({"max-concurrency": 8, "processes": []}, 8),
        ({"max-concurrency": 8}, 8),
        ({"max-concurrency": 1, "processes": "N/A"}, 1),
        ({}, None),
        ("N/A", None),
    ],
)
def test_the_size_of_a_pool(pool, size):
    """The processes that are there, else the threads that may be."""
    assert size == facts_of({"stats": {"pool": pool}}).pool_size


@pytest.mark.parametrize("nonsense", [None, {}, {"error": "x"}, 7, "x", [], [7, None, {}, []]])
def test_what_is_no_answer_is_no_fact(nonsense):
    """Whatever a worker says instead."""
    facts = facts_of(dict.fromkeys(QUESTIONS, nonsense))
    assert (None, None, None) == (facts.pool_size, facts.prefetch, facts.eta_at)
    assert facts.queues in (None, ())
    assert facts.registered in (None, ())
    assert WorkerFacts() == facts_of({})


def test_names_are_bounded():
    """In number and length."""
    facts = facts_of({"registered": [f"t{n}" for n in range(2 * MOST_NAMES)] + ["x" * 300]})
    assert MOST_NAMES == len(facts.registered)
    assert 255 == len(facts_of({"registered": ["x" * 300]}).registered[0])
