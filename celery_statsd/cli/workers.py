"""`celery-statsd workers`."""

import sys
from dataclasses import replace
from typing import Any

import click

from celery_statsd.cli.settings import log_of, part, with_settings
from celery_statsd.errors import BrokerLost, ConfigError
from celery_statsd.keys import Settings


@click.command()
@click.option("--json", "as_document", is_flag=True, help="An object of names and facts.")
@click.option("--watch", is_flag=True, help="Again and again, until Ctrl-C.")
@click.option(
    "--listen",
    type=click.FloatRange(min=0.5),
    default=5.0,
    show_default=True,
    help="Seconds to listen, if no agent is asked: two heartbeats at least.",
)
@with_settings
def workers(settings: Settings, as_document: bool, watch: bool, listen: float) -> None:
    """Who is there, what they do, and whether that is good.

    Ends with 0 when all live, 1 when one begins again and again or nobody can know whether it
    lives, 2 when one is dead or there is none at all, 3 when nobody can tell. With --http the agent
    that answers there is asked, who remembers who was there; else this command listens itself.
    """
    muster = part("muster")
    teller = _teller(settings, listen)
    try:
        while True:
            try:
                found = muster.rows(teller.tell())
            except BrokerLost as error:
                click.echo(f"celery-statsd: {error}", err=True)
                sys.exit(part("lengths").UNKNOWN)
            if teller.refusal:
                click.echo(f"celery-statsd: not asked: {teller.refusal}", err=True)
            if as_document:
                click.echo(muster.as_json(found))
            else:
                for line, colour in muster.as_table(found):
                    click.secho(line, fg=colour)
            if not watch:
                sys.exit(muster.verdict(found))
            teller.rest()
    finally:
        teller.close()


def _teller(settings: Settings, listen: float) -> Any:
    """An agent's window, or ears of our own. Raises ConfigError."""
    muster = part("muster")
    if settings.http:
        return muster.Neighbour(settings.http)
    broker = part("blueprint").broker_of(settings)
    try:
        inspector = part("probes.workers").Inspector(broker, settings.control_exchange)
    except ConfigError:  # they can be heard all the same
        inspector = None
    # A queue of its own: from the agent's it would take events away.
    alone = replace(broker, queue_type="transient", partitions=1, chorus=False)
    source = part("source").source_for(alone, log_of(settings))
    return muster.Muster(source, inspector, listen)
