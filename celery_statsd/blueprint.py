"""What the settings say each part of an agent is made of."""

import os
import socket
from pathlib import Path

from celery_statsd.errors import ConfigError
from celery_statsd.folding import folder
from celery_statsd.keys import Settings
from celery_statsd.names import escape
from celery_statsd.pipeline import Pipeline
from celery_statsd.scope import CLUSTER, Scope
from celery_statsd.source.base import Broker, Tls


def host_of(settings: Settings) -> str:
    """The agent's own name: as set, else the machine's short name; each partition's is its own."""
    if settings.host or settings.partition is None:
        return settings.host or _machine()
    return f"{_machine()}-p{settings.partition}"


def scope_of(settings: Settings) -> Scope:
    """The part of the cluster it counts. Raises ConfigError for parts that do not fit."""
    if settings.partitions > 1:
        return _partition_of(settings)
    if settings.partition not in (None, 1):
        cure = "set partitions, the same for all of them"
        raise ConfigError("partition", "it is set, but partitions is not", cure)
    if settings.scope == "host":
        full = socket.gethostname()
        return Scope(host_of(settings), frozenset({full, _machine(), host_of(settings)}))
    return CLUSTER


def state_of(settings: Settings) -> Path | None:
    """The file of the journal; None when no folder is set and systemd gives none."""
    folder = settings.state_dir or os.environ.get("STATE_DIRECTORY")
    part = f".p{settings.partition}" if settings.partition else ""
    return Path(folder) / f"{escape(settings.app)}{part}.journal" if folder else None


def pipeline_of(settings: Settings) -> Pipeline:
    """The pipeline that `settings` describe."""
    return Pipeline(
        prefix=settings.prefix,
        app=settings.app,
        scope=scope_of(settings),
        host=host_of(settings),
        max_attempts=settings.max_attempts,
        max_workers=settings.max_workers,
        max_series=settings.max_series,
        reservoir=settings.reservoir,
        worker_silence=settings.worker_silence,
        fold=folder(settings.worker_template),
        lost_after=settings.lost_after,
        unreported_after=settings.unreported_after,
    )


def broker_of(settings: Settings) -> Broker:
    """The part of `settings` that a source needs."""
    tls = Tls(
        on=settings.tls,
        verify=settings.tls_verify,
        ca_file=settings.tls_ca_file,
        cert_file=settings.tls_cert_file,
        key_file=settings.tls_key_file,
        server_name=settings.tls_server_name,
    )
    return Broker(
        urls=tuple(settings.broker),
        tls=tls,
        transport_options=settings.transport_options,
        event_exchange=settings.event_exchange,
        event_queue_prefix=settings.event_queue_prefix,
        group=_group(settings),
        queue_type=settings.event_queue_type,
        partition=settings.partition or 1,
        partitions=settings.partitions,
        chorus=settings.scope == "cluster",
        large_reads=settings.large_reads,
        management=settings.management or "",
        all_vhosts=settings.management_all_vhosts,
    )


def _group(settings: Settings) -> str:
    """Agents of one group count each event once; those of a host each hear all of it."""
    group = settings.group or settings.app
    return f"{group}-{host_of(settings)}" if settings.scope == "host" else group


def _partition_of(settings: Settings) -> Scope:
    if settings.scope == "host":
        raise ConfigError("partitions", "a host is a part already", "keep one of scope and it")
    if settings.event_queue_type == "transient":
        problem = "partitions need queues that stay"
        raise ConfigError("event_queue_type", problem, "take quorum or classic")
    most, number = settings.partitions, settings.partition
    if number is None or number > most:
        problem = f"there are {most}, and this agent's own is {number or 'not set'}"
        raise ConfigError("partition", problem, f"set it from 1 to {most}, each to one agent")
    return Scope(f"p{number}", partition=number, partitions=most)


def _machine() -> str:
    return socket.gethostname().partition(".")[0]
