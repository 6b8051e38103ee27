"""`celery-statsd replay`."""

import json
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import click

from celery_statsd.cli.settings import part, with_settings
from celery_statsd.keys import Settings


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--json", "as_document", is_flag=True, help="Metrics, balance and ledger as JSON.")
@click.option(
    "--speed",
    type=click.FloatRange(min=0.0, min_open=True),
    help="So many times as fast as it was recorded; as fast as it can when not given.",
)
@with_settings
def replay(
    settings: Settings, files: tuple[str, ...], as_document: bool, speed: float | None
) -> None:
    """Run a recorded stream through the same pipeline: the same metrics.

    Without --sink the totals of the whole stream are printed; with it every flush is sent there.
    A recording's own settings hold where no other is set.
    """
    replaying, recording = part("replay"), part("recording")
    told, entries = _begun(recording.entries(files, _tell_cut))
    settings = recording.adopted(settings, told)
    pipeline = part("blueprint").pipeline_of(settings)
    sinks = [part("sinks").sink_from(address) for address in asked_sinks(settings)]
    if speed is not None:
        entries = replaying.paced(entries, speed)
    if told.get("flush_interval") == settings.flush_interval:
        flushes = replaying.follow(entries, pipeline)
    else:
        flushes = replaying.replay(entries, pipeline, settings.flush_interval)
    totals = replaying.Totals()
    for batch in replaying.sent(flushes, sinks):
        totals.take(batch)
    found = replaying.report(pipeline, totals)
    if as_document:
        click.echo(json.dumps(found, indent=1))
    elif not sinks:
        for line in replaying.as_text(found):
            click.echo(line)


def _tell_cut(path: str, lines: int) -> None:
    click.echo(f"celery-statsd: {path}: is cut off after line {lines}; replayed so far", err=True)


def _begun(entries: Iterator[Any]) -> tuple[dict[str, Any], Iterator[Any]]:
    """The settings a recording begins with, none if it does not; and all of its entries."""
    first = next(entries, None)
    if first is None:
        return {}, entries
    told = getattr(first, "facts", {}).get("_settings")
    return told if isinstance(told, dict) else {}, chain([first], entries)


def asked_sinks(settings: Settings) -> Iterable[str]:
    """The sinks somebody asked for: nothing is sent to a default here."""
    return () if settings.origins["sinks"] == "default" else settings.sinks
