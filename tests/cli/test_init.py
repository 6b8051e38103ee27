"""The command line as its users meet it: help, mistakes, and what it never shows."""

import pytest

from celery_statsd.cli import COMMANDS
from tests.cli.program import TRACE, run


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(command: str) -> None:
    """`--help` and `-h` say what a command does, on stdout, with code 0."""
    found = run(command, "--help")

    assert (0, "") == (found.returncode, found.stderr)
    assert found.stdout.startswith(f"Usage: celery-statsd {command} [OPTIONS]")
    assert "--help" in found.stdout


def test_help_lists_the_commands() -> None:
    """The program's own help names each command."""
    found = run("-h")

    assert (0, "") == (found.returncode, found.stderr)
    listed = [line.split()[0] for line in found.stdout.partition("Commands:")[2].splitlines()[1:]]
    assert sorted(COMMANDS) == sorted(listed)


MISTAKES = {
    "nothing": ([], "Usage: celery-statsd"),
    "command": (["agnet"], "Error: No such command 'agnet'."),
    "flag": (["agent", "--brokre", "x"], "Error: No such option '--brokre'"),
    "no value": (["agent", "--broker"], "Error: Option '--broker' requires an argument."),
    "argument": (["agent", "x"], "Error: Got unexpected extra argument (x)"),
    "no file": (["replay"], "Error: Missing argument 'FILE...'."),
    "too short": (["demo", "--seconds", "1"], "Error: Invalid value for '--seconds'"),
    "seconds": (["events", "--seconds", "soon"], "Error: Invalid value for '--seconds'"),
    "past": (["events", "--seconds", "-1"], "Error: Invalid value for '--seconds'"),
    "broker": (["agent", "-b", "localhost"], "celery-statsd: broker: "),
    "transport": (["agent", "-b", "sqs://"], "celery-statsd: broker: sqs cannot carry"),
    "unknown": (["events", "-b", "ftp://x"], "celery-statsd: broker: unknown transport 'ftp'"),
    "sink": (["agent", "--sink", "ftp://x"], "celery-statsd: sinks: 'ftp://x' has an unknown"),
    "option": (["agent", "--sink", "statsd://x?a=1"], "celery-statsd: sinks: 'statsd://x?a=1' has"),
    "interval": (["agent", "--flush-interval", "0"], "celery-statsd: flush_interval: '0' from"),
    "file": (["config", "--config", "/none.yml"], "celery-statsd: config: /none.yml cannot be"),
    "app": (["config", "-A", "no.such:app"], "celery-statsd: celery_app: 'no.such:app' cannot"),
    "recording": (["replay", "/none"], "celery-statsd: /none: cannot be read (No such file"),
    "replay sink": (["replay", "--sink", "x://y", TRACE], "celery-statsd: sinks: 'x://y' has an"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_with_exit_code_2(name: str) -> None:
    """Whatever is wrong is said on stderr, in words and not as a traceback; stdout is empty."""
    arguments, sentence = MISTAKES[name]
    found = run(*arguments)

    assert (2, "") == (found.returncode, found.stdout)
    assert sentence in found.stderr
    assert "Traceback" not in found.stderr


def test_several_mistakes_are_told_at_once() -> None:
    """One sentence a line, each with the program's name, the key and the cure."""
    found = run("agent", "--app", "", "--max-series", "0", "--log-level", "loud")

    assert 2 == found.returncode
    heads = [line.split(": ")[:2] for line in found.stderr.splitlines()]
    assert [["celery-statsd", key] for key in ("app", "max_series", "log_level")] == heads
    assert all("; write " in line for line in found.stderr.splitlines())


SECRET = "s3cr:e:t@1"
BROKEN = f"amqp://me:{SECRET}@127.0.0.1:1//"
LEAKS = {
    "config": ["config", "-b", BROKEN],
    "config --json": ["config", "--json", f"--broker={BROKEN}"],
    "events": ["events", f"-b{BROKEN}"],
    "positional": ["agent", BROKEN],
    "a recording": ["replay", BROKEN],
    "no flag": ["agent", f"--brokre={BROKEN}"],
    "a bad URL": ["agent", "-b", f"me:{SECRET}@host"],
    "a bad transport": ["agent", "-b", f"ftp://me:{SECRET}@host"],
    "bad options": ["agent", "--transport-options", f'{{"password": "{SECRET}"'],
}


@pytest.mark.parametrize("name", LEAKS)
def test_no_output_holds_a_password(name: str) -> None:
    """However a password was given, rightly or wrongly, no part of it is printed."""
    found = run(*LEAKS[name])

    assert found.stdout + found.stderr
    assert "s3cr" not in found.stdout + found.stderr
    assert "e:t@1" not in found.stdout + found.stderr
