"""The command line: each command a few lines that call a noun. The only door of click.

Exit codes: 0 done, 1 a fault of ours (its traceback tells where) or nobody reads the output, 2 a
setting or an argument is wrong (said in one sentence each), 130 interrupted.

What a command needs beyond the settings is imported when it runs: help is there at once, and a
process that starts itself again (see `arguments`) has not loaded it twice.
"""

import gc
import io
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from importlib import import_module
from typing import Any

import click

from celery_statsd import __version__
from celery_statsd.arguments import without_secrets
from celery_statsd.config import load
from celery_statsd.errors import BrokerLost, ConfigError
from celery_statsd.keys import KEYS, Settings
from celery_statsd.log import Log, redact

Command = Callable[..., None]

SIGNALS = (signal.SIGTERM, signal.SIGINT)
"""What asks a command that listens to end."""

GARBAGE = (20_000, 50, 50)
"""Thresholds of the garbage collector: a flush of so many rows is none. We make hardly any."""

NEXT_ADDRESS = 6.0
"""Seconds until a broker that does not answer is left for the next one of the list."""


def main() -> None:
    """`celery-statsd`: run a command; answer every ConfigError."""
    _start_again_without_secrets()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names hold what no terminal knows
    try:
        sys.exit(commands(prog_name="celery-statsd", standalone_mode=False))
    except ConfigError as error:
        for sentence in str(error).splitlines():
            click.echo(f"celery-statsd: {redact(sentence)}", err=True)
        sys.exit(2)
    except click.ClickException as error:
        told = io.StringIO()
        error.show(told)
        click.echo(redact(told.getvalue()), err=True, nl=False)
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(130)


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
        reread = partial(load, keys, os.environ, config, _app_settings)
        click.get_current_context().obj = reread
        command(reread(), **options)

    configured.__name__, configured.__doc__ = command.__name__, command.__doc__
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
    settings: dict[str, Any] = _part("source.app").settings_of(path)
    return settings


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="celery-statsd")
def commands() -> None:
    """Celery events as exact counters, timers and gauges for StatsD and Graphite."""


@commands.command()
@with_settings
@click.pass_context
def agent(context: click.Context, settings: Settings) -> None:
    """Listen to the events and send the metrics, until SIGTERM or Ctrl-C.

    SIGHUP reads the settings again: sinks, flush_interval, log_level and log_format are changed
    at once, without a gap; what takes a restart is told.
    """
    reread: Callable[[], Settings] = context.obj
    listener = _part("agent").Agent.of(settings, _log(settings))
    _on_signal(listener.stop)
    _on_hangup(lambda: listener.reload(reread))
    _collect_seldom()
    listener.run()


@commands.command()
@click.option("--json", "as_lines", is_flag=True, help="Whole events, as `replay` reads them.")
@click.option("--seconds", type=click.FloatRange(min=0.0), help="Stop after so long.")
@with_settings
def events(settings: Settings, as_lines: bool, seconds: float | None) -> None:
    """Show each event as it passes: one line an event."""
    deadline = None if seconds is None else time.monotonic() + seconds
    # A queue of its own: from the agent's it would take events away.
    broker = replace(
        _part("blueprint").broker_of(settings), queue_type="transient", partitions=1, chorus=False
    )
    source = _part("source").source_for(broker, _log(settings))
    others = ";".join(settings.broker).count(";")
    watch = _part("watch").Watch(source, as_lines, patience=others * NEXT_ADDRESS)
    _on_signal(watch.stop)
    try:
        for line in watch.lines(deadline):
            click.echo(line)
    finally:
        watch.close()


@commands.command()
@click.option("--json", "as_document", is_flag=True, help="An object of names and lengths.")
@click.option("--long", is_flag=True, help="With --json: all that is known of each queue.")
@click.option("--watch", is_flag=True, help="Look each probe_interval, until Ctrl-C.")
@with_settings
def queues(settings: Settings, as_document: bool, long: bool, watch: bool) -> None:
    """How long the queues are now, who takes from them, and whether that is good.

    Ends with 0 when all are good or fine, 1 when one needs care or nobody takes its messages, 2
    when one is bad, 3 when the broker does not tell. Names the queues of --queues and of the app
    and, with --management, all durable ones.
    """
    part = _part("lengths")
    probe = _part("probes").probe_for(_part("blueprint").broker_of(settings))
    if probe is None:
        raise ConfigError("broker", "the queues of this transport cannot be seen", "see `probes`")
    before = None
    while True:
        try:
            now, sight = time.time(), probe.look(settings.queues)
        except BrokerLost as error:
            click.echo(f"celery-statsd: {error}", err=True)
            sys.exit(part.UNKNOWN)
        found = part.rows(sight, now, settings.queue_levels, before)
        if as_document:
            click.echo(part.as_json(found, long))
        else:
            for line, colour in part.as_table(found):
                click.secho(line, fg=colour)
        if not watch:
            sys.exit(part.verdict(found))
        before = sight, now
        time.sleep(settings.probe_interval)


@commands.command("replay")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--json", "as_document", is_flag=True, help="Metrics, balance and ledger as JSON.")
@with_settings
def replay_(settings: Settings, files: tuple[str, ...], as_document: bool) -> None:
    """Run a recorded stream through the same pipeline, on the stream's own clock.

    Without --sink the totals of the whole stream are printed; with it every flush is sent there.
    """
    part, pipeline = _part("replay"), _part("blueprint").pipeline_of(settings)
    sinks = [_part("sinks").sink_from(address) for address in _asked_sinks(settings)]
    flushes = part.replay(part.messages(files), pipeline, settings.flush_interval)
    totals = part.Totals()
    for batch in part.sent(flushes, sinks):
        totals.take(batch)
    found = part.report(pipeline, totals)
    if as_document:
        click.echo(json.dumps(found, indent=1))
    elif not sinks:
        for line in part.as_text(found):
            click.echo(line)


@commands.command()
@click.option("--json", "form", flag_value="json", help="As JSON.")
@click.option("--markdown", "form", flag_value="markdown", help="As the README has it.")
def metrics(form: str | None) -> None:
    """The catalogue: every metric there is, and what it means."""
    part = _part("catalogue")
    makers = {"json": part.as_json, "markdown": part.as_markdown, None: part.as_table}
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
    sys.exit(_part("demo").show(seconds, plain))


def _part(name: str) -> Any:
    """A module of this package, by its name in it."""
    return import_module(f"celery_statsd.{name}")


def _log(settings: Settings) -> Log:
    return Log(settings.log_level, settings.log_format)


def _asked_sinks(settings: Settings) -> Iterable[str]:
    """The sinks somebody asked for: replay does not send to a default."""
    return () if settings.origins["sinks"] == "default" else settings.sinks


def _collect_seldom() -> None:
    """What is loaded stays, and need not be looked at again and again for garbage."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE)


def _on_signal(stop: Callable[[], None]) -> None:
    """Call `stop` at the first signal. It takes seconds at most, so later ones mean nothing."""

    def answer(*_: object) -> None:
        for number in SIGNALS:
            signal.signal(number, _nothing)  # not SIG_IGN: Python complains of one under way
        stop()

    for number in SIGNALS:
        signal.signal(number, answer)


def _on_hangup(reload: Callable[[], None]) -> None:
    """Call `reload` at each SIGHUP, in a thread of its own: nothing waits for it."""
    one = threading.Lock()

    def answer() -> None:
        with one:
            reload()

    def begin(*_: object) -> None:
        threading.Thread(target=answer, name="reload", daemon=True).start()

    signal.signal(signal.SIGHUP, begin)


def _nothing(*_: object) -> None:
    """How a signal is answered that comes once more."""
