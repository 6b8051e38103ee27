"""What the commands share: an option for each setting, the log, and the parts they call."""

import os
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import click

from celery_statsd.config import load
from celery_statsd.keys import KEYS, Settings
from celery_statsd.log import Log

Command = Callable[..., None]


def part(name: str) -> Any:
    """A module of this package, by its name in it; loaded when a command needs it."""
    return import_module(f"celery_statsd.{name}")


def log_of(settings: Settings) -> Log:
    """The log that was asked for."""
    return Log(settings.log_level, settings.log_format)


def with_settings(command: Command) -> Command:
    """Give `command` an option for each setting, and call it with the Settings in force."""

    def configured(config: str | None, **options: Any) -> None:
        keys = {key.name: options.pop(key.name) for key in KEYS}
        context, app_settings = click.get_current_context(), _app_settings
        named, app = _celerys_app(context)
        if named and not keys["celery_app"]:
            keys["celery_app"] = named
            app_settings = partial(_settings_of_imported, app)
        context.obj = reread = partial(load, keys, os.environ, config, app_settings)
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


def _celerys_app(context: click.Context) -> tuple[str, Any]:
    """What `celery -A` names, and the app it has imported, when this is a command of Celery's;
    see celery.bin.celery."""
    named = context.find_root().params.get("app")
    return str(named or ""), getattr(context.obj, "app", None)


def _settings_of_imported(app: Any, path: str) -> dict[str, Any]:
    """The broker settings of an app that is there already."""
    settings: dict[str, Any] = part("source.app").settings_of_app(app, path)
    return settings


def _app_settings(path: str) -> dict[str, Any]:
    """The broker settings of the user's Celery app; celery is imported for nothing else."""
    settings: dict[str, Any] = part("source.app").settings_of(path)
    return settings
