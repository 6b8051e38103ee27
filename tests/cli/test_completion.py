"""`celery-statsd completion`."""

import shutil
import subprocess
from pathlib import Path

import pytest

from celery_statsd.cli.completion import SHELLS
from tests.cli.program import run


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_has_its_script(shell: str) -> None:
    """It asks by the variable that the program answers."""
    found = run("completion", shell)
    assert (0, "") == (found.returncode, found.stderr)
    assert f"_CELERY_STATSD_COMPLETE={shell}_complete" in found.stdout


def test_a_shell_that_is_not_known_is_told() -> None:
    """With those that are."""
    found = run("completion", "tcsh")
    assert 2 == found.returncode
    assert "'bash', 'fish', 'zsh'" in found.stderr


def test_the_program_answers_what_may_come_next() -> None:
    """A command, and an option of a command."""
    asked = {"_CELERY_STATSD_COMPLETE": "bash_complete"}
    words = run(env={**asked, "COMP_WORDS": "celery-statsd ", "COMP_CWORD": "1"}).stdout
    assert {"plain,agent", "plain,queues"} <= set(words.split())
    flags = {**asked, "COMP_WORDS": "celery-statsd agent --flu", "COMP_CWORD": "2"}
    assert ["plain,--flush-interval"] == run(env=flags).stdout.split()


def test_a_real_bash_takes_the_script(tmp_path: Path) -> None:
    """It completes a command by it."""
    bash = shutil.which("bash")
    assert bash
    script = tmp_path / "script"
    script.write_text(run("completion", "bash").stdout)
    known = subprocess.run(
        [bash, "--norc", "-c", f"source {script} && complete -p celery-statsd"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "_celery_statsd_completion celery-statsd" in known.stdout
