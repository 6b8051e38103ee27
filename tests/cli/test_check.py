"""`celery-statsd check` as its users start it: lines, JSON, exit codes, and the signal."""

import json
import signal
from pathlib import Path

import redis

from tests.cli.program import Running, run
from tests.servers.process import free_port, wait_until
from tests.servers.redis import Redis


def test_nothing_there_is_critical(redis_server: Redis) -> None:
    """One finding a line, the worst first, with its cure."""
    found = run("check", "-b", redis_server.fresh_url(), "--seconds", "0.2", "--sink", "console://")
    lines = found.stdout.splitlines()

    assert (2, "") == (found.returncode, found.stderr)
    assert lines[0].startswith("critical events: no event in 0 s -> start a worker")
    assert lines[-1] == "ok       sink console://: for people: nothing was sent"
    assert "\x1b" not in found.stdout


def test_json_has_the_exit_code(redis_server: Redis) -> None:
    """And nothing else stands on stdout."""
    url = redis_server.fresh_url()
    found = run("check", "-b", url, "--seconds", "0.2", "--sink", "console://", "--json")
    told = json.loads(found.stdout)

    assert found.returncode == told["code"]
    assert "critical" == told["findings"][0]["severity"]


def test_a_password_is_never_shown() -> None:
    """Neither the broker's nor a sink's."""
    url = f"redis://:hunter2@127.0.0.1:{free_port()}/0"
    found = run("check", "-b", url, "--seconds", "0.2", "--sink", "console://")

    assert 2 == found.returncode
    assert "hunter2" not in found.stdout + found.stderr


def test_a_signal_ends_the_listening(tmp_path: Path) -> None:
    """What there is is judged at once."""
    flags = ("--seconds", "600", "--sink", "console://")
    (tmp_path / "redis").mkdir()
    with Redis(tmp_path / "redis") as server, redis.Redis(port=server.port) as client:
        running = Running(tmp_path, "check", "-b", server.url, *flags)
        try:
            wait_until(client.pubsub_numpat, 30, "it listens")
            running.process.send_signal(signal.SIGTERM)
            assert 2 == running.process.wait(60)
        finally:
            running.process.kill()
    assert running.lines[0].startswith("critical events: no event in")


def test_the_help_says_what_it_does_to_the_broker() -> None:
    """Before anybody runs it."""
    said = " ".join(run("check", "--help").stdout.split())

    assert "on a queue or subscription of its own" in said
    assert "one broadcast" in said
    assert "changes nothing, but with --enable-events" in said
