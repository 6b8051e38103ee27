"""`python -m celery_statsd`."""

import subprocess
import sys

import celery_statsd
from tests.servers.process import REPOSITORY


def test_the_package_runs_as_a_program() -> None:
    """It is the same program as the command `celery-statsd`, by that name."""
    command = [sys.executable, "-m", "celery_statsd", "--version"]
    found = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=20)

    assert f"celery-statsd, version {celery_statsd.__version__}\n" == found.stdout
    assert (0, "") == (found.returncode, found.stderr)


def test_importing_the_module_runs_nothing() -> None:
    """A tool that imports every module of the package starts no program."""
    code = "import celery_statsd.__main__; print('still here')"
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=20)

    assert ("still here\n", "", 0) == (found.stdout, found.stderr, found.returncode)
