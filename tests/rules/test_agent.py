"""The agent's own metrics: set by whoever owns them, never by a rule."""

from celery_statsd.metric import Kind
from celery_statsd.rules import agent


def test_no_rule_speaks_of_the_agent():
    """No event needs to be known, and none gives a value."""
    for rule in agent.RULES:
        assert ("agent",) == rule.families
        assert () == rule.needs
        assert None is rule.value(object())


def test_liveness_is_a_counter():
    """A StatsD repeats the gauges of a dead agent for ever."""
    kinds = {rule.metric: rule.kind for rule in agent.RULES}
    assert len(kinds) == len(agent.RULES)
    assert Kind.COUNTER is kinds["ticks"]
    assert {"events", "events_counted", "events_doubled", "events_bad", "events_dropped"} <= {
        metric for metric, kind in kinds.items() if kind is Kind.COUNTER
    }
