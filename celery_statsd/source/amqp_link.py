"""How a RabbitMQ is reached: kombu opens the connection (TLS, login, vhost), py-amqp speaks."""

import socket
import ssl
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from amqp import spec
from amqp.exceptions import (
    AccessRefused,
    AMQPError,
    ConsumerCancelled,
    NotAllowed,
)
from kombu.connection import Connection
from kombu.utils.url import parse_url

from celery_statsd.errors import BrokerLost
from celery_statsd.source.base import Broker, Tls, scrubbed
from celery_statsd.source.frames import lenient

ANSWER_WITHIN = 5.0
"""Seconds the broker has to accept a connection, and then to answer each call."""

_OURS = ("host", "userid", "password", "virtual_host", "ssl", "heartbeat", "connect_timeout")


# What py-amqp raises when the connection or the channel is gone; the others when a frame makes no
# sense, among them headers nested too deeply.
GONE = (AMQPError, OSError, ValueError, LookupError, struct.error, RecursionError)

_WORDS: tuple[tuple[type[Exception], str], ...] = (
    (AccessRefused, "access refused"),
    (NotAllowed, "not allowed"),
    (ConsumerCancelled, "the event queue was deleted"),
    (AMQPError, "the broker ended the connection"),
    (socket.gaierror, "no such host"),
    (ssl.SSLCertVerificationError, "the broker's certificate is not trusted"),
    (ssl.SSLError, "TLS failed"),
    (TimeoutError, f"no answer within {ANSWER_WITHIN:g} s"),
    (ConnectionRefusedError, "nobody listens there"),
    (OSError, "the connection broke"),
    (Exception, "unreadable frame"),
)


def linked(broker: Broker, url: str, heartbeat: int) -> Any:
    """An open py-amqp connection, whose every answer has to come within ANSWER_WITHIN; `heartbeat`
    in seconds, 0 for none. Raises what `told` makes BrokerLost of."""
    parts = parse_url(url)
    connection = Connection(  # type: ignore[no-untyped-call]
        hostname=parts["hostname"],
        port=parts["port"],
        userid=parts["userid"],
        password=parts["password"],
        virtual_host=parts["virtual_host"],
        login_method=parts.get("login_method"),
        transport="pyamqp",  # never librabbitmq, which kombu prefers where it is installed
        ssl=_tls(broker.tls, parts["hostname"] or "localhost"),
        heartbeat=heartbeat,
        connect_timeout=ANSWER_WITHIN,
        transport_options=_options(broker.transport_options),
    )
    # Not connection.connect(): that sleeps and tries a second time.
    link = connection.transport.establish_connection()
    # py-amqp waits for answers without a limit; this one bounds all of them.
    link.sock.settimeout(ANSWER_WITHIN)
    return link


@contextmanager
def told(url: str) -> Iterator[None]:
    """Make BrokerLost of whatever py-amqp raises."""
    try:
        yield
    except GONE as error:
        raise BrokerLost(_sentence(error, url)) from error


def passive_declaration(queue: str) -> tuple[Any, ...]:
    """What `send_method` takes: as `queue_declare(queue, passive=True)`, without the waiting."""
    return spec.Queue.Declare, "BsbbbbbF", (0, queue, True, False, False, False, False, {})


def _options(options: Mapping[str, Any]) -> dict[str, Any]:
    named = {"client_properties": {"connection_name": "celery-statsd"}}
    theirs = {key: value for key, value in options.items() if key not in _OURS}
    return named | theirs | {"frame_handler": lenient}


def _tls(tls: Tls, host: str) -> dict[str, Any] | bool:
    """kombu's `ssl`. Without `server_hostname` py-amqp accepts a certificate of any name."""
    if not tls.on:
        return False
    files = {"ca_certs": tls.ca_file, "certfile": tls.cert_file, "keyfile": tls.key_file}
    if not tls.verify:
        return files | {"cert_reqs": ssl.CERT_NONE}
    return files | {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": tls.server_name or host}


def _sentence(error: Exception, url: str) -> str:
    words = next(words for kind, words in _WORDS if isinstance(error, kind))
    detail = getattr(error, "reply_text", None) or str(error)
    return scrubbed(f"{words} ({detail})", url)
