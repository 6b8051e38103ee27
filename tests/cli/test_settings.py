"""What the commands share: each setting can be given to each of them."""

from celery_statsd.keys import KEYS
from tests.cli.program import run


def test_agent_has_a_flag_for_each_key() -> None:
    """Every setting can be given on the command line."""
    helped = run("agent", "--help").stdout

    assert [] == [key.name for key in KEYS if key.flags[-1].partition("/")[0] not in helped]
