"""How a command that listens ends. What SIGHUP does is tested in `tests/faults/test_reload`."""

import signal
from pathlib import Path

import pytest

from tests.cli.program import watching
from tests.servers.process import wait_until
from tests.servers.redis import Redis
from tests.source.stream import send


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_events_end_quietly_on_a_signal(number: int, tmp_path: Path, redis_server: Redis) -> None:
    """Ctrl-C and SIGTERM: exit code 0, no traceback, and each event has its line."""
    url = redis_server.fresh_url()
    with watching(tmp_path, url) as running:
        send(url, ["u1", "u2"])
        wait_until(lambda: len(running.lines) == 2, 10, "both events are shown")
        code = running.end(number)

    assert 0 == code
    assert "Traceback" not in running.said
    assert ["task-started", "task-started"] == [line.split()[1] for line in running.lines]
