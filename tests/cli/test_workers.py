"""`celery-statsd workers` where there is nobody; with workers: tests/test_worker_metrics.py."""

import json

from celery_statsd.lengths import UNKNOWN
from tests.cli.program import run
from tests.servers.process import free_port
from tests.servers.rabbitmq import RabbitMQ
from tests.servers.redis import Redis


def test_that_there_is_nobody_is_bad(redis_server: Redis, rabbitmq: RabbitMQ) -> None:
    """2, as Nagios has it; and an empty object."""
    for url in (redis_server.fresh_url(), rabbitmq.fresh_url()):
        found = run("workers", "-b", url, "--json", "--listen", "0.5", "--log-level", "error")
        assert (2, "") == (found.returncode, found.stderr)
        assert {} == json.loads(found.stdout)


def test_a_broker_or_an_agent_that_does_not_answer_is_unknown() -> None:
    """3, and nothing on stdout that could be read as a fact."""
    broker = ("-b", f"redis://127.0.0.1:{free_port()}/0", "--listen", "0.5")
    agent = ("-b", "redis://127.0.0.1/0", "--http", f"127.0.0.1:{free_port()}")
    for flags in (broker, agent):
        found = run("workers", *flags)
        assert (UNKNOWN, "") == (found.returncode, found.stdout)
        assert "celery-statsd: " in found.stderr
