"""`celery-statsd agent`: how it starts; what it does is tested in `tests/test_agent`."""

import gc
from pathlib import Path

from celery_statsd.cli import agent
from tests.servers.agent import Agent
from tests.servers.process import free_port


def test_a_password_is_not_in_the_process_list(tmp_path: Path) -> None:
    """An agent given a password by flag shows it neither in its arguments nor in its log, keeps
    its process id, and has the other flags as they were."""
    broker = f"redis://:geheim@127.0.0.1:{free_port()}/0"
    agent = Agent(tmp_path, broker, ["statsd://127.0.0.1:9"], "quiet", "--log-level", "debug")
    agent.start(lambda: "broker_lost" in agent.output())
    try:
        shown = Path(f"/proc/{agent.pid}/cmdline").read_text().split("\0")
        assert 0 == agent.stop()
    finally:
        agent.kill()

    assert "geheim" not in "".join(shown)
    assert "--broker" not in shown
    assert ["--app", "quiet"] == shown[shown.index("--app") :][:2]
    assert ["-m", "celery_statsd", "agent"] == shown[1:4]
    assert "geheim" not in agent.output()


def test_what_an_agent_has_loaded_is_not_looked_at_for_garbage() -> None:
    """And a flush of some ten thousand rows is no reason to look for any."""
    before = gc.get_threshold()
    try:
        agent._collect_seldom()
        assert agent.GARBAGE == gc.get_threshold()
        assert 10_000 < gc.get_freeze_count()
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
