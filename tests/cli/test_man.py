"""`celery-statsd man`."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import celery_statsd
from celery_statsd.cli import COMMANDS
from celery_statsd.keys import KEYS
from tests.cli.program import run


def test_the_page_has_each_command_and_each_setting_once() -> None:
    """Commands by their usage, settings apart from them, and the version."""
    page = run("man").stdout.replace("\\-", "-")
    assert f'"celery-statsd {celery_statsd.__version__}"' in page.splitlines()[0]
    usages = re.findall(r"(?m)^\.SS celery-statsd ([a-z ]+[a-z])", page)
    assert set(COMMANDS) == {usage.partition(" ")[0] for usage in usages}
    assert len(set(usages)) == len(usages)
    for key in KEYS:
        flag = key.flags[-1].partition("/")[0]
        assert 1 == len(re.findall(rf"(?m)^\.B (.* )?{flag}(?![\w-])", page))
    assert ".B --json\nAs JSON." in page


def test_the_formatter_has_no_complaint(tmp_path: Path) -> None:
    """It is a page as man(1) shows it."""
    groff = shutil.which("groff")
    if not groff:
        assert not os.environ.get("CI")
        pytest.skip("no groff here: run tests/install")
    file = tmp_path / "celery-statsd.1"
    file.write_text(run("man").stdout)
    shown = subprocess.run(
        [groff, "-man", "-Tascii", "-ww", str(file)], capture_output=True, text=True, check=True
    )
    assert "" == shown.stderr
    assert "the settings again" in " ".join(shown.stdout.split())
