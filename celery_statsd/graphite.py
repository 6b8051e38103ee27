"""Asks a graphite-web the way Grafana asks it.

https://graphite.readthedocs.io/en/latest/render_api.html: a POST of `target`, `from` and `until` in
epoch seconds, `maxDataPoints`, and `format=json`.
"""

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlencode, urlsplit

from celery_statsd.errors import BadTarget, ConfigError, GraphiteAway
from celery_statsd.log import redact

KEY = "graphite"

ANSWER_WITHIN = 30.0
"""Seconds for each answer."""

LONGEST = 256 * 1024 * 1024
"""Bytes of an answer; more is none."""

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
    """The graphite-web at `url`, which may hold a user and a password.

    Raises ConfigError when that is no address, GraphiteAway (which is one) when nobody answers
    there. `url` is shown without the password.
    """

    def __init__(self, url: str, timeout: float = ANSWER_WITHIN) -> None:
        self.url, credentials = _parted(url)
        self._headers = {"User-Agent": "celery-statsd", **credentials}
        self._timeout = timeout

    def render(self, targets: Sequence[str], span: Span) -> list[Answer]:
        """The series of `targets`, in their order. Raises BadTarget."""
        fields = {
            "target": list(targets), "from": span.since, "until": span.until, "format": "json",
            "maxDataPoints": span.points,
        }  # fmt: skip
        found = self._ask("render", urlencode(fields, doseq=True))
        try:
            if not isinstance(found, list):
                raise TypeError
            return [Answer(row["target"], _points(row["datapoints"])) for row in found]
        except (TypeError, ValueError, KeyError):
            raise self._silent("not as a Graphite does") from None

    def expand(self, pattern: str) -> list[str]:
        """The series, or with an unfinished name the nodes, that fit a glob."""
        found = self._ask("metrics/expand", urlencode({"query": pattern}))
        return list(found["results"])

    def _ask(self, path: str, body: str) -> Any:
        request = urllib.request.Request(f"{self.url}/{path}", body.encode("ascii"), self._headers)
        try:
            with urllib.request.urlopen(request, timeout=self._timeout) as answer:
                return json.loads(answer.read(LONGEST))
        except urllib.error.HTTPError as error:
            with error:
                text = error.read(LONGEST).decode("utf-8", "replace")
            if error.code in (400, 500):
                raise BadTarget(f"{error.code}: {_last_line(text)}") from error
            raise self._silent(f"{error.code} {error.reason}") from error
        except (OSError, HTTPException, ValueError) as error:
            told = getattr(error, "reason", None) or error
            raise self._silent(getattr(told, "strerror", None) or told) from error

    def _silent(self, reason: object) -> GraphiteAway:
        problem = f"{self.url} does not answer ({reason})"
        return GraphiteAway(KEY, problem, "is it a graphite-web?")


def _parted(url: str) -> tuple[str, Mapping[str, str]]:
    """`url` without user and password, and the header that says these. Raises ConfigError."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = urlsplit(""), None, None
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
        raise ConfigError(
            KEY, f"{redact(url)!r} is no address", "write http://graphite or the like"
        )
    place = (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")
    shown = f"{parts.scheme}://{place}{quote(parts.path, safe='/%')}".rstrip("/")
    if parts.username is None:
        return shown, {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return shown, {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def _points(rows: Any) -> Points:
    return tuple((value, at) for value, at in rows)


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "no word"
