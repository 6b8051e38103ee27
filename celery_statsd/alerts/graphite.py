"""Graphite, asked as Grafana asks it: POST /render, a form, times in epoch seconds.

The answer is JSON: https://graphite.readthedocs.io/en/latest/render_api.html . Points come as they
are stored, as long as there are not more than MAX_POINTS; nulls are dropped.
"""

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlencode, urlsplit

from celery_statsd.alerts.rule import Point
from celery_statsd.errors import ConfigError, GraphiteAway, QueryRefused

MAX_POINTS = 43_200
"""Points a series may have before Graphite draws some of them together."""

TIMEOUT = 10.0
"""Seconds for one answer."""

LONGEST = 64 * 1024 * 1024
"""Bytes of an answer; far more than any rule can want."""

Answer = Mapping[str, Sequence[Point]]
"""The series by their names, points in the order of time."""


class Graphite:
    """One graphite-web (or what speaks like one) at `url`, user and password in it if it asks."""

    def __init__(self, url: str, timeout: float = TIMEOUT) -> None:
        """Raises ConfigError when `url` is none."""
        place = _place(url)
        self.shown = place.shown
        self._url = f"{place.shown.rstrip('/')}/render"
        self._headers = {"User-Agent": "celery-statsd", **place.headers}
        self._timeout = timeout

    def ask(self, target: str, begin: float, end: float) -> Answer:
        """The series of `target` in (begin, end]. Raises GraphiteAway when nobody answers,
        QueryRefused when Graphite does not understand the query."""
        form = {
            "target": target, "from": int(begin), "until": int(end), "format": "json",
            "maxDataPoints": MAX_POINTS,
        }  # fmt: skip
        document = self._posted(urlencode(form).encode())
        try:
            return _series(document)
        except (TypeError, ValueError, KeyError):
            raise GraphiteAway(f"{self.shown} does not answer as a Graphite does") from None

    def _posted(self, form: bytes) -> bytes:
        request = urllib.request.Request(self._url, form, self._headers)
        try:
            with urllib.request.urlopen(request, timeout=self._timeout) as answer:
                body: bytes = answer.read(LONGEST)
                return body
        except urllib.error.HTTPError as error:
            with error:
                if error.code in (400, 422, 500):
                    raise QueryRefused(f"Graphite refuses the query ({_reason(error)})") from None
                raise GraphiteAway(f"{self.shown} answers {error.code} {error.reason}") from None
        except (OSError, HTTPException) as error:
            told = getattr(error, "reason", None) or error
            reason = getattr(told, "strerror", None) or str(told) or type(told).__name__
            raise GraphiteAway(f"{self.shown} cannot be asked ({reason})") from None


class _Place(NamedTuple):
    shown: str
    headers: Mapping[str, str]


def _place(url: str) -> _Place:
    """Where to ask, without the password, and what to say of oneself. Raises ConfigError."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = urlsplit(""), None, None
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
        raise ConfigError("graphite", "it is no address of a Graphite", "write http://host:port")
    netloc = (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")
    shown = f"{parts.scheme}://{netloc}{quote(parts.path, safe='/%')}"
    if parts.username is None:
        return _Place(shown, {})
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return _Place(shown, {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"})


def _series(document: bytes) -> dict[str, list[Point]]:
    """Series of one name are one: Graphite has them of several files that two nodes hold."""
    found: dict[str, list[Point]] = {}
    listed = json.loads(document)
    if not isinstance(listed, list):
        raise ValueError("no list")
    for series in listed:
        points = [
            (float(at), float(value)) for value, at in series["datapoints"] if value is not None
        ]
        found.setdefault(str(series["target"]), []).extend(points)
    return {name: sorted(points) for name, points in found.items()}


def _reason(error: urllib.error.HTTPError) -> str:
    """What Graphite says, in a line: the last of a page, which is what it says at length."""
    lines: Any = error.read(LONGEST).decode("utf-8", "replace").strip().splitlines()
    return f"{error.code} {lines[-1][:200] if lines else error.reason}"
