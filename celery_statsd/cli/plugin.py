"""`celery -A proj statsd ...`: the same commands in Celery's own command line.

Celery loads what stands under the entry point `celery.commands`, and imports the app that `-A`
names; the commands take broker, TLS, exchange, prefix and queues from that app, and import
nothing twice.
"""

from typing import Any

import click

from celery_statsd import __version__
from celery_statsd.cli import (
    Commands,
    start_again_without_secrets,
    tell,
    write_what_no_terminal_knows,
)
from celery_statsd.errors import ConfigError


class Plugin(Commands):
    """The commands, each of which answers every ConfigError itself: Celery would not."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As of any group, once no password is among the arguments."""
        start_again_without_secrets(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """As of any group; what is wrong ends with exit code 2."""
        write_what_no_terminal_knows()
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            tell(error)
            ctx.exit(2)


@click.command(cls=Plugin, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="celery-statsd")
def statsd(**_: Any) -> None:
    """Exact counters, timers and gauges for StatsD and Graphite."""
    # Celery before 5.7 hands the app's own preload options to every command.
