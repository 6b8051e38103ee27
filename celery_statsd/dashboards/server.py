"""A running Grafana, spoken to over its HTTP API.

https://grafana.com/docs/grafana/latest/developers/http_api/; the token is that of a service account
(role Admin: folders, data sources, dashboards and alert rules are written).
"""

import json
import urllib.error
import urllib.request
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from celery_statsd.errors import ConfigError

KEY, TOKEN = "grafana", "GRAFANA_TOKEN"
"""What the address and the token are called where they are given."""

ANSWER_WITHIN = 30.0
"""Seconds for each answer."""

EDITABLE = {"X-Disable-Provenance": "true"}
"""What was written this way may be changed in Grafana's own pages, too."""


class Server:
    """The Grafana at `url`. All its methods raise ConfigError, which names what to mend."""

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(KEY, f"{url!r} is no address", "write http://grafana:3000")
        if not token.strip():
            cure = "make a service account (role Admin) in Grafana and export its token"
            raise ConfigError(TOKEN, "is not set", cure)
        self.url = url.rstrip("/")
        self._token = token.strip()

    def get(self, path: str) -> Any:
        """What is there; None when there is nothing."""
        return self._ask("GET", path, None)

    def send(self, method: str, path: str, body: Any) -> Any:
        """POST or PUT `body`; the answer."""
        answer = self._ask(method, path, body)
        if answer is None:
            raise ConfigError(KEY, f"{self.url} has no {path}", "is it a Grafana from 9 on?")
        return answer

    def _ask(self, method: str, path: str, body: Any) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/api/{path}", data, method=method)
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        for name, value in (headers | EDITABLE).items():
            request.add_header(name, value)
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_WITHIN) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                if error.code == HTTPStatus.NOT_FOUND:
                    return None
                raise self._refused(path, error) from error
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            problem = f"{self.url} does not answer ({reason})"
            raise ConfigError(KEY, problem, "is it a Grafana?") from error

    def _refused(self, path: str, error: urllib.error.HTTPError) -> ConfigError:
        if error.code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            problem = f"{self.url} refuses it for {path} ({error.code})"
            return ConfigError(TOKEN, problem, "give its service account the role Admin")
        problem = f"{self.url} refuses {path} ({error.code}: {_message(error.read())})"
        return ConfigError(KEY, problem, "change or remove there what is in the way")


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body.decode("utf-8", "replace")[:200]
