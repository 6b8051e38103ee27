"""Asks a graphite-web the way Grafana asks it.

https://graphite.readthedocs.io/en/latest/render_api.html: a POST of `target`, `from` and `until` in
epoch seconds, `maxDataPoints`, and `format=json`.
"""

import json
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote, urlencode, urlsplit, urlunsplit

from celery_statsd.errors import BadTarget, ConfigError
from celery_statsd.log import redact

KEY = "graphite"

ANSWER_WITHIN = 30.0
"""Seconds for each answer."""

Points = tuple[tuple[float | None, int], ...]
"""Values and epoch seconds."""


class Span(NamedTuple):
    """A range of epoch seconds, and how many points a series may have there."""

    since: int
    until: int
    points: int = 1000


class Answer(NamedTuple):
    """One series: its name, and its points from old to new."""

    name: str
    points: Points

    @property
    def values(self) -> tuple[float, ...]:
        """Those there are."""
        return tuple(value for value, _ in self.points if value is not None)


class Graphite:
    """The graphite-web at `url`, which may hold a user and a password. Raises ConfigError when that
    is no address, or nobody answers there; the password is in no message."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(
                KEY, f"{redact(url)!r} is no address", "write http://graphite or the like"
            )
        host = parts.netloc.rpartition("@")[2]
        self.url = urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))
        login = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
        self._login = b64encode(login.encode()).decode("ascii") if parts.username else ""

    def render(self, targets: Sequence[str], span: Span) -> list[Answer]:
        """The series of `targets`, in their order. Raises BadTarget."""
        fields = {
            "target": list(targets), "from": span.since, "until": span.until, "format": "json",
            "maxDataPoints": span.points,
        }  # fmt: skip
        found = self._ask("render", urlencode(fields, doseq=True))
        return [Answer(row["target"], tuple(map(tuple, row["datapoints"]))) for row in found]

    def expand(self, pattern: str) -> list[str]:
        """The series, or with an unfinished name the nodes, that fit a glob."""
        found = self._ask("metrics/expand", urlencode({"query": pattern}))
        return list(found["results"])

    def _ask(self, path: str, body: str) -> Any:
        request = urllib.request.Request(f"{self.url}/{path}", body.encode("ascii"))
        if self._login:
            request.add_header("Authorization", f"Basic {self._login}")
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_WITHIN) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                text = error.read().decode("utf-8", "replace")
            if error.code in (400, 500):
                raise BadTarget(f"{error.code}: {_last_line(text)}") from error
            raise self._silent(f"{error.code} {error.reason}") from error
        except (OSError, ValueError) as error:
            raise self._silent(getattr(error, "reason", None) or error) from error

    def _silent(self, reason: object) -> ConfigError:
        return ConfigError(KEY, f"{self.url} does not answer ({reason})", "is it a graphite-web?")


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "no word"
