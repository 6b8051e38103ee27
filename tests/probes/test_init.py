"""Which probe looks at which broker."""

from typing import Any

import pytest

from celery_statsd.errors import ConfigError
from celery_statsd.probes import PROBES, probe_for
from celery_statsd.probes.amqp import AmqpProbe
from celery_statsd.probes.base import Probe
from celery_statsd.probes.management import ManagementProbe
from celery_statsd.probes.redis import RedisProbe
from celery_statsd.source.base import Broker

API = "http://127.0.0.1:15672"


def made(url: str, **more: Any) -> Probe | None:
    """The probe for that URL; nothing is connected yet."""
    return probe_for(Broker((url,), **more))


@pytest.mark.parametrize(
    ("url", "more", "kind"),
    [
        ("amqp://h", {}, AmqpProbe),
        ("amqps://h", {}, AmqpProbe),
        ("pyamqp://h", {}, AmqpProbe),
        ("amqp://h", {"management": API}, ManagementProbe),
        ("redis://h", {}, RedisProbe),
        ("rediss://h", {}, RedisProbe),
        ("sentinel://h", {"transport_options": {"master_name": "m"}}, RedisProbe),
    ],
)
def test_each_transport_has_its_probe(url: str, more: dict[str, Any], kind: type[Probe]) -> None:
    """And the management API one of its own."""
    assert isinstance(made(url, **more), kind)


def test_other_transports_have_none() -> None:
    """They are watched without it."""
    assert made("memory://") is None
    assert "memory" not in PROBES


@pytest.mark.parametrize("address", ["ftp://h", "http://", "h:15672"])
def test_what_is_no_api_is_told(address: str) -> None:
    """With the key."""
    with pytest.raises(ConfigError, match="management"):
        made("amqp://h", management=address)
