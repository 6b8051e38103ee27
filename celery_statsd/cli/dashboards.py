"""`celery-statsd dashboards`."""

import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from celery_statsd.cli.settings import part
from celery_statsd.dashboards.flavours import FLAVOURS
from celery_statsd.errors import ConfigError

Command = Callable[..., None]


def _taste(command: Command) -> Command:
    """The options that say what a Graphite holds and how dashboards ask it."""
    for option in (
        click.option("--percentiles", default="", metavar="90,95",
                     help="Those your StatsD makes; else those it makes by itself."),
        click.option("--app", default="", help="Only this app of the agent's; else all."),
        click.option("--prefix", default="celery", show_default=True, help="The agent's prefix."),
        click.option("--flavour", type=click.Choice(tuple(FLAVOURS)), default="statsd",
                     show_default=True, help="What writes to Graphite."),
    ):  # fmt: skip
        command = option(command)
    return command


@click.group()
def dashboards() -> None:
    """Dashboards for Grafana: write them, look whether they fit, install them."""


@dashboards.command()
@_taste
@click.option("--datasource", default="", metavar="UID",
              help="The Graphite to ask; else it is chosen at the top of a dashboard.")  # fmt: skip
@click.option("--shipped", is_flag=True, help="All files of grafana/ as they are shipped.")
@click.option("--out", default=".", show_default=True, metavar="FOLDER")
def write(out: str, shipped: bool, **where: str) -> None:
    """Write the dashboards as JSON, ready to be imported or provisioned."""
    files = part("dashboards.files")
    made = files.committed() if shipped else dict(files.dashboards(_taste_of(**where)))
    try:
        written = files.write(made, Path(out))
    except OSError as error:
        raise ConfigError("out", f"{error.filename}: {error.strerror}", "name a folder") from error
    for path in written:
        click.echo(path)
    click.echo(f"{len(written)} of {len(made)} files written, the others are as they should be")


@dashboards.command()
@_taste
@click.option("--graphite", required=True, metavar="URL", envvar="GRAPHITE_URL",
              help="graphite-web: http://host:port.")  # fmt: skip
@click.option("--hours", type=click.FloatRange(0.02, 20_000), default=3.0, show_default=True,
              help="The time looked at, up to now.")  # fmt: skip
@click.option("--all", "everything", is_flag=True, help="Tell of the panels that are well, too.")
def check(graphite: str, hours: float, everything: bool, **where: str) -> None:
    """Ask a Graphite all that the dashboards ask, and say which panels are empty, and why.

    Ends with 0 when every panel shows something, or may be empty, else with 1.
    """
    evaluation, asks = part("dashboards.evaluation"), part("graphite")
    asked, taste = asks.Graphite(graphite), _taste_of(**where)
    until = int(time.time()) - 30  # as the dashboards do: what is later may not be written yet
    span = asks.Span(until - round(3600 * hours), until)
    bad = 0
    for app in evaluation.some_apps(taste.layout, asked, bool(where["app"])):
        told: Counter[str] = Counter()
        for dashboard in part("dashboards").DASHBOARDS:
            for found in evaluation.evaluate(dashboard, taste, asked, span, app):
                told[found.verdict.value] += 1
                bad += found.is_bad
                if everything or found.why:
                    click.echo(evaluation.line(found))
        click.echo(f"app {app}: " + ", ".join(f"{n} {word}" for word, n in told.items()))
    sys.exit(1 if bad else 0)


@dashboards.command()
@_taste
@click.option("--grafana", required=True, metavar="URL", help="Its address: http://host:3000.")
@click.option("--graphite", default="", metavar="URL",
              help="The address at which Grafana finds Graphite: makes a data source.")  # fmt: skip
@click.option("--datasource", default="", metavar="UID",
              help="The Graphite to ask; else it is chosen at the top of a dashboard.")  # fmt: skip
@click.option("--rules", multiple=True, metavar="FILE", type=click.Path(path_type=Path),
              help="Alert rules, as `celery-statsd alerts grafana` writes them.")  # fmt: skip
def install(grafana: str, graphite: str, rules: tuple[Path, ...], **where: str) -> None:
    """Put folder, data source, dashboards and alert rules into a running Grafana.

    GRAFANA_TOKEN in the environment is the token of a service account with the role Admin. A second
    run changes nothing.
    """
    server = part("dashboards.server").Server(grafana, os.environ.get("GRAFANA_TOKEN", ""))
    groups = [group for file in rules for group in part("dashboards.alerting").groups(file)]
    steps = part("dashboards.installation").install(server, _taste_of(**where), graphite, groups)
    for done, what in steps:
        click.echo(f"{done:9} {what}")


def _taste_of(flavour: str, prefix: str, app: str, percentiles: str, datasource: str = "") -> Any:
    """The Taste that the options name. Raises ConfigError."""
    return part("dashboards.grafana").taste_of(flavour, prefix, app, percentiles, datasource)
