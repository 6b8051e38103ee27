"""`celery-statsd record`."""

import time
from dataclasses import replace

import click

from celery_statsd.cli.events import NEXT_ADDRESS
from celery_statsd.cli.replay import asked_sinks
from celery_statsd.cli.settings import log_of, part, with_settings
from celery_statsd.cli.signals import on_signal
from celery_statsd.keys import Settings


@click.command()
@click.argument("file")
@click.option("--whole", is_flag=True, help="With arguments, results and texts of exceptions.")
@click.option("--gzip", "packed", is_flag=True, help="Packed, as it is when FILE ends in .gz.")
@click.option("--seconds", type=click.FloatRange(min=0.0), help="Stop after so long.")
@with_settings
def record(settings: Settings, file: str, whole: bool, packed: bool, seconds: float | None) -> None:
    """Record the messages as they pass, for `replay`: a bug report is then one file.

    With --sink the metrics are sent meanwhile; `replay` sends the same. Arguments, results and
    the texts of exceptions are left out unless asked for. A file that is there is not touched.
    """
    deadline = None if seconds is None else time.monotonic() + seconds
    blueprint, log = part("blueprint"), log_of(settings)
    settings = replace(settings, partitions=1, partition=None)  # it hears all of the stream
    # A queue of its own: from the agent's it would take events away.
    broker = replace(blueprint.broker_of(settings), queue_type="transient", chorus=False)
    recorder = part("recorder").Recorder(
        part("source").source_for(broker, log),
        part("chronicle").Chronicle(lambda: blueprint.pipeline_of(settings), (), log),
        [part("sinks").sink_from(address) for address in asked_sinks(settings)],
        part("tape").Tape(file, packed or file.endswith(".gz"), whole),
        log,
        scope=blueprint.scope_of(settings),
        settings=part("recording").carried(settings, blueprint.host_of(settings)),
        interval=settings.flush_interval,
        patience=";".join(settings.broker).count(";") * NEXT_ADDRESS,
    )
    on_signal(recorder.stop)
    recorder.run(deadline)
