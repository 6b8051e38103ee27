"""`celery -A proj statsd ...`: Celery's own command line, with the app it has imported."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from tests.cli.program import ENVIRONMENT
from tests.servers.process import free_port, wait_until
from tests.servers.redis import Redis
from tests.source.stream import send

PROJECT = """
import os
from celery import Celery
from celery.signals import user_preload_options
from click import Option
from kombu import Queue

with open("imported", "a") as file:
    file.write("x")

app = Celery("shop", broker={broker!r})
app.conf.task_queues = [Queue("mails"), Queue("etl")]
app.conf.event_exchange = {exchange!r}
"""


def project(folder: Path, broker: str, exchange: str = "celeryev", more: str = "") -> None:
    """A user's module `proj`, which writes down each time that it is imported."""
    (folder / "proj.py").write_text(PROJECT.format(broker=broker, exchange=exchange) + more)


def celery(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`celery ...`, run to its end where the project is."""
    return subprocess.run(
        [sys.executable, "-m", "celery", *arguments],
        cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_the_app_says_where_the_queues_are(tmp_path: Path, redis_server: Redis) -> None:
    """Broker and queues come from the app, which was imported once; the exit code is the
    command's own."""
    url = redis_server.fresh_url()
    project(tmp_path, url)
    with redis.Redis.from_url(url) as client:
        client.lpush("etl", *["{}"] * 500)
    found = celery(tmp_path, "-A", "proj", "statsd", "queues", "--json")

    assert (1, "") == (found.returncode, found.stderr)
    assert {"mails": 0, "etl": 500} == json.loads(found.stdout)
    assert "x" == (tmp_path / "imported").read_text()


def test_settings_tell_their_origin(tmp_path: Path) -> None:
    """The app is a layer below flags, and above the defaults."""
    project(tmp_path, "redis://:geheim@h:1/2", exchange="ev")
    found = celery(tmp_path, "-A", "proj:app", "statsd", "config", "--json", "--app", "x")
    told = json.loads(found.stdout)

    assert (0, "") == (found.returncode, found.stderr)
    assert {"value": "ev", "origin": "app proj:app"} == told["event_exchange"]
    assert {"value": ["mails", "etl"], "origin": "app proj:app"} == told["queues"]
    assert "flag" == told["app"]["origin"]
    assert "geheim" not in found.stdout


def test_a_flag_beats_the_app(tmp_path: Path) -> None:
    """As without Celery; and `-A` behind `statsd` names another app."""
    project(tmp_path, "redis://h:1/2")
    (tmp_path / "other.py").write_text(
        "from celery import Celery\napp = Celery(broker='redis://o')"
    )
    flag = celery(tmp_path, "-A", "proj", "statsd", "config", "--json", "-b", "redis://f")
    other = celery(tmp_path, "-A", "proj", "statsd", "config", "--json", "-A", "other")

    assert ["redis://f"] == json.loads(flag.stdout)["broker"]["value"]
    assert {"value": ["redis://o"], "origin": "app other"} == json.loads(other.stdout)["broker"]


def test_without_an_app_it_is_the_plain_command(tmp_path: Path) -> None:
    """Celery's default app says nothing."""
    told = json.loads(celery(tmp_path, "statsd", "config", "--json").stdout)

    assert "default" == told["broker"]["origin"]


def test_a_wrong_setting_is_one_sentence(tmp_path: Path) -> None:
    """With exit code 2 and no traceback, as on our own command line."""
    project(tmp_path, "redis://h:1/2")
    found = celery(tmp_path, "-A", "proj", "statsd", "agent", "--flush-interval", "soon")

    assert (2, "") == (found.returncode, found.stdout)
    assert found.stderr.startswith("celery-statsd: flush_interval: ")
    assert 1 == len(found.stderr.splitlines())


def test_a_broken_configuration_is_one_sentence(tmp_path: Path) -> None:
    """Celery reads an app's configuration late: then it is for us to tell."""
    project(tmp_path, "redis://h", more="app.config_from_object('no.such.module')\n")
    found = celery(tmp_path, "-A", "proj", "statsd", "config")

    assert 2 == found.returncode
    assert "celery_app: 'proj' cannot be read (ModuleNotFoundError" in found.stderr


def test_options_of_the_app_are_taken(tmp_path: Path) -> None:
    """An app may give each of Celery's commands options of its own."""
    more = "app.user_options['preload'].add(Option(['--tenant'], default='a'))\n"
    project(tmp_path, "redis://h", more=more)
    found = celery(tmp_path, "-A", "proj", "statsd", "--tenant", "b", "config", "--json")

    assert (0, "") == (found.returncode, found.stderr)


def test_the_agent_runs_in_celery(tmp_path: Path, redis_server: Redis) -> None:
    """It hears the app's exchange on the app's broker, and ends by SIGTERM with code 0. A password
    behind `statsd` leaves the process list."""
    url = redis_server.fresh_url()
    project(tmp_path, url)
    sink = f"statsd://127.0.0.1:{free_port()}"
    flags = ("--sink", "console://", "--sink", sink, "--management", "http://u:geheim@127.0.0.1")
    with (tmp_path / "out").open("wb") as out, subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "proj", "statsd", "agent", *flags,
         "--flush-interval", "0.5", "--log-level", "info"],
        cwd=tmp_path, env=ENVIRONMENT, stdout=out, stderr=out,
    ) as running:  # fmt: skip
        try:
            said = (tmp_path / "out").read_text
            wait_until(lambda: "broker_connected" in said(), 20, "it listens")
            listed = Path(f"/proc/{running.pid}/cmdline").read_bytes()
            send(url, ["u1"])
            wait_until(lambda: "cluster.all.started.all  1\n" in said(), 10, "it has counted")
            running.terminate()
            assert 0 == running.wait(15)
        finally:
            running.kill()

    assert b"geheim" not in listed
    assert b"statsd\0agent" in listed


@pytest.mark.parametrize("command", [(), ("record",)])
def test_each_command_has_its_help(tmp_path: Path, command: tuple[str, ...]) -> None:
    """Under the name it has in Celery."""
    found = celery(tmp_path, "statsd", *command, "--help")

    assert (0, "") == (found.returncode, found.stderr)
    assert " ".join(("statsd", *command)) in found.stdout


def test_celery_lists_it() -> None:
    """Among its own commands."""
    found = celery(Path(os.devnull).parent, "--help")

    assert "statsd" in found.stdout
