"""How long the queues are, and who takes from them: one probe for each kind of broker."""

import importlib

from celery_statsd.probes.base import Probe
from celery_statsd.source import probed
from celery_statsd.source.base import Broker

PROBES = {
    "amqp": "celery_statsd.probes.amqp:AmqpProbe",
    "amqps": "celery_statsd.probes.amqp:AmqpProbe",
    "management": "celery_statsd.probes.management:ManagementProbe",
    "redis": "celery_statsd.probes.redis:RedisProbe",
    "rediss": "celery_statsd.probes.redis:RedisProbe",
    "sentinel": "celery_statsd.probes.redis:RedisProbe",
}
"""Transport -> where its probe is; `management` stands for the API of RabbitMQ."""


REDIS = ("redis", "rediss", "sentinel")
"""Where kombu gives what workers hold for too long to others as well."""

VISIBILITY = 3600.0
"""Seconds: kombu's default of `visibility_timeout` (kombu.transport.redis.Channel)."""


def visibility_of(broker: Broker) -> float | None:
    """Seconds after which a message that a worker holds is given to others too; None for a broker
    that does not do so."""
    if probed(broker)[0] not in REDIS:
        return None
    told = broker.transport_options.get("visibility_timeout")
    return float(told) if isinstance(told, int | float) and told > 0 else VISIBILITY


def probe_for(broker: Broker) -> Probe | None:
    """The probe of `broker`; None where there is none for its transport. Raises ConfigError."""
    transport, broker = probed(broker)
    place = PROBES.get("management" if broker.management else transport)
    if place is None:
        return None
    module, _, name = place.partition(":")
    probe: Probe = getattr(importlib.import_module(module), name)(broker)
    return probe
