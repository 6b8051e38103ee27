"""What settings make of the parts of an agent."""

import socket
from pathlib import Path
from typing import Any

import pytest

from celery_statsd.blueprint import broker_of, host_of, pipeline_of, scope_of, state_of
from celery_statsd.config import load
from celery_statsd.errors import ConfigError
from celery_statsd.keys import Settings
from celery_statsd.scope import CLUSTER

FULL = socket.gethostname()
SHORT = FULL.partition(".")[0]


def of(**flags: Any) -> Settings:
    """The settings with these flags."""
    return load({"broker": ("redis://h",), **flags}, {}, None, lambda _: {}, "/nowhere")


def test_an_agent_counts_the_cluster() -> None:
    """Unless it is told otherwise: as one of a chorus, under its machine's short name."""
    settings = of()
    broker = broker_of(settings)

    assert CLUSTER is scope_of(settings)
    assert SHORT == host_of(settings)
    assert ("default", True) == (broker.group, broker.chorus)
    assert (1, 1) == (broker.partition, broker.partitions)


def test_a_host_has_a_queue_of_its_own() -> None:
    """It hears all, and no other agent takes anything from it; nobody has to agree on marks."""
    settings = of(scope="host", group="shop")
    broker, scope = broker_of(settings), scope_of(settings)

    assert (f"shop-{SHORT}", False) == (broker.group, broker.chorus)
    assert SHORT == scope.reporter
    assert {FULL, SHORT} == scope.hosts


def test_a_host_may_have_another_name() -> None:
    """As workers are told theirs; its own two it has all the same."""
    settings = of(scope="host", host="web1")

    assert "default-web1" == broker_of(settings).group
    assert "web1" == scope_of(settings).reporter
    assert {FULL, SHORT, "web1"} == scope_of(settings).hosts


def test_a_part_has_a_name_and_a_journal_of_its_own(tmp_path: Path) -> None:
    """Several may run on one machine, from one file of settings."""
    settings = of(partitions=3, partition=2, state_dir=str(tmp_path), broker=("amqp://h",))
    scope = scope_of(settings)

    assert ("p2", 2, 3) == (scope.reporter, scope.partition, scope.partitions)
    assert f"{SHORT}-p2" == host_of(settings)
    assert "web1" == host_of(of(partitions=3, partition=2, host="web1"))
    assert tmp_path / "default.p2.journal" == state_of(settings)
    assert (2, 3) == (broker_of(settings).partition, broker_of(settings).partitions)


def test_one_part_of_one_is_the_cluster() -> None:
    """Whether its number is told or not."""
    assert CLUSTER is scope_of(of(partitions=1))
    assert CLUSTER is scope_of(of(partitions=1, partition=1))


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"partitions": 3}, "partition: there are 3, and this agent's own is not set"),
        ({"partitions": 3, "partition": 4}, "partition: there are 3, and this agent's own is 4"),
        ({"partition": 2}, "partition: it is set, but partitions is not"),
        ({"partitions": 2, "partition": 1, "scope": "host"}, "partitions: a host is a part"),
        (
            {"partitions": 2, "partition": 1, "event_queue_type": "transient"},
            "event_queue_type: partitions need queues that stay",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused(flags: dict[str, Any], told: str) -> None:
    """In one sentence that names the key."""
    with pytest.raises(ConfigError, match=told):
        scope_of(of(**flags))


def test_a_journal_is_kept_where_somebody_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The setting, else systemd's folder, else nowhere; an app's name does not lead elsewhere."""
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    assert None is state_of(of())
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    assert tmp_path / "default.journal" == state_of(of())
    assert Path("/var/other/shop-eu.journal") == state_of(of(app="shop.eu", state_dir="/var/other"))
    assert tmp_path == (state_of(of(app="../../etc")) or Path()).parent


def test_a_pipeline_speaks_in_its_scope() -> None:
    """The reporter of all facts of the cluster is the scope's."""
    pipeline = pipeline_of(of(app="shop", partitions=2, partition=2, broker=("amqp://h",)))
    pipeline.begin(0.0)
    paths = {series.path for series, _ in pipeline.flush(1.0).gauges}

    assert "celery.shop.cluster.all.running.p2" in paths
    assert "celery.shop.cluster.all.queued.p2" not in paths
