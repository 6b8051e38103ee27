"""`celery-statsd top`."""

import click

from celery_statsd.cli.settings import part, with_settings
from celery_statsd.cli.signals import on_hangup, on_signal
from celery_statsd.errors import ConfigError
from celery_statsd.keys import Settings


@click.command()
@click.option(
    "--interval",
    type=click.FloatRange(min=0.2, max=60.0),
    default=2.0,
    show_default=True,
    help="Seconds between two refreshes.",
)
@click.option(
    "--window",
    type=click.FloatRange(min=1.0, max=3600.0),
    default=60.0,
    show_default=True,
    help="Seconds over which rates, percentiles and what is new are taken.",
)
@with_settings
def top(settings: Settings, interval: float, window: float) -> None:
    """Tasks, workers and queues, live in a terminal; ? there tells the keys.

    It listens beside the agent and takes nothing from it, and has no sinks and no state_dir.
    """
    try:
        view = part("top.view").View(settings, interval, window)
    except ModuleNotFoundError as error:
        if (error.name or "").strip("_") != "curses":
            raise
        problem = "this Python was built without curses, by which it draws"
        raise ConfigError("top", problem, "take the Python of your distribution") from None
    on_signal(view.stop)
    on_hangup(view.stop)
    view.run()
