"""A window on the agent: HTTP, a few pages of JSON, nothing that can be changed.

Off unless `http` names an address. It has no login and tells the names of workers and queues: leave
it on the loopback interface, or behind something that asks who is there.
"""

import json
import threading
from collections.abc import Callable, Mapping
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from celery_statsd.errors import ConfigError

KEY = "http"
"""The setting that opens it."""

PATIENCE = 5.0
"""Seconds a client has to say what it wants."""

View = Callable[[], tuple[int, Mapping[str, Any]]]
"""What makes a page: a status and a document."""


class Window:
    """Shows `views` by their paths at `address` (host:port; port 0: any), once it is opened."""

    def __init__(self, address: str, views: Mapping[str, View], key: str = KEY) -> None:
        """Raises ConfigError, which names `key`, when nobody can listen there."""
        host, _, port = address.rpartition(":")
        try:
            self._server = _Server((host.strip("[]"), int(port)), partial(_Pane, views))
        except (OSError, ValueError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or "it is no host:port"
            raise ConfigError(key, f"{address} cannot be used ({reason})", "name another") from None
        self.port: int = self._server.server_address[1]

    def open(self) -> None:
        """Answer from now on, in threads of its own."""
        serve = partial(self._server.serve_forever, poll_interval=0.5)
        threading.Thread(target=serve, name="window", daemon=True).start()

    def close(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True


class _Pane(BaseHTTPRequestHandler):
    timeout = PATIENCE
    server_version = "celery-statsd"
    sys_version = ""

    def __init__(self, views: Mapping[str, View], *rest: Any) -> None:
        self._views = views
        super().__init__(*rest)

    def do_GET(self) -> None:
        """One page."""
        view = self._views.get(urlsplit(self.path).path.rstrip("/"), self._nothing)
        status, document = _seen(view)
        body = json.dumps(document, indent=1, default=str).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        """The same without the page."""
        self.do_GET()

    def _nothing(self) -> tuple[int, Mapping[str, Any]]:
        return 404, {"pages": sorted(self._views)}

    def log_message(self, *_: Any) -> None:
        """Nothing: who looks is nobody's business, and would fill the log."""


def _seen(view: View) -> tuple[int, Mapping[str, Any]]:
    try:
        return view()
    except Exception as error:  # whatever it is: who asks must be told that it is not well
        return 503, {"healthy": False, "problems": [f"{type(error).__name__}: {error}"]}
