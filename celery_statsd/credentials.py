"""Settings that a service manager hands over as files: systemd's LoadCredential=.

Each file in the folder that CREDENTIALS_DIRECTORY names holds the value of the key it is called
after, written as in a variable; a line that begins with # is a comment, and a file without more is
a key that is not set. Of a key that is a file itself (`..._file`) it is the value: its path.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from celery_statsd.errors import ConfigError

VARIABLE = "CREDENTIALS_DIRECTORY"
"""Names the folder: systemd sets it, and whoever mounts secrets may."""

LARGEST = 256 * 1024
"""Bytes: of a longer file nothing is read."""


def credentials(environ: Mapping[str, str]) -> dict[str, str]:
    """What each credential says, by its name. Raises ConfigError."""
    folder = environ.get(VARIABLE)
    if not folder:
        return {}
    try:
        files = sorted(entry.path for entry in os.scandir(folder) if entry.is_file())
    except OSError as error:
        problem = f"{folder} cannot be read ({error.strerror})"
        raise ConfigError(VARIABLE, problem, "name a folder this user may read") from None
    found = {file.name: _value(file) for file in map(Path, files) if file.name[0] != "."}
    return {name: text for name, text in found.items() if text}


def _value(file: Path) -> str:
    text = _content(file)
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    told = "\n".join(lines).strip()
    return str(file) if file.name.endswith("_file") and text.strip() else told


def _content(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            content = stream.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise ConfigError(file.name, f"{file} is too long", f"keep it under {LARGEST} bytes")
        return content.decode("utf-8-sig")
    except OSError as error:
        problem = f"{file} cannot be read ({error.strerror})"
        raise ConfigError(file.name, problem, "let this user read it") from None
    except ValueError:
        raise ConfigError(file.name, f"{file} is not UTF-8 text", "save it as UTF-8") from None
