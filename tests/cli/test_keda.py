"""`celery-statsd keda`."""

import yaml

from tests.cli.program import run


def test_a_scaled_object_is_written() -> None:
    """With what was asked for."""
    found = run("keda", "--queue", "etl.low", "--deployment", "worker-low", "--app", "shop",
                "--graphite", "http://g:8080", "--per-replica", "5", "--most", "30",
                "--fallback", "1", "--cooldown", "60")  # fmt: skip
    assert (0, "") == (found.returncode, found.stderr)
    spec = yaml.safe_load(found.stdout)["spec"]
    metadata = spec["triggers"][0]["metadata"]
    assert ("http://g:8080", "5") == (metadata["serverAddress"], metadata["threshold"])
    assert "stats.gauges.celery.shop.queue.etl-low.unacked.all" in metadata["query"]
    assert (30, 1, 60) == (
        spec["maxReplicaCount"], spec["fallback"]["replicas"], spec["cooldownPeriod"]
    )  # fmt: skip


def test_what_is_missing_is_told() -> None:
    """By click, with exit code 2."""
    found = run("keda", "--queue", "etl")
    assert (2, True) == (found.returncode, "Missing option '--deployment'" in found.stderr)
