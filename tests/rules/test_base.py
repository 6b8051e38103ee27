"""A rule is a row of the catalogue."""

from dataclasses import FrozenInstanceError

import pytest

from celery_statsd.metric import Kind
from celery_statsd.rules.base import Rule, nothing, nothings


def test_a_row_cannot_change():
    """Rules are shared by all."""
    rule = Rule("x", Kind.GAUGE, "X.", ("agent",))
    with pytest.raises(FrozenInstanceError):
        rule.metric = "other"


def test_a_row_whose_owner_sets_it_has_no_value():
    """It needs no function of its own."""
    assert None is nothing(object())
    assert [] == nothings([object()])
    rule = Rule("x", Kind.GAUGE, "X.", ("agent",))
    assert ("1", (), None) == (rule.unit, rule.needs, rule.value(None))
    assert [] == rule.times([None])
