"""`celery-statsd queues`."""

import sys
import time

import click

from celery_statsd.cli.settings import part, with_settings
from celery_statsd.errors import BrokerLost, ConfigError
from celery_statsd.keys import Settings


@click.command()
@click.option("--json", "as_document", is_flag=True, help="An object of names and lengths.")
@click.option("--long", is_flag=True, help="With --json: all that is known of each queue.")
@click.option("--watch", is_flag=True, help="Look each probe_interval, until Ctrl-C.")
@with_settings
def queues(settings: Settings, as_document: bool, long: bool, watch: bool) -> None:
    """How long the queues are now, who takes from them, and whether that is good.

    Ends with 0 when all are good or fine, 1 when one needs care or nobody takes its messages, 2
    when one is bad, 3 when the broker does not tell, or no queue is named. Names the queues of
    --queues and of the app and, with --management, all durable ones.
    """
    lengths = part("lengths")
    probe = part("probes").probe_for(part("blueprint").broker_of(settings))
    if probe is None:
        raise ConfigError("broker", "the queues of this transport cannot be seen", "see `probes`")
    before = None
    while True:
        try:
            now, sight = time.time(), probe.look(settings.queues)
        except BrokerLost as error:
            click.echo(f"celery-statsd: {error}", err=True)
            sys.exit(lengths.UNKNOWN)
        found = lengths.rows(sight, now, settings.queue_levels, before)
        if not found:
            click.echo(f"celery-statsd: {lengths.NAMELESS}", err=True)
        if as_document:
            click.echo(lengths.as_json(found, long))
        else:
            for line, colour in lengths.as_table(found):
                click.secho(line, fg=colour)
        if not watch:
            sys.exit(lengths.verdict(found))
        before = sight, now
        time.sleep(settings.probe_interval)
