"""`celery-statsd keda`."""

from collections.abc import Callable
from typing import Any

import click

from celery_statsd.cli.alerts import places
from celery_statsd.cli.settings import part

Command = Callable[..., None]


def _number(flag: str, least: int, default: int, text: str) -> Callable[[Command], Command]:
    kind = click.IntRange(least)
    return click.option(f"--{flag}", type=kind, default=default, show_default=True, help=text)


@click.command()
@click.option("--queue", required=True, help="The queue the deployment works on.")
@click.option("--deployment", required=True, help="The Deployment of its workers.")
@click.option(
    "--graphite",
    "server",
    default="http://graphite",
    show_default=True,
    metavar="URL",
    help="graphite-web, as KEDA reaches it.",
)
@_number("per-replica", 1, 20, "Messages for each replica.")
@_number("most", 1, 10, "Replicas.")
@_number("fallback", 0, 2, "Replicas while nobody knows how long the queue is.")
@_number("cooldown", 0, 300, "Seconds without work before the last replica ends.")
@places()
def keda(queue: str, deployment: str, server: str, **rest: Any) -> None:
    """A ScaledObject for KEDA: the workers of a queue, scaled to zero and back."""
    made = part("alerts.keda")
    scaling = made.Scaling(**{field: rest.pop(field) for field in made.Scaling._fields})
    layout = part("alerts.target").layout_of(**rest)
    click.echo(made.manifest(layout, queue, deployment, server, scaling), nl=False)
