"""The user's own Celery app: where its broker is, and what its events are called.

Nothing of Celery beyond the app is used, and nothing is left running.
"""

import ssl
from collections.abc import Mapping, Sequence
from typing import Any

from celery import Celery
from celery.app.utils import find_app

from celery_statsd.errors import ConfigError
from celery_statsd.log import redact

KEY = "celery_app"
"""The configuration key a bad app is blamed on."""

# Settings of the same name on both sides, with Celery's defaults (celery.app.defaults).
_DEFAULTS = {
    "event_exchange": "celeryev",
    "event_queue_prefix": "celeryev",
    "control_exchange": "celery",
}

# The names in `broker_use_ssl`: py-amqp's and redis-py's.
_TLS = {
    "ca_certs": "tls_ca_file",
    "ssl_ca_certs": "tls_ca_file",
    "cafile": "tls_ca_file",
    "certfile": "tls_cert_file",
    "ssl_certfile": "tls_cert_file",
    "keyfile": "tls_key_file",
    "ssl_keyfile": "tls_key_file",
    "server_hostname": "tls_server_name",
}
_TRUSTING = (ssl.CERT_NONE, "CERT_NONE", "none")


def settings_of(path: str) -> dict[str, Any]:
    """What the app at `path` (`package.module:app`, as in `celery -A`) says about its broker.

    Keys are the configuration's: `broker` and `queues` always, others where the app differs from
    the default.
    Raises ConfigError when the app cannot be imported or is none.
    """
    try:
        return _settings(_found(path))
    except ConfigError:
        raise
    except Exception as error:  # importing is running the user's code: anything can come
        raise ConfigError(
            KEY,
            f"{path!r} cannot be imported ({type(error).__name__}: {redact(str(error))})",
            "start where `celery -A` works, or set PYTHONPATH",
        ) from error


def settings_of_app(app: Celery, path: str) -> dict[str, Any]:
    """The same of an app that somebody else has imported from `path`. Raises ConfigError."""
    try:
        return _settings(app)
    except Exception as error:  # the configuration is read now, which is the user's code again
        problem = f"{path!r} cannot be read ({type(error).__name__}: {redact(str(error))})"
        raise ConfigError(KEY, problem, "mend its configuration") from error


def _settings(app: Celery) -> dict[str, Any]:
    found = _broker(app) | _tls(app.conf.broker_use_ssl) | _options(app) | _names(app)
    return found | {"queues": list(app.amqp.queues)}


def _found(path: str) -> Celery:
    app = find_app(path)
    if not isinstance(app, Celery):
        raise ConfigError(KEY, f"{path!r} is no Celery app", "write package.module:app")
    return app


def _broker(app: Celery) -> dict[str, Any]:
    given = app.conf.broker_read_url
    entries: Sequence[str] = given.split(";") if isinstance(given, str) else given or ()
    if not entries or not all("://" in entry for entry in entries):
        # Single settings (broker_host, broker_port, ...) or none at all: as Celery puts them.
        entries = [app.connection_for_read().as_uri(include_password=True)]
    return {"broker": list(entries)}


def _tls(use_ssl: Any) -> dict[str, Any]:
    if not use_ssl:
        return {}
    if not isinstance(use_ssl, Mapping):
        return {"tls": True}
    given = {**use_ssl, **use_ssl.get("context", {})}
    found = {key: given[name] for name, key in _TLS.items() if given.get(name)}
    if given.get("cert_reqs", given.get("ssl_cert_reqs", ssl.CERT_REQUIRED)) in _TRUSTING:
        found["tls_verify"] = False
    return {"tls": True} | found


def _options(app: Celery) -> dict[str, Any]:
    options = app.conf.broker_transport_options
    return {"transport_options": dict(options)} if options else {}


def _names(app: Celery) -> dict[str, Any]:
    values = {name: app.conf[name] for name in _DEFAULTS}
    return {name: value for name, value in values.items() if value != _DEFAULTS[name]}
