"""`celery-statsd config`: the settings in force, and where each comes from."""

import json
from pathlib import Path

from celery_statsd.keys import KEYS
from tests.cli.program import run


def test_flags_beat_the_environment_beats_the_file_beats_the_default(tmp_path: Path) -> None:
    """`config` tells the value in force of each key, and where it comes from."""
    file = tmp_path / "c.yml"
    file.write_text("app: file\nprefix: file\nhost: file\n")
    env = {"CELERY_STATSD_APP": "env", "CELERY_STATSD_PREFIX": "env"}
    found = run("config", "--json", "--config", str(file), "--app", "flag", env=env)

    told = json.loads(found.stdout)
    assert {"value": "flag", "origin": "flag"} == told["app"]
    assert {"value": "env", "origin": "environment CELERY_STATSD_PREFIX"} == told["prefix"]
    assert {"value": "file", "origin": f"file {file}"} == told["host"]
    assert {"value": 10.0, "origin": "default"} == told["flush_interval"]
    assert {key.name for key in KEYS} == set(told)
    assert (0, "") == (found.returncode, found.stderr)


def test_config_in_words_has_a_line_a_key(tmp_path: Path) -> None:
    """For people: the file, then each key, its value and its origin."""
    file = tmp_path / "c.yml"
    file.write_text("tls_verify: false\n")
    first, *lines = run("config", env={"CELERY_STATSD_CONFIG": str(file)}).stdout.splitlines()

    assert f"file: {file}" == first
    assert [key.name for key in KEYS] == [line.split()[0] for line in lines]
    (line,) = (line for line in lines if line.startswith("tls_verify "))
    assert ["tls_verify", "false", "file", str(file)] == line.split()


def test_the_broker_can_come_from_the_users_app(tmp_path: Path) -> None:
    """`-A` takes what the Celery app says about its broker; a password is masked."""
    (tmp_path / "proj.py").write_text(
        "from celery import Celery\napp = Celery(broker='amqp://me:geheim@rabbit/v')\n"
    )
    found = run("config", "--json", "-A", "proj:app", cwd=tmp_path)

    told = json.loads(found.stdout)["broker"]
    assert {"value": ["amqp://me:***@rabbit/v"], "origin": "app proj:app"} == told
