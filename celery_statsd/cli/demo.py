"""`celery-statsd demo`."""

import sys

import click

from celery_statsd.cli.settings import part


@click.command()
@click.option("--seconds", type=click.FloatRange(min=2.0), help="End by itself after so long.")
@click.option("--plain", is_flag=True, help="Plain lines, even on a terminal.")
def demo(seconds: float | None, plain: bool) -> None:
    """The whole river on embedded parts: broker, worker, workload, agent and StatsD."""
    sys.exit(part("demo").show(seconds, plain))
