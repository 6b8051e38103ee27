"""The metric of the doctor: no agent ever writes it."""

from celery_statsd.pipeline import Pipeline
from celery_statsd.rules import COUNTERS
from celery_statsd.rules.doctor import FAMILY, READBACK


def test_an_agent_does_not_write_it() -> None:
    """A counter of the catalogue, and none of a flush."""
    pipeline = Pipeline()
    pipeline.begin(0.0)

    assert (READBACK,) == COUNTERS[FAMILY]
    assert [] == [s for s, _ in pipeline.flush(10.0).counters if s.family == FAMILY]
