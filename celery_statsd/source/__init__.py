"""Where the events come from: one source for each kind of broker, chosen by the URL's scheme.

A source's module is imported when it is chosen: an agent on RabbitMQ carries no Redis client.
"""

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from kombu.transport import TRANSPORT_ALIASES, get_transport_cls
from kombu.utils.url import url_to_parts, urlparts

from celery_statsd.errors import ConfigError
from celery_statsd.log import Log
from celery_statsd.source.base import Broker, Source, Tls

KEY = "broker"
"""The configuration key every bad URL is blamed on."""

_AMQP = "celery_statsd.source.amqp:AmqpSource"
_REDIS = "celery_statsd.source.redis:RedisSource"
_KOMBU = "celery_statsd.source.memory:KombuSource"

SOURCES = {
    "amqp": _AMQP,
    "amqps": _AMQP,
    "pyamqp": _AMQP,
    "librabbitmq": _AMQP,
    "redis": _REDIS,
    "rediss": _REDIS,
    "sentinel": _REDIS,
    **dict.fromkeys(("memory", "filesystem", "mongodb", "pgmq", "qpid", "gcpubsub"), _KOMBU),
}
"""Transport -> where its source is. Those kombu knows beyond these cannot carry events."""

_BEST = "amqp:// (RabbitMQ) and redis://"

# Schemes that mean the same: they may stand in one list.
_ALIASES = {"pyamqp": "amqp", "librabbitmq": "amqp"}

# The options of a URL that say what `Tls` says.
_TLS_FILES = {
    "ssl_ca_certs": "ca_file",
    "ssl_certfile": "cert_file",
    "ssl_keyfile": "key_file",
}

# The values of ssl_cert_reqs (kombu.utils.url): whether they mean to verify. A server always has
# a certificate, so `optional` does.
_CERT_REQS = {
    "required": True,
    "optional": True,
    "none": False,
    "CERT_REQUIRED": True,
    "CERT_OPTIONAL": True,
    "CERT_NONE": False,
}


def source_for(broker: Broker, log: Log) -> Source:
    """The source that listens to `broker`; it connects at the first read.

    Raises ConfigError for a URL that cannot be read or used, a transport that is unknown or
    cannot carry events, and a list of several transports.
    """
    urls = _urls_of(broker)
    transport = _transport_of(urls)
    if broker.partitions > 1 and SOURCES[transport] != _AMQP:
        cure = "leave it out, or set scope to host"
        raise ConfigError("partitions", f"{transport} cannot part the stream of events", cure)
    broker = _trusted(replace(broker, urls=urls))
    if broker.tls.on and not broker.tls.verify:
        log.warning("broker_unverified", cure="anyone between could pose as the broker")
    if SOURCES[transport] == _KOMBU:
        _require_library(transport)
        if transport != "memory":
            log.warning("broker_best_effort", transport=transport, cure=f"{_BEST} are watched well")
    return _chosen(transport)(broker, log)


def probed(broker: Broker) -> tuple[str, Broker]:
    """The transport of `broker`, and `broker` as a probe takes it. Raises ConfigError."""
    urls = _urls_of(broker)
    return _transport_of(urls), _trusted(replace(broker, urls=urls))


def _urls_of(broker: Broker) -> tuple[str, ...]:
    return tuple(url for entry in broker.urls for url in entry.split(";") if url)


def _chosen(transport: str) -> Callable[[Broker, Log], Source]:
    module, _, name = SOURCES[transport].partition(":")
    source: Callable[[Broker, Log], Source] = getattr(importlib.import_module(module), name)
    return source


def _transport_of(urls: tuple[str, ...]) -> str:
    """The one transport of all `urls`. Raises ConfigError."""
    if not urls:
        raise ConfigError(KEY, "there is no URL", f"name one, as {_BEST}")
    transports = {_transport(_parsed(number, url)) for number, url in enumerate(urls, 1)}
    if len(transports) != 1:
        raise ConfigError(
            KEY,
            f"the URLs are of {len(transports)} transports ({', '.join(sorted(transports))})",
            "name several URLs only for one broker or cluster",
        )
    return transports.pop()


def _transport(parts: urlparts) -> str:
    # redis+socket:///path: kombu's way to say `transport+address`.
    transport = parts.scheme.partition("+")[0]
    transport = _ALIASES.get(transport, transport)
    if transport in SOURCES:
        return str(transport)
    if transport in TRANSPORT_ALIASES:
        raise ConfigError(
            KEY,
            f"{transport} cannot carry Celery's events to another process",
            f"events need a broker that copies a message to each listener, as {_BEST} do",
        )
    raise ConfigError(KEY, f"unknown transport {transport!r}", f"known: {', '.join(SOURCES)}")


def _parsed(number: int, url: str) -> urlparts:
    try:
        parts: urlparts = url_to_parts(url)
    except ValueError:  # its words are not told: a password that is not quoted stands in them
        raise _unreadable(number, "its parts cannot be told apart") from None
    if "://" not in url:
        raise _unreadable(number, "no scheme://")
    if parts.scheme in ("redis", "rediss", "sentinel") and not _is_database(parts.path or ""):
        raise _unreadable(number, "the database is not a number")
    if parts.query.get("ssl_cert_reqs", "none") not in _CERT_REQS:
        raise _unreadable(number, f"ssl_cert_reqs is none of {', '.join(_CERT_REQS)}")
    return parts


def _is_database(path: str) -> bool:
    return not path.strip("/") or path.strip("/").isdecimal()


def _unreadable(number: int, problem: str) -> ConfigError:
    return ConfigError(
        KEY,
        f"URL {number} cannot be read ({problem})",
        "write scheme://user:password@host:port/vhost, in the password %2F for /, %40 for @, %3A "
        "for :, %23 for #",
    )


def _require_library(transport: str) -> None:
    try:
        get_transport_cls(transport)
    except ImportError as error:
        raise ConfigError(
            KEY,
            f"the library for {transport} is missing ({error})",
            f"install kombu[{transport}]",
        ) from None


def _trusted(broker: Broker) -> Broker:
    """`broker` with what its URLs say about TLS moved where all sources look: into `tls`."""
    tls = broker.tls
    for url in broker.urls:
        tls = _with_options(tls, dict(parse_qsl(urlsplit(url).query)))
    return replace(broker, urls=tuple(_without_tls(broker.urls)), tls=tls)


def _with_options(tls: Tls, options: Mapping[str, str]) -> Tls:
    files: dict[str, Any] = {
        field: options[name]
        for name, field in _TLS_FILES.items()
        if name in options and not getattr(tls, field)
    }
    verify = tls.verify and _CERT_REQS[options.get("ssl_cert_reqs", "required")]
    return replace(tls, verify=verify, **files)


def _without_tls(urls: Iterable[str]) -> Iterable[str]:
    for url in urls:
        options = urlsplit(url).query.split("&")
        kept = "&".join(option for option in options if not option.startswith("ssl_"))
        yield url.partition("?")[0] + (f"?{kept}" if kept else "")
