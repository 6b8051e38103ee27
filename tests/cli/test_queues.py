"""`celery-statsd queues` on real brokers: lengths, exit codes, and what cannot be seen."""

import json
from typing import Any

import pytest
import redis

from celery_statsd.lengths import UNKNOWN
from tests.cli.program import run
from tests.servers.process import free_port
from tests.servers.redis import Redis

LEVELS = '{"default": [100, 500, 1000]}'


def fill(url: str, queue: str, length: int) -> None:
    """So many messages in a queue."""
    with redis.Redis.from_url(url) as client:
        client.lpush(queue, *["{}"] * length)


@pytest.mark.parametrize(("length", "code"), [(99, 0), (499, 0), (500, 1), (999, 1), (1000, 2)])
def test_the_exit_code_is_the_level(length: int, code: int, redis_server: Redis) -> None:
    """And the plain object has the true length."""
    url = redis_server.fresh_url()
    fill(url, "etl", length)
    found = run("queues", "-b", url, "-Q", "etl", "-Q", "none", "--json")

    assert (code, "") == (found.returncode, found.stderr)
    assert {"etl": length, "none": 0} == json.loads(found.stdout)


def test_the_long_form_has_all_that_is_known(redis_server: Redis) -> None:
    """By name."""
    url = redis_server.fresh_url()
    fill(url, "etl", 3)
    told: dict[str, Any] = json.loads(
        run("queues", "-b", url, "-Q", "etl", "--json", "--long").stdout
    )

    assert 3 == told["etl"]["length"]
    assert 0 == told["etl"]["level"]
    assert 0 == told["etl"]["unacked"]


def test_the_table_has_a_line_a_queue(redis_server: Redis) -> None:
    """Below its heads."""
    url = redis_server.fresh_url()
    fill(url, "etl", 3)
    lines = run("queues", "-b", url, "-Q", "etl", "-Q", "mail").stdout.splitlines()

    assert ["queue", "etl", "mail"] == [line.split()[0] for line in lines]
    assert ["etl", "3", "0"] == lines[1].split()[:3]


def test_a_broker_that_does_not_answer_is_unknown() -> None:
    """Nagios's 3, and nothing on stdout that could be read as a length."""
    found = run("queues", "-b", f"redis://127.0.0.1:{free_port()}/0", "-Q", "etl", "--json")

    assert (UNKNOWN, "") == (found.returncode, found.stdout)
    assert found.stderr.startswith("celery-statsd: ")


def test_no_queue_is_not_well(redis_server: Redis) -> None:
    """Who forgets to name them, in a check of Nagios, does not see OK for ever."""
    found = run("queues", "-b", redis_server.fresh_url(), "--json")

    assert (UNKNOWN, {}) == (found.returncode, json.loads(found.stdout))
    assert "queues: none is named; name them by -Q" in found.stderr


def test_a_transport_without_a_probe_is_told() -> None:
    """With the key, and code 2."""
    found = run("queues", "-b", "memory://", "-Q", "etl")

    assert (2, "") == (found.returncode, found.stdout)
    assert "broker" in found.stderr
