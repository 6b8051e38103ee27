"""Graphite's answers, its refusals, and those who are no Graphite."""

import base64
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs

import pytest

from celery_statsd.alerts.graphite import MAX_POINTS, Series
from celery_statsd.errors import BadTarget, ConfigError, GraphiteAway
from tests.servers.graphite import Graphite as RealGraphite
from tests.servers.process import free_port, wait_until

Seen = list[tuple[str, dict[str, str], dict[str, list[str]]]]


@contextmanager
def web(status: int, body: bytes) -> Iterator[tuple[str, Seen]]:
    """Something that answers every POST alike: its URL, and what it saw (path, headers, form)."""
    seen: Seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            form = self.rfile.read(int(self.headers["Content-Length"])).decode()
            seen.append((self.path, dict(self.headers), parse_qs(form)))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        server.server_close()


ANSWER = json.dumps(
    [
        {"target": "a", "datapoints": [[1.5, 100], [None, 110], [0, 120]], "tags": {"name": "a"}},
        {"target": "b", "datapoints": [[None, 100]]},
    ]
).encode()


def test_it_is_asked_as_grafana_asks() -> None:
    """A form, times in seconds, room for every point; the path of the URL before /render."""
    with web(200, ANSWER) as (url, seen):
        found = Series(f"{url}/graphite/").ask("sumSeries(a.*)", 100.9, 200.2)
    assert {"a": [(100.0, 1.5), (120.0, 0.0)], "b": []} == found
    ((path, headers, form),) = seen
    assert ("/graphite/render", "application/x-www-form-urlencoded") == (
        path, headers["Content-Type"]
    )  # fmt: skip
    assert {
        "target": ["sumSeries(a.*)"], "from": ["100"], "until": ["200"], "format": ["json"],
        "maxDataPoints": [str(MAX_POINTS)],
    } == form  # fmt: skip


def test_a_password_goes_into_a_header_and_nowhere_else() -> None:
    """Percent-encoded in the URL, plain in the header, and in no error."""
    with web(401, b"") as (url, seen):
        asked = Series(url.replace("://", "://me:s%40fe@"))
        with pytest.raises(
            GraphiteAway, match=rf"^graphite: {url} does not answer \(401 "
        ) as caught:
            asked.ask("a", 0, 1)
    coded = seen[0][1]["Authorization"].removeprefix("Basic ")
    assert b"me:s@fe" == base64.b64decode(coded)
    assert "s%40fe" not in str(caught.value)


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b"[7]", b'[{"target": "a"}]', b"\xff"])
def test_what_is_no_answer_of_a_graphite_is_told(body: bytes) -> None:
    """A login page with status 200, say."""
    with web(200, body) as (url, _), pytest.raises(GraphiteAway, match="does not answer"):
        Series(url).ask("a", 0, 1)


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, BadTarget), (500, BadTarget), (403, GraphiteAway), (503, GraphiteAway)],
)
def test_a_refusal_is_of_the_query_or_of_us(status: int, error: type[Exception]) -> None:
    """With what the server says."""
    with web(status, b"Traceback\nTypeError: no") as (url, _), pytest.raises(error) as caught:
        Series(url).ask("a", 0, 1)
    assert str(status) in str(caught.value)


def test_nobody_there_is_told_in_time() -> None:
    """Refused at once; silent: after the timeout."""
    with pytest.raises(GraphiteAway, match=r"does not answer \(Connection refused\)"):
        Series(f"http://127.0.0.1:{free_port()}").ask("a", 0, 1)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        silent = Series(f"http://127.0.0.1:{deaf.getsockname()[1]}", timeout=0.2)
        began = time.monotonic()
        with pytest.raises(GraphiteAway, match=r"does not answer \(timed out\)"):
            silent.ask("a", 0, 1)
        assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    "url", ["graphite", "ftp://graphite", "http://", "http://host:port", "http://host/?a=1", ""]
)
def test_what_is_no_url_is_told(url: str) -> None:
    """Before anything is asked."""
    with pytest.raises(ConfigError, match=r"^graphite: .* is no address; write http"):
        Series(url)


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("ask", "error"),
    [
        ("noSuchFunction(refusals.b)", "noSuchFunction"),
        ("movingSum(refusals.b, 'nonsense')", "nonsense|400|500"),
    ],
)
def test_a_real_graphite_refuses_what_it_does_not_know(
    ask: str, error: str, graphite: RealGraphite
) -> None:
    """And says why."""
    with socket.create_connection(("127.0.0.1", graphite.line_port), 5) as peer:
        peer.sendall(f"refusals.b 1 {int(time.time())}\n".encode())
    wait_until(lambda: graphite.render("refusals.b"), 10, "there is something to ask for")
    with pytest.raises(BadTarget, match=error):
        Series(graphite.url).ask(ask, time.time() - 60, time.time())
