"""`celery-statsd check`."""

import sys

import click

from celery_statsd.cli.settings import part, with_settings
from celery_statsd.cli.signals import on_signal
from celery_statsd.keys import Settings


@click.command()
@click.option("--json", "as_document", is_flag=True, help="An object: code, and all findings.")
@click.option(
    "--seconds", type=click.FloatRange(min=0.1), default=10.0, show_default=True,
    help="Listen for so long: five heartbeats of a worker as it is by default.",
)  # fmt: skip
@click.option("--graphite", metavar="URL", default="", help="Read back from this Graphite.")
@click.option(
    "--enable-events", is_flag=True,
    help="Have workers that send no task events send them from now on, until they end: once.",
)  # fmt: skip
@with_settings
def check(
    settings: Settings, as_document: bool, seconds: float, graphite: str, enable_events: bool
) -> None:
    """The doctor: whether it will work here, one finding a line, the worst first, with its cure.

    It listens for a while, on a queue or subscription of its own that goes with it, so that no
    agent lacks an event; it sends the workers one broadcast (Celery's inspect: conf, stats,
    active_queues, scheduled), asks the broker, and sends one counter through each sink. It changes
    nothing, but with --enable-events.

    Ends with 2 when numbers are wrong or missing (or a setting is wrong), else with 3 when
    something could not be seen, else with 1 when something needs care, and with 0 when all is well.
    """
    doctor, finding = part("check"), part("check.finding")
    request = doctor.Request(seconds, graphite, enable_events)
    looking = doctor.Doctor(settings, request)
    on_signal(looking.stop)
    found = looking.findings()
    if as_document:
        click.echo(finding.as_json(found))
    else:
        for line, colour in finding.as_lines(found):
            click.secho(line, fg=colour)
    sys.exit(finding.verdict(found))
