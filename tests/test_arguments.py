"""What is secret leaves the command line before anybody can read it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celery_statsd.arguments import without_secrets
from celery_statsd.config import load

SECRET = "amqp://u:s3cret@h//"
SCRIPT = """
import json, os, sys
from celery_statsd.arguments import without_secrets

clean = without_secrets(sys.argv[1:], os.environ)
if clean:
    arguments, environment = clean
    head = sys.orig_argv[1 : len(sys.orig_argv) - len(sys.argv) + 1]
    os.execve(sys.executable, [sys.executable, *head, *arguments], environment)
print(json.dumps([os.getpid(), sys.argv[1:], os.environ.get("CELERY_STATSD_BROKER")]), flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(
    ("argv", "kept", "moved"),
    [
        (["run", "-b", SECRET, "--tls"], ["run", "--tls"], {"BROKER": SECRET}),
        (["--broker", SECRET, "run"], ["run"], {"BROKER": SECRET}),
        ([f"--broker={SECRET}"], [], {"BROKER": SECRET}),
        ([f"-b{SECRET}"], [], {"BROKER": SECRET}),
        (["-b", "redis://h", "-b", SECRET], [], {"BROKER": f"redis://h\n{SECRET}"}),
        (["-b", SECRET, "-b"], ["-b"], {"BROKER": SECRET}),
        (
            ["-b", SECRET, "--broker-file", "/f"],
            [],
            {"BROKER": SECRET, "BROKER_FILE": "/f"},
        ),
        (
            ["--transport-options", '{"password": "x"}'],
            [],
            {"TRANSPORT_OPTIONS": '{"password": "x"}'},
        ),
    ],
)
def test_secret_flags_become_variables(
    argv: list[str], kept: list[str], moved: dict[str, str]
) -> None:
    """However the flag is written, it moves; the other arguments stay in their order."""
    expected = {f"CELERY_STATSD_{name}": text for name, text in moved.items()}
    assert (kept, {"HOME": "/h"} | expected) == without_secrets(argv, {"HOME": "/h"})


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["run"],
        ["-b", "redis://h:6379/0"],
        ["-b"],
        ["--broker-file", "/f"],
        ["--sink", "statsd://h:8125", "--transport-options", '{"global_keyprefix": "x"}'],
    ],
)
def test_nothing_moves_without_a_secret(argv: list[str]) -> None:
    """Without a password there is no reason to start again."""
    assert without_secrets(argv, {}) is None


def outcome(argv: list[str], environ: dict[str, str]) -> Any:
    """What load makes of a command line that holds nothing but our two flags."""
    flags: dict[str, Any] = {"broker": tuple(argv[1::2])} if "-b" in argv else {}
    settings = load(flags, environ, None, lambda _: {}, "/nowhere/x.yml")
    return settings.broker, settings.broker_file


@given(
    st.lists(st.sampled_from([SECRET, "redis://h"]), min_size=1, max_size=3),
    st.dictionaries(
        st.sampled_from(["CELERY_STATSD_BROKER", "CELERY_STATSD_BROKER_FILE"]),
        st.just("amqp://weaker"),
        max_size=1,
    ),
)
def test_moving_changes_no_setting(urls: list[str], environ: dict[str, str]) -> None:
    """The flag still beats what the environment said of the broker."""
    argv = [part for url in urls for part in ("-b", url)]
    clean = without_secrets(argv, environ)
    assert clean is None or outcome(*clean) == outcome(argv, environ) == (tuple(urls), None)
    assert (clean is None) == (SECRET not in urls)


def test_the_process_list_holds_no_password(tmp_path: Path) -> None:
    """A process given a password keeps its id and its other arguments, and shows no password."""
    script = tmp_path / "agent.py"
    script.write_text(SCRIPT)
    root = str(Path(__file__).parent.parent)
    with subprocess.Popen(
        [sys.executable, "-X", "dev", str(script), "run", "-b", SECRET, "--app", "é x"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": root},
        text=True,
    ) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        line = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        environment = Path(f"/proc/{process.pid}/environ")
        assert 0 == environment.stat().st_mode & 0o077
        process.communicate("")
    assert [process.pid, ["run", "--app", "é x"], SECRET] == told
    assert b"s3cret" not in line
    assert "run\0--app\0é x\0".encode() == line[-len("run\0--app\0é x\0".encode()) :]
    assert b"-X\0dev\0" in line
