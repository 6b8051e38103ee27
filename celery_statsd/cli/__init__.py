"""The command line: each command a file of a few lines that call a noun. The only door of click.

Exit codes: 0 done, 1 a fault of ours (its traceback tells where) or nobody reads the output, 2 a
setting or an argument is wrong (said in one sentence each), 130 interrupted.

What a command needs beyond the settings is imported when it runs: help is there at once, and a
process that starts itself again (see `arguments`) has not loaded it twice.
"""

import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module

import click

from celery_statsd import __version__
from celery_statsd.arguments import without_secrets
from celery_statsd.errors import ConfigError
from celery_statsd.log import redact

COMMANDS = (
    "agent", "alerts", "check", "completion", "config", "dashboards", "demo", "events", "keda",
    "man", "metrics", "queues", "record", "replay", "systemd", "top", "workers",
)  # fmt: skip
"""Each is a click command, or a group of such, in the module of this package of the same name."""


class Commands(click.Group):
    """The commands, each loaded when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        found: click.Command = getattr(import_module(f"{__name__}.{cmd_name}"), cmd_name)
        return found


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="celery-statsd")
def commands() -> None:
    """Celery events as exact counters, timers and gauges for StatsD and Graphite."""


def main() -> None:
    """`celery-statsd`: run a command; answer every ConfigError."""
    start_again_without_secrets(sys.argv[1:])
    write_what_no_terminal_knows()
    try:
        sys.exit(commands(prog_name="celery-statsd", standalone_mode=False))
    except ConfigError as error:
        tell(error)
        sys.exit(2)
    except click.ClickException as error:
        told = io.StringIO()
        error.show(told)
        click.echo(redact(told.getvalue()), err=True, nl=False)
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(130)


def tell(error: ConfigError) -> None:
    """Say what is wrong, a sentence a line."""
    for sentence in str(error).splitlines():
        click.echo(f"celery-statsd: {redact(sentence)}", err=True)


def write_what_no_terminal_knows() -> None:
    """Names hold it; an encoding that lacks it is no reason to fail."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def start_again_without_secrets(arguments: Sequence[str]) -> None:
    """A password among the arguments, the last of this process's, stands in the process list: move
    it to the environment."""
    clean = without_secrets(arguments, os.environ)
    if clean and sys.argv[len(sys.argv) - len(arguments) :] == list(arguments):
        kept, environment = clean
        head = sys.orig_argv[1 : len(sys.orig_argv) - len(arguments)]
        os.execve(sys.executable, [sys.executable, *head, *kept], environment)
