"""`celery-statsd config`."""

import json

import click

from celery_statsd.cli.settings import with_settings
from celery_statsd.keys import Settings


@click.command()
@click.option("--json", "as_document", is_flag=True, help="As JSON.")
@with_settings
def config(settings: Settings, as_document: bool) -> None:
    """The settings in force and where each comes from; secrets are masked."""
    rows = settings.shown()
    if as_document:
        click.echo(json.dumps({key: {"value": v, "origin": o} for key, v, o in rows}, indent=1))
        return
    click.echo(f"file: {settings.file or 'none'}")
    for key, value, origin in rows:
        click.echo(f"{key:20} {json.dumps(value):44} {origin}")
