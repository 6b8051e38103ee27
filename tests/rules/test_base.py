"""A rule is a row of the catalogue."""

from dataclasses import FrozenInstanceError

import pytest

from celery_statsd.events import Change, Moment
from celery_statsd.metric import Kind
from celery_statsd.rules.base import Rule, amount, nothing


def test_a_row_cannot_change():
    """Rules are shared by all."""
    rule = Rule("x", Kind.GAUGE, "X.", ("agent",))
    with pytest.raises(FrozenInstanceError):
        rule.metric = "other"


def test_values_that_need_no_function_of_their_own():
    """A counter grows by what the change tells; a row whose owner sets it has no value."""
    assert 7 == amount(Change(Moment.EVENTS_LOST, None, 0, 7))
    assert None is nothing(object())
    rule = Rule("x", Kind.GAUGE, "X.", ("agent",))
    assert ("1", (), None) == (rule.unit, rule.needs, rule.value(None))
