"""`celery-statsd top`, as far as the command line goes; the rest is in `tests/top`."""

import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.program import ENVIRONMENT, PROGRAM, run
from tests.servers.process import free_port, wait_until
from tests.servers.rabbitmq import RabbitMQ
from tests.servers.redis import Redis
from tests.source.stream import send

NO_CURSES = """
import sys
sys.modules["_curses"] = None  # what an import finds that was not built
from celery_statsd.cli import main
sys.argv = ["celery-statsd", "top", "-b", "memory://"]
main()
"""


def test_in_a_pipe_it_says_that_it_needs_a_terminal(redis_server: Redis) -> None:
    """And what to use there; nothing is written to stdout, and the broker is left alone."""
    found = run("top", "-b", redis_server.fresh_url())

    assert (2, "") == (found.returncode, found.stdout)
    assert found.stderr == (
        "celery-statsd: top: it needs a terminal to read keys from and to draw on; "
        "use `celery-statsd events` or `queues` there\n"
    )


def test_without_curses_it_says_so_in_one_sentence() -> None:
    """With the cure."""
    found = subprocess.run(
        [sys.executable, "-c", NO_CURSES], capture_output=True, text=True, check=False, timeout=30
    )

    assert (2, "") == (found.returncode, found.stdout)
    assert found.stderr == (
        "celery-statsd: top: this Python was built without curses, by which it draws; "
        "take the Python of your distribution\n"
    )


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (("--interval", "0"), "'--interval'"),
        (("--window", "soon"), "'--window'"),
        (("-b", "sqs://"), "broker: sqs cannot carry"),
    ],
    ids=" ".join,
)
def test_a_wrong_argument_is_named(flags: tuple[str, ...], named: str) -> None:
    """With exit code 2."""
    found = run("top", *flags)

    assert (2, "") == (found.returncode, found.stdout)
    assert named in found.stderr


class Shown:
    """The command in a terminal of its own (a pty), and what it says on stderr."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self._reader, writer = pty.openpty()
        self._said = folder / "err"
        with self._said.open("wb") as errors:
            self.process = subprocess.Popen(
                [*PROGRAM, "top", *arguments],
                env={**ENVIRONMENT, "TERM": "xterm"},
                stdin=writer, stdout=writer, stderr=errors,
            )  # fmt: skip

    @property
    def said(self) -> str:
        """What stderr has so far."""
        return self._said.read_text()


def test_a_broker_out_of_reach_is_told_before_anything_is_drawn(tmp_path: Path) -> None:
    """As by `events`."""
    shown = Shown(tmp_path, "-b", f"redis://:geheim@127.0.0.1:{free_port()}/0")

    assert 2 == shown.process.wait(20)
    assert shown.said.splitlines()[-1].endswith("; start the broker, or mend the address")
    assert "geheim" not in shown.said


def test_looking_takes_nothing_from_the_agent(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    """On RabbitMQ it has a queue of its own, which goes with it: none of the agent's is made. One
    copy of the events is what it costs, as an agent does."""
    url = rabbitmq.fresh_url()
    vhost = url.rpartition("/")[2]
    bound = lambda: rabbitmq.management(f"exchanges/{vhost}/celeryev/bindings/source")  # noqa: E731
    exchanges = lambda: [e["name"] for e in rabbitmq.management(f"exchanges/{vhost}")]  # noqa: E731
    shown = Shown(tmp_path, "-b", url, "--scope", "host")
    try:
        wait_until(lambda: "celeryev" in exchanges() and bound(), 20, "it listens")
        queues = [binding["destination"] for binding in bound()]
        send(url, ["a-task"])
    finally:
        shown.process.terminate()

    assert 0 == shown.process.wait(10)
    assert 1 == len(queues)
    assert not queues[0].startswith("celeryev.statsd.default")
    wait_until(lambda: not bound(), 10, "its queue is gone")
