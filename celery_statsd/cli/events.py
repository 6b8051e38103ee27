"""`celery-statsd events`."""

import time
from dataclasses import replace

import click

from celery_statsd.cli.settings import log_of, part, with_settings
from celery_statsd.cli.signals import on_signal
from celery_statsd.keys import Settings

NEXT_ADDRESS = 6.0
"""Seconds until a broker that does not answer is left for the next one of the list."""


@click.command()
@click.option("--json", "as_lines", is_flag=True, help="Whole events, as `replay` reads them.")
@click.option("--seconds", type=click.FloatRange(min=0.0), help="Stop after so long.")
@with_settings
def events(settings: Settings, as_lines: bool, seconds: float | None) -> None:
    """Show each event as it passes: one line an event."""
    deadline = None if seconds is None else time.monotonic() + seconds
    # A queue of its own: from the agent's it would take events away.
    broker = replace(
        part("blueprint").broker_of(settings), queue_type="transient", partitions=1, chorus=False
    )
    source = part("source").source_for(broker, log_of(settings))
    others = ";".join(settings.broker).count(";")
    watch = part("watch").Watch(source, as_lines, patience=others * NEXT_ADDRESS)
    on_signal(watch.stop)
    try:
        for line in watch.lines(deadline):
            click.echo(line)
    finally:
        watch.close()
