"""README and docs/: each command they show is run, each they mention exists, each link leads
somewhere."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from celery_statsd.alerts.rows import load
from celery_statsd.cli import commands as program
from tests.documents import PAGES, Command, bare, blocks, commands, prose
from tests.servers.listener import Listener
from tests.servers.process import REPOSITORY, Child, free_port
from tests.servers.redis import Redis

PACKAGE = "tests/test_package.py:test_it_runs_where_nothing_else_is"
RECORDING = "tests/cli/test_record.py:test_a_replay_sends_what_the_live_run_sent"
ELSEWHERE = {
    "make demo": "tests/demo/test_init.py:def test_plain_is_plain_even_in_a_terminal",
    "make test": ".ci/run:exec make test",
    "make readme": "tests/test_readme.py:test_catalogue_is_made_from_the_rows",
    "python -m pytest -q tests/test_names.py": "tests/test_names.py:def test_",
    "python3 -m venv celery-statsd": PACKAGE,
    "celery-statsd/bin/pip install .": PACKAGE,
    "celery-statsd check -b redis://localhost --sink statsd://127.0.0.1:8125 "
    "--graphite http://graphite": "tests/check/test_init.py:def test_",
    "celery-statsd workers --http 127.0.0.1:9808": "tests/test_worker_metrics.py:--http",
    "celery-statsd workers -b redis://localhost": "tests/cli/test_workers.py:def test_",
    "celery-statsd dashboards check --graphite http://graphite": (
        "tests/dashboards/test_evaluation.py:test_every_target_answers"
    ),
    "GRAFANA_TOKEN=... celery-statsd dashboards install --grafana http://grafana:3000 "
    "--graphite http://graphite": "tests/cli/test_dashboards.py:def test_install",
    "celery-statsd alerts check --graphite http://graphite": (
        "tests/cli/test_alerts.py:test_the_exit_code_is_nagios"
    ),
    "celery-statsd alerts serve --graphite http://graphite": (
        "tests/cli/test_alerts.py:test_it_serves_until_it_is_told_to_end"
    ),
    "celery -A proj events -c celery_statsd.camera.Camera --frequency 10": (
        "tests/test_ways.py:celery_statsd.camera.Camera"
    ),
    "celery-statsd record FILE.gz -b redis://localhost --seconds 600": RECORDING,
    "celery-statsd replay FILE.gz --sink statsd://127.0.0.1:8125": RECORDING,
}
"""What cannot be run here, and where it, or what it does, is run: a file, and a text in it."""

ENDLESS = ("celery-statsd agent", "celery -A proj worker", "celery -A proj statsd agent")
"""What runs until it is told to end, by its beginning."""

CODES = {"celery-statsd queues": (0, 1), "celery -A proj statsd queues": (0, 1)}
"""What else than 0 a command may well end with."""

APP = "from celery import Celery\n\napp = Celery('proj', broker={!r})\n"

HERE = {bare(found.text): found for found in reversed(commands())}
"""Each command once, where it stands first."""


@pytest.fixture(scope="module")
def url(redis_server: Redis) -> str:
    """A broker."""
    return redis_server.fresh_url()


@pytest.fixture
def place(tmp_path: Path, url: str) -> Path:
    """A folder with the app `proj.celery` in it."""
    (tmp_path / "proj").mkdir()
    (tmp_path / "proj" / "__init__.py").touch()
    (tmp_path / "proj" / "celery.py").write_text(APP.format(url))
    return tmp_path


@pytest.mark.parametrize(
    "command",
    [command for text, command in HERE.items() if text not in ELSEWHERE],
    ids=lambda command: f"{command.page}:{command.line} {bare(command.text)[:40]}",
)
def test_each_command_works_as_it_stands(command: Command, place: Path, url: str) -> None:
    """In a shell, with the addresses of servers that are there."""
    text = re.sub(r"redis://localhost\S*", url, command.text)
    text = text.replace("127.0.0.1:8125", f"127.0.0.1:{free_port()}")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "PYTHONPATH": str(place)}
    if text.startswith(ENDLESS):
        child = Child("command", ["bash", "-c", f"exec {text}"], place, env)
        with Listener(url) as listener:
            child.start(lambda: begun(child, listener))
            assert 0 == child.stop(), child.output()
        return
    shell = ["bash", "-euo", "pipefail", "-c", text]
    done = subprocess.run(
        shell, cwd=place, env=env, capture_output=True, text=True, timeout=60, check=False
    )
    codes = next((codes for head, codes in CODES.items() if text.startswith(head)), (0,))
    assert done.returncode in codes, done.stdout + done.stderr


def begun(child: Child, listener: Listener) -> bool:
    """Whether an agent says that it listens, or a worker that it works."""
    return "broker_connected" in child.output() or listener.count("worker-online") > 0


@pytest.mark.parametrize("command", ELSEWHERE)
def test_what_is_run_elsewhere_is(command: str) -> None:
    """The table names what is shown, and a test that is there."""
    assert command in {bare(found.text) for found in commands()}
    file, _, text = ELSEWHERE[command].partition(":")
    assert text in (REPOSITORY / file).read_text()


@pytest.mark.parametrize("command", [text for text in ELSEWHERE if text.startswith("make ")])
def test_make_knows_what_it_is_asked_for(command: str) -> None:
    """What it would do is known, if not done."""
    env = {name: text for name, text in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(
        [*command.split(), "-n"], cwd=REPOSITORY, env=env, capture_output=True, check=False
    )
    assert 0 == done.returncode, done.stderr


def test_no_block_of_commands_is_left_out() -> None:
    """Each is for here or for the host."""
    for page in PAGES:
        known = len(blocks(page)) + len(blocks(page, "host"))
        assert known == len(re.findall(r"(?m)^```(?:sh|bash|shell|console)\b", page.read_text()))
    assert commands()
    assert commands("host")


def mentioned(page: Path) -> list[str]:
    """The commands of our program in the prose of a page."""
    return re.findall(r"`(celery-statsd [a-z][^`]*)`", prose(page))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_command_that_is_mentioned_exists(page: Path) -> None:
    """It, and the options it is given."""
    for text in mentioned(page):
        words = shlex.split(text.partition(" > ")[0])[1:]
        command: click.Command = program
        context = click.Context(command, info_name="celery-statsd")
        while words and isinstance(command, click.Group):
            found = command.get_command(context, words.pop(0))
            assert found, text
            command = found
        known = {flag for p in command.params for flag in (*p.opts, *p.secondary_opts)}
        asked = {word.partition("=")[0] for word in words if word.startswith("-")}
        assert asked <= known | {"--help", "-h"}, text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_link_leads_somewhere(page: Path) -> None:
    """To a file that is there, and a heading in it."""
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), target
        if anchor:
            headings = re.findall(r"(?m)^#+ (.*)$", path.read_text())
            assert anchor in {slug(heading) for heading in headings}, target


def slug(heading: str) -> str:
    """A heading as a link names it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_each_page_is_linked_from_the_readme() -> None:
    """Nobody has to guess that it is there."""
    text = (REPOSITORY / "README.md").read_text()
    for page in PAGES[1:]:
        assert f"(docs/{page.name})" in text, page.name


def test_each_alert_has_its_row_in_operations() -> None:
    """Whoever is woken by one finds what to do."""
    text = (REPOSITORY / "docs/operations.md").read_text()
    section = text.partition("## When an alert fires")[2].partition("\n## ")[0]
    rows = re.findall(r"(?m)^\| (`.*?) \| [\d, min]+ \|", section)
    named = [name for row in rows for name in re.findall(r"`([\w-]+)`", row)]
    assert sorted(rule.name for rule in load()) == sorted(named)
