"""The agent as a service of systemd: unit, settings and credentials, from what is shipped.

What is ours (the unit) is brought up to date, what is the administrator's (everything below
/etc/celery-statsd) is made once and never touched again: so it can be run at each upgrade.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from celery_statsd.errors import ConfigError

NAME = "celery-statsd"
"""The service, and its files, when no instance is named."""

PROGRAM = "/opt/celery-statsd/bin/celery-statsd"
"""What the shipped units start."""

UNITS, SETTINGS = "etc/systemd/system", "etc/celery-statsd"
"""Where an administrator's units and our settings are, below the root."""

HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")
"""What the unit does not let the service see."""

CREDENTIALS = {
    "broker": (
        "The broker's URLs, one a line: amqp://user:password@host/vhost or redis://:password@host.",
        "Percent-encode what is special in a password: @ is %40, / is %2F, : is %3A.",
    ),
    "management": ("RabbitMQ's management API: http://user:password@host:15672.",),
    "transport_options": (
        'Options of kombu\'s transport that hold secrets, as JSON: {"master_name": "mymaster",',
        '"sentinel_kwargs": {"password": "..."}}',
    ),
}
"""The settings that the units take from files which root alone can read, and what is said there."""


def install(root: Path, program: str, instance: str | None = None) -> Iterator[str]:
    """Lay down the service below `root`, or that `instance` of it, which starts `program`; what is
    done, line by line. Raises ConfigError."""
    if instance is not None and (instance == NAME or not re.fullmatch(r"\w[\w.-]*", instance)):
        cure = f"take letters, digits, - and _, and not {NAME}"
        raise ConfigError("instance", f"{instance!r} names no instance", cure)
    name, unit = instance or NAME, f"{NAME}@.service" if instance else f"{NAME}.service"
    try:
        yield _bring_up_to_date(root / UNITS / unit, shipped(f"systemd/{unit}"), program)
        yield _make(root / SETTINGS / f"{name}.yml", _settings(instance), 0o644)
        for key, told in CREDENTIALS.items():
            text = "".join(f"# {line}\n" for line in (*told, "Empty: the settings tell."))
            yield _make(root / SETTINGS / f"{name}.{key}", text, 0o600)
    except OSError as error:
        problem = f"{error.filename} cannot be written ({error.strerror})"
        raise ConfigError("systemd", problem, "run it as root") from None


def reload_units() -> str | None:
    """Have a systemd that runs here read its units again; what was done. Raises ConfigError."""
    if not os.path.isdir("/run/systemd/system"):
        return None
    command = ["systemctl", "daemon-reload"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        problem = f"it does not read its units again ({done.stderr.strip().rstrip('.')})"
        raise ConfigError("systemd", problem, "run it as root")
    return "systemd has read its units again"


def shipped(path: str) -> str:
    """A text of config/: in a wheel it stands beside this file, in a checkout above."""
    here = Path(__file__).parent
    folders = (here / "shipped" / "config", here.parent / "config")
    return next(folder / path for folder in folders if (folder / path).exists()).read_text("utf-8")


def program() -> str:
    """The command that starts this very installation.

    Raises ConfigError when it is where a service cannot see it.
    """
    python = Path(sys.executable)
    for place in map(str, (python, Path(sys.base_prefix).resolve(), shipped_at())):
        if place.startswith(tuple(f"{folder}/" for folder in HIDDEN)):
            cure = "install it into /opt/celery-statsd, by /usr/bin/python3 -m venv"
            raise ConfigError("systemd", f"{place} is hidden from services", cure)
    script = python.with_name(NAME)
    return str(script) if script.exists() else f"{python} -m celery_statsd"


def shipped_at() -> Path:
    """Where this package is."""
    return Path(__file__).resolve().parent


def _settings(instance: str | None) -> str:
    text = shipped(f"{NAME}.yml")
    return text.replace("#app: default", f'app: "{instance}"') if instance else text


def _bring_up_to_date(path: Path, text: str, program: str) -> str:
    text = text.replace(PROGRAM, program)
    if not path.exists():
        return _make(path, text, 0o644)
    if path.read_text("utf-8") == text:
        return f"kept {path}, which is up to date"
    before = path.with_name(f"{path.name}.before")
    shutil.move(path, before)
    _make(path, text, 0o644)
    return f"replaced {path}; the one before is {before.name} beside it"


def _make(path: Path, text: str, mode: int) -> str:
    """A file with `text` that is never open to more than `mode`; one that is there stays."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return f"kept {path}, which is yours"
    with open(descriptor, "w", encoding="utf-8") as stream:
        os.fchmod(descriptor, mode)
        stream.write(text)
    return f"made {path}"
