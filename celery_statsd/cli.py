"""The command line: each command a few lines that call a noun. The only door of click.

Exit codes: 0 done, 2 a setting or an argument is wrong (said in one sentence each).
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

import click

from celery_statsd import __version__
from celery_statsd.agent import Agent, broker_of, pipeline_of
from celery_statsd.arguments import without_secrets
from celery_statsd.catalogue import as_json, as_markdown, as_table
from celery_statsd.config import load
from celery_statsd.errors import ConfigError, SinkDown
from celery_statsd.keys import KEYS, Settings
from celery_statsd.log import Log
from celery_statsd.replay import Totals, messages, replay, report
from celery_statsd.sinks import sink_from
from celery_statsd.source import source_for
from celery_statsd.watch import Watch

Command = Callable[..., None]


def main() -> None:
    """`celery-statsd`: run a command; answer every ConfigError."""
    _start_again_without_secrets()
    try:
        commands(prog_name="celery-statsd")
    except ConfigError as error:
        click.echo(f"celery-statsd: {error}", err=True)
        sys.exit(2)


def _start_again_without_secrets() -> None:
    """A password among the arguments stands in the process list: move it to the environment."""
    clean = without_secrets(sys.argv[1:], os.environ)
    if clean:
        arguments, environment = clean
        head = sys.orig_argv[1 : len(sys.orig_argv) - len(sys.argv) + 1]
        os.execve(sys.executable, [sys.executable, *head, *arguments], environment)


def with_settings(command: Command) -> Command:
    """Give `command` an option for each setting, and call it with the Settings in force."""

    def configured(config: str | None, **options: Any) -> None:
        keys = {key.name: options.pop(key.name) for key in KEYS}
        command(load(keys, os.environ, config, _app_settings), **options)

    configured.__name__, configured.__doc__ = command.__name__, command.__doc__
    configured.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
    decorated: Command = configured
    for key in reversed(KEYS):
        option = click.option(
            *key.flags, key.name, default=None, multiple=key.repeatable, help=key.help
        )
        decorated = option(decorated)
    return click.option(
        "--config", metavar="FILE", help="The configuration file (YAML), or CELERY_STATSD_CONFIG."
    )(decorated)


def _app_settings(path: str) -> dict[str, Any]:
    """The broker settings of the user's Celery app; celery is imported for nothing else."""
    settings: dict[str, Any] = import_module("celery_statsd.source.app").settings_of(path)
    return settings


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="celery-statsd")
def commands() -> None:
    """Celery events as exact counters, timers and gauges for StatsD and Graphite."""


@commands.command()
@with_settings
def agent(settings: Settings) -> None:
    """Listen to the events and send the metrics, until SIGTERM or Ctrl-C."""
    worker = Agent.of(settings, _log(settings))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: worker.stop())
    worker.run()


@commands.command()
@click.option("--json", "as_lines", is_flag=True, help="Whole events, as `replay` reads them.")
@click.option("--seconds", type=float, help="Stop after so long.")
@with_settings
def events(settings: Settings, as_lines: bool, seconds: float | None) -> None:
    """Show each event as it passes: one line an event."""
    watch = Watch(source_for(broker_of(settings), _log(settings)), as_lines)
    deadline = None if seconds is None else time.monotonic() + seconds
    _stop_quietly()
    try:
        for line in watch.lines(deadline):
            click.echo(line)
    finally:
        watch.close()


@commands.command("replay")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--json", "as_document", is_flag=True, help="Metrics, balance and ledger as JSON.")
@with_settings
def replay_(settings: Settings, files: tuple[str, ...], as_document: bool) -> None:
    """Run a recorded stream through the same pipeline, on the stream's own clock.

    Without --sink the totals of the whole stream are printed; with it every flush is sent there.
    """
    pipeline, totals = pipeline_of(settings), Totals()
    sinks = [sink_from(address) for address in _asked_sinks(settings)]
    try:
        for batch in replay(messages(files), pipeline, settings.flush_interval):
            totals.take(batch)
            for sink in sinks:
                sink.send(batch)
    except SinkDown as error:
        raise ConfigError("sinks", str(error), "start what listens there") from None
    finally:
        for sink in sinks:
            sink.close()
    found = report(pipeline, totals)
    if as_document:
        click.echo(json.dumps(found, indent=1))
    elif not sinks:
        _print_rows(found)


@commands.command()
@click.option("--json", "form", flag_value="json", help="As JSON.")
@click.option("--markdown", "form", flag_value="markdown", help="As the README has it.")
def metrics(form: str | None) -> None:
    """The catalogue: every metric there is, and what it means."""
    makers = {"json": as_json, "markdown": as_markdown, None: as_table}
    click.echo(makers[form]())


@commands.command()
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


@commands.command()
@click.option("--seconds", type=click.FloatRange(min=2.0), help="End by itself after so long.")
@click.option("--plain", is_flag=True, help="Plain lines, even on a terminal.")
def demo(seconds: float | None, plain: bool) -> None:
    """The whole river on embedded parts: broker, worker, workload, agent and StatsD."""
    sys.exit(import_module("celery_statsd.demo").show(seconds, plain))


def _log(settings: Settings) -> Log:
    return Log(settings.log_level, settings.log_format)


def _asked_sinks(settings: Settings) -> Iterable[str]:
    """The sinks somebody asked for: replay does not send to a default."""
    return () if settings.origins["sinks"] == "default" else settings.sinks


def _stop_quietly() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))


def _print_rows(found: dict[str, Any]) -> None:
    for row in found["metrics"]:
        value = row["value"]
        if value:
            shown = _words(value) if row["kind"] == "timer" else f"{value:g}"
            click.echo(f"{row['family']:10}{row['entity']:32}{row['metric']:16}{shown}")
    click.echo(f"balance: {_words(found['balance'])}")
    click.echo(f"ledger: {json.dumps(found['ledger'])}")


def _words(numbers: dict[str, float]) -> str:
    return " ".join(f"{name}={number:.6g}" for name, number in numbers.items())
