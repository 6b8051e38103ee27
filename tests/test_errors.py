"""The errors: one parent, and each as its catcher needs it."""

import re

import pytest

from celery_statsd import errors
from celery_statsd.errors import (
    BadEvent,
    BrokerLost,
    CeleryStatsdError,
    ConfigError,
    SinkDown,
)


@pytest.mark.parametrize(
    "error",
    [ConfigError("broker", "is away", "start it"), BadEvent("json"), BrokerLost(), SinkDown()],
    ids=lambda error: type(error).__name__,
)
def test_all_have_one_parent(error: Exception) -> None:
    """Whoever uses the package can catch all of its errors by one name."""
    assert isinstance(error, CeleryStatsdError)


def test_a_config_error_is_one_sentence_with_key_value_and_cure() -> None:
    """Its text begins with the key and ends with the cure; the key can be asked for."""
    error = ConfigError("sinks", "'ftp://x' has an unknown scheme", "take statsd://")

    assert "sinks: 'ftp://x' has an unknown scheme; take statsd://" == str(error)
    assert "sinks" == error.key


def test_a_bad_event_has_a_reason() -> None:
    """The reason is what the ledger counts it under."""
    assert "timestamp" == BadEvent("timestamp").reason


def test_the_table_names_each_error() -> None:
    """The module's table has a row for each error there is, and no other."""
    rows = re.findall(r"^\| (\w+) +\|", errors.__doc__ or "", re.MULTILINE)
    defined = {
        name
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, CeleryStatsdError)
    }

    assert defined - {"CeleryStatsdError"} == set(rows) - {"error"}
