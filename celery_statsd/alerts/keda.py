"""KEDA: a ScaledObject a queue, whose workers are scaled by the messages that wait and are held.

What KEDA's `graphite` scaler makes of an answer (pkg/scalers/graphite_scaler.go): more than one
series is an error; the newest value that is no null counts; no series at all is 0, which would end
all workers; only nulls are an error, for which there is `fallback`. So the query has exactly one
series whatever is missing, and a number only when both gauges have one: out of ignorance nobody is
scaled to zero. What workers hold counts, or a task that runs would lose its worker.
"""

from typing import Any, NamedTuple

from celery_statsd.dashboards.flavours import Layout
from celery_statsd.document import written
from celery_statsd.names import Names
from celery_statsd.rules import WORDS

LOOK_BACK = "-5Minutes"
"""How far KEDA looks back; it takes no other spelling of units."""


class Scaling(NamedTuple):
    """How a deployment is scaled: tasks for each replica, the most replicas, those to fall back to
    while nobody knows, seconds without work before the last one ends."""

    per_replica: int = 20
    most: int = 10
    fallback: int = 2
    cooldown: int = 300


def query(layout: Layout, queue: str) -> str:
    """Messages that wait in a queue and that its workers hold, as one series."""
    node = Names("", "app", "all", WORDS).entity("queue", queue)
    length, unacked = (layout.gauge("queue", node, name, "all") for name in ("length", "unacked"))
    waits = f"fallbackSeries({length},{_nulls(unacked)})"
    held = f"fallbackSeries({unacked},{_nulls(length)})"
    both = f"aggregate(group({waits},{held}),'sum',1)"
    return f"alias(fallbackSeries({both},{_nulls('constantLine(0)')}),'{node}')"


def scaled_object(
    layout: Layout, queue: str, deployment: str, server: str, scaling: Scaling
) -> dict[str, Any]:
    """The manifest, as plain data; `server` is where KEDA finds graphite-web."""
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": deployment},
        "spec": {
            "scaleTargetRef": {"name": deployment},
            "minReplicaCount": 0,
            "maxReplicaCount": scaling.most,
            "cooldownPeriod": scaling.cooldown,
            "fallback": {"failureThreshold": 3, "replicas": scaling.fallback},
            "triggers": [
                {
                    "type": "graphite",
                    "metadata": {
                        "serverAddress": server,
                        "query": query(layout, queue),
                        "queryTime": LOOK_BACK,
                        "threshold": str(scaling.per_replica),
                        "activationThreshold": "0",
                    },
                }
            ],
        },
    }


HEAD = """\
# Made by `celery-statsd keda`. The agent must look at this queue (`queues` in its settings); on
# RabbitMQ it needs `management` to know what workers hold. Without both numbers KEDA gets none, and
# goes to `fallback`.
"""


def manifest(layout: Layout, queue: str, deployment: str, server: str, scaling: Scaling) -> str:
    """The ScaledObject as YAML."""
    return HEAD + written(scaled_object(layout, queue, deployment, server, scaling))


def _nulls(series: str) -> str:
    """`series` without a value."""
    return f"removeAboveValue({series},-1)"
