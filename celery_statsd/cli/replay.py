"""`celery-statsd replay`."""

import json
from collections.abc import Iterable

import click

from celery_statsd.cli.settings import part, with_settings
from celery_statsd.keys import Settings


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--json", "as_document", is_flag=True, help="Metrics, balance and ledger as JSON.")
@with_settings
def replay(settings: Settings, files: tuple[str, ...], as_document: bool) -> None:
    """Run a recorded stream through the same pipeline, on the stream's own clock.

    Without --sink the totals of the whole stream are printed; with it every flush is sent there.
    """
    replaying, pipeline = part("replay"), part("blueprint").pipeline_of(settings)
    sinks = [part("sinks").sink_from(address) for address in _asked_sinks(settings)]
    flushes = replaying.replay(replaying.messages(files), pipeline, settings.flush_interval)
    totals = replaying.Totals()
    for batch in replaying.sent(flushes, sinks):
        totals.take(batch)
    found = replaying.report(pipeline, totals)
    if as_document:
        click.echo(json.dumps(found, indent=1))
    elif not sinks:
        for line in replaying.as_text(found):
            click.echo(line)


def _asked_sinks(settings: Settings) -> Iterable[str]:
    """The sinks somebody asked for: replay does not send to a default."""
    return () if settings.origins["sinks"] == "default" else settings.sinks
