"""The ScaledObject, and what its query is on a real Graphite, read as KEDA's scaler reads it."""

import json
import time
import urllib.parse
import urllib.request
from itertools import count
from typing import Any

import pytest
import yaml

from celery_statsd.alerts.keda import Scaling, manifest
from celery_statsd.alerts.target import layout_of
from tests.servers.graphite import Graphite
from tests.servers.process import REPOSITORY

COMMITTED = REPOSITORY / "config" / "keda" / "scaledobject.yml"
APPS = count()


def made(app: str = "default", queue: str = "etl") -> dict[str, Any]:
    layout = layout_of("statsd", "celery", app)
    text = manifest(layout, queue, f"worker-{queue}", "http://graphite", Scaling())
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def test_what_is_committed_is_what_is_made() -> None:
    """To the letter; `celery-statsd keda` makes it."""
    layout = layout_of("statsd", "celery", "default")
    expected = manifest(layout, "etl", "worker-etl", "http://graphite", Scaling())
    assert expected == COMMITTED.read_text()


def test_it_has_the_shape_that_keda_reads() -> None:
    """KEDA itself could not be run here. All metadata of a trigger are text there."""
    found = made()
    assert ("keda.sh/v1alpha1", "ScaledObject") == (found["apiVersion"], found["kind"])
    spec = found["spec"]
    assert {"name": "worker-etl"} == spec["scaleTargetRef"] == found["metadata"]
    assert 0 == spec["minReplicaCount"] < spec["fallback"]["replicas"] <= spec["maxReplicaCount"]
    (trigger,) = spec["triggers"]
    wanted = {"serverAddress", "query", "queryTime", "threshold", "activationThreshold"}
    assert ("graphite", wanted) == (trigger["type"], set(trigger["metadata"]))
    assert all(isinstance(value, str) for value in trigger["metadata"].values())


def test_what_is_asked_for_is_there() -> None:
    """Each number has its place."""
    layout = layout_of("statsd", "celery", "default")
    spec = yaml.safe_load(manifest(layout, "q", "w", "http://g", Scaling(7, 30, 4, 60)))["spec"]
    assert (30, 60, 4) == (
        spec["maxReplicaCount"], spec["cooldownPeriod"], spec["fallback"]["replicas"]
    )  # fmt: skip
    assert "7" == spec["triggers"][0]["metadata"]["threshold"]


class NoValueError(Exception):
    """Where KEDA's scaler reports an error, and falls back."""


def scaled_by(graphite: Graphite, app: str, queue: str = "etl") -> float:
    """What KEDA 2's graphite_scaler.go makes of the answer to its GET."""
    metadata = made(app, queue)["spec"]["triggers"][0]["metadata"]
    query = urllib.parse.urlencode(
        {"from": metadata["queryTime"], "target": metadata["query"], "format": "json"}
    )
    with urllib.request.urlopen(f"{graphite.url}/render?{query}", timeout=20) as answer:
        assert 200 == answer.status
        series = json.load(answer)
    assert 1 == len(series), "none would be 0, several an error"
    assert series[0]["datapoints"], "a series without points would be 0"
    values = [value for value, _ in series[0]["datapoints"] if value is not None]
    if not values:
        raise NoValueError
    return float(values[-1])


def queue_of(graphite: Graphite, queue: str = "etl", **gauges: list[float]) -> str:
    """A new app whose queue had these values, the last of them just now."""
    app, now = f"keda_{next(APPS)}", int(time.time()) // 10 * 10
    graphite.write(
        {
            f"stats.gauges.celery.{app}.queue.{queue}.{gauge}.all": [
                (now - 10 * back, value) for back, value in enumerate(reversed(values))
            ]
            for gauge, values in gauges.items()
        },
        "10s:1h",
    )
    return app


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("length", "unacked", "expected"),
    [
        ([9, 9, 0], [9, 9, 0], 0),  # scaled to zero
        ([0, 0, 1], [0, 0, 0], 1),  # and back
        ([5, 3, 0], [0, 2, 4], 4),  # what workers hold keeps them
        ([100, 100, 100], [20, 20, 20], 120),
    ],
)
def test_the_newest_of_both_counts(
    length: list[float], unacked: list[float], expected: float, graphite: Graphite
) -> None:
    """One series, one number: what waits and what is held."""
    app = queue_of(graphite, length=length, unacked=unacked)
    assert expected == scaled_by(graphite, app)


@pytest.mark.e2e
@pytest.mark.parametrize("gauges", [{}, {"length": [0.0, 0.0]}, {"unacked": [0.0]},
                                    {"length": [], "unacked": []}])  # fmt: skip
def test_nobody_is_scaled_to_zero_out_of_ignorance(
    gauges: dict[str, list[float]], graphite: Graphite
) -> None:
    """A queue nobody looks at, one of which nobody knows what is held, an agent that is dead: one
    series all the same, and no number."""
    app = queue_of(graphite, **gauges)
    with pytest.raises(NoValueError):
        scaled_by(graphite, app)


@pytest.mark.e2e
def test_a_queue_of_any_name_is_found(graphite: Graphite) -> None:
    """As the agent escapes it."""
    app = queue_of(graphite, "mails-high_at_eu", length=[4.0], unacked=[1.0])
    assert 5 == scaled_by(graphite, app, "mails.high@eu")
