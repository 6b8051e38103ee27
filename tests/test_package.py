"""What is published: a source distribution, the wheel that is built from it, and what they install
where nothing of ours is."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import celery_statsd
from tests.servers.process import REPOSITORY

USER = """\
from celery_statsd.sinks.memory import MemorySink

sink: MemorySink = MemorySink()
reveal_type(sink.counter("task", "t", "sent"))
"""
"""What somebody may write who uses it."""


def kept(*folders: str) -> set[str]:
    """What git keeps below some folders."""
    found = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", *folders],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(found.stdout.splitlines())


@pytest.fixture(scope="module")
def clean(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment in which there is the wheel, and what it asks for."""
    folder = tmp_path_factory.mktemp("clean")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    pip = [sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "-q"]
    subprocess.run([*pip, wheel], check=True, capture_output=True)
    return folder / "bin"


def said(*command: str | Path, cwd: Path) -> str:
    """What a command prints, away from the repository."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr)
    return done.stdout


def test_the_wheel_has_all_that_is_shipped(wheel: Path) -> None:
    """The package, its mark that it is typed, the settings, the units and the dashboards."""
    names = set(zipfile.ZipFile(wheel).namelist())
    assert kept("celery_statsd") <= names
    shipped = {f"celery_statsd/shipped/{name}" for name in kept("config", "grafana")}
    assert shipped <= names
    assert {
        "celery_statsd/py.typed",
        "celery_statsd/shipped/config/systemd/celery-statsd.service",
    } <= (names)
    assert not [name for name in names if name.startswith("tests")]


def test_the_source_distribution_has_the_license_and_the_readme(wheel: Path) -> None:
    """And all the wheel is made of: it was built from it."""
    (source,) = wheel.parent.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "README.md", "pyproject.toml", *kept("celery_statsd", "config")} <= names


def test_it_runs_where_nothing_else_is(clean: Path, tmp_path: Path) -> None:
    """Its version, its settings, and what it ships."""
    program = clean / "celery-statsd"
    assert f"celery-statsd, version {celery_statsd.__version__}\n" == said(
        program, "--version", cwd=tmp_path
    )
    assert said(program, "config", cwd=tmp_path).startswith("file: none\nbroker ")
    code = "from celery_statsd.systemd import shipped; print(shipped('celery-statsd.yml'), end='')"
    shipped = (REPOSITORY / "config" / "celery-statsd.yml").read_text()
    assert shipped == said(clean / "python", "-c", code, cwd=tmp_path)


def test_it_is_typed_for_those_who_use_it(clean: Path, tmp_path: Path) -> None:
    """A type checker takes our types from what is installed, without asking for stubs."""
    (tmp_path / "user.py").write_text(USER)
    checked = said(
        *(sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent"),
        *("--python-executable", clean / "python", "user.py"),
        cwd=tmp_path,
    )
    assert 'Revealed type is "' in checked
    assert "Any" not in checked
