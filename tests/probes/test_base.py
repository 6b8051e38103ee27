"""What a look finds is frozen, and what nobody knows is None."""

from dataclasses import FrozenInstanceError

import pytest

from celery_statsd.probes.base import QueueFacts, Sight


def test_what_is_not_known_is_none() -> None:
    """No made-up zeros."""
    facts = QueueFacts("q")
    assert (None,) * 5 == (
        facts.length, facts.unacked, facts.consumers, facts.memory_bytes, facts.oldest_at,
    )  # fmt: skip
    assert (None, None) == (Sight((), 0.1).connections, Sight((), 0.1).memory_bytes)


def test_a_sight_does_not_change() -> None:
    """It is shared by whoever tells of it."""
    with pytest.raises(FrozenInstanceError):
        QueueFacts("q").length = 1  # type: ignore[misc]
