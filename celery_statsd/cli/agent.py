"""`celery-statsd agent`."""

import gc
from collections.abc import Callable

import click

from celery_statsd.cli.settings import log_of, part, with_settings
from celery_statsd.cli.signals import on_hangup, on_signal
from celery_statsd.keys import Settings

GARBAGE = (20_000, 50, 50)
"""Thresholds of the garbage collector: a flush of so many rows is none. We make hardly any."""


@click.command()
@with_settings
@click.pass_context
def agent(context: click.Context, settings: Settings) -> None:
    """Listen to the events and send the metrics, until SIGTERM or Ctrl-C.

    SIGHUP reads the settings again: sinks, flush_interval, log_level and log_format are changed
    at once, without a gap; what takes a restart is told.
    """
    reread: Callable[[], Settings] = context.obj
    listener = part("agent").Agent.of(settings, log_of(settings))
    on_signal(listener.stop)
    on_hangup(lambda: listener.reload(reread))
    _collect_seldom()
    listener.run()


def _collect_seldom() -> None:
    """What is loaded stays, and need not be looked at again and again for garbage."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE)
