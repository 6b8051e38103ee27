"""The package says what it is for."""

import celery_statsd.alerts


def test_it_is_explained() -> None:
    """In a sentence."""
    assert celery_statsd.alerts.__doc__
