"""`python -m celery_statsd`."""

import subprocess
import sys

import celery_statsd
from tests.servers.process import REPOSITORY


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Python, run to its end where the package is."""
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, timeout=20, check=False
    )


def test_the_package_runs_as_a_program() -> None:
    """It is the same program as the command `celery-statsd`, by that name."""
    found = run("-m", "celery_statsd", "--version")

    assert f"celery-statsd, version {celery_statsd.__version__}\n" == found.stdout
    assert (0, "") == (found.returncode, found.stderr)


def test_importing_the_module_runs_nothing() -> None:
    """A tool that imports every module of the package starts no program."""
    found = run("-c", "import celery_statsd.__main__; print('still here')")

    assert ("still here\n", "", 0) == (found.stdout, found.stderr, found.returncode)
