"""`celery-statsd alerts`."""

import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import click

from celery_statsd.cli.settings import part
from celery_statsd.cli.signals import hold_signals, wait_for_signal
from celery_statsd.dashboards.flavours import FLAVOURS

FORMS = ("text", "nagios", "json", "prometheus")
"""Those of `alerts.forms`, which is loaded when it is needed."""

Command = Callable[..., None]


def places(several: bool = False) -> Callable[[Command], Command]:
    """The options that say where in a Graphite the metrics are; `several` apps, or one."""

    def decorate(command: Command) -> Command:
        for option in (
            click.option("--flavour", type=click.Choice(tuple(FLAVOURS)), default="statsd",
                         show_default=True, help="What writes to Graphite."),
            click.option("--app", default=["default"] if several else "default", multiple=several,
                         show_default=True, help="The agent's `app`; repeatable." if several
                         else "The agent's `app`."),
            click.option("--prefix", default="celery", show_default=True,
                         help="The agent's `prefix`."),
        ):  # fmt: skip
            command = option(command)
        return command

    return decorate


def _rules(command: Command) -> Command:
    return click.option(
        "--rules", metavar="FILE", help="Your own alerts.yml; else the one that is shipped."
    )(command)


def _graphite(command: Command) -> Command:
    for option in (
        click.option("--timeout", type=click.FloatRange(0.1, 600), default=10.0, show_default=True,
                     help="Seconds for an answer of Graphite."),
        click.option("--graphite", required=True, metavar="URL", envvar="GRAPHITE_URL",
                     help="graphite-web: http://host:port, or GRAPHITE_URL in the environment, "
                     "which keeps a password in it out of the process list."),
        places(),
        _rules,
    ):  # fmt: skip
        command = option(command)
    return command


@click.group()
def alerts() -> None:
    """Whether all is well, by the rules of alerts.yml and what Graphite has."""


@alerts.command()
@_graphite
@click.option("--rule", "names", multiple=True, help="Only this rule (and `agent`); repeatable.")
@click.option("--format", "form", type=click.Choice(FORMS), default="text", show_default=True)
def check(form: str, names: tuple[str, ...], rules: str | None, **where: Any) -> None:
    """Judge the rules now, and say what is wrong.

    Ends with 0 when all is well, 1 for a warning, 2 when something is critical or the agent is
    dead, 3 when nobody can tell: Graphite is away, or a query names no series.
    """
    rows = part("alerts.rows")
    chosen = rows.chosen(rows.load(rules), names)
    report = _checker(chosen, **where)(time.time())
    click.echo(part("alerts.forms").FORMS[form](report))
    sys.exit(report.state.exit_code)


@alerts.command()
@_graphite
@click.option("--listen", default="127.0.0.1:9809", show_default=True, metavar="HOST:PORT")
def serve(listen: str, rules: str | None, **where: Any) -> None:
    """Answer with JSON at /alerts and /alerts/RULE: 503 when critical, else 200."""
    rows = part("alerts.rows").load(rules)
    desk = part("alerts.desk").Desk(rows, _checker(rows, **where), time.time)
    window = part("window").Window(listen, desk.pages, "listen")
    hold_signals()
    window.open()
    click.echo(f"listening on port {window.port}", err=True)
    wait_for_signal()
    window.close()


@alerts.command()
@_rules
@places(several=True)
@click.option("--datasource", default="graphite", show_default=True, help="Its uid in Grafana.")
@click.option("--folder", default="Celery", show_default=True, help="Grafana's folder.")
def grafana(
    rules: str | None, datasource: str, folder: str, app: tuple[str, ...], **where: Any
) -> None:
    """Write the rules as Grafana's provisioning wants them (provisioning/alerting)."""
    layout_of = part("alerts.target").layout_of
    layouts = [layout_of(app=one, **where) for one in dict.fromkeys(app)]
    rows = part("alerts.rows").load(rules)
    made = part("alerts.grafana").provisioning(rows, layouts, datasource, folder)
    click.echo(made, nl=False)


def _checker(rules: Any, graphite: str, timeout: float, **where: Any) -> Callable[[float], Any]:
    """What makes a report of a time (epoch seconds)."""
    asked = part("alerts.graphite").Series(graphite, timeout)
    layout = part("alerts.target").layout_of(**where)
    return partial(part("alerts.check").checked, rules, asked, layout)
