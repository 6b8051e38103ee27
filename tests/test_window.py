"""A window on the agent: JSON pages, whoever asks and however."""

import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from celery_statsd.errors import ConfigError
from celery_statsd.window import Window


def fail() -> Any:
    raise ZeroDivisionError("no view")


VIEWS: dict[str, Any] = {
    "/healthz": lambda: (200, {"healthy": True}),
    "/queues": lambda: (503, {"queues": {}}),
    "/broken": fail,
}


@pytest.fixture
def window() -> Iterator[Window]:
    """One that is open."""
    made = Window("127.0.0.1:0", VIEWS)
    made.open()
    yield made
    made.close()


def asked(window: Window, path: str, method: str = "GET") -> tuple[int, str, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", window.port, timeout=5)
    connection.request(method, path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, answer.headers["Content-Type"], body


@pytest.mark.parametrize(
    ("path", "status", "document"),
    [
        ("/healthz", 200, {"healthy": True}),
        ("/healthz/?verbose=1", 200, {"healthy": True}),
        ("/queues", 503, {"queues": {}}),
        ("/", 404, {"pages": ["/broken", "/healthz", "/queues"]}),
        ("/passwd", 404, {"pages": ["/broken", "/healthz", "/queues"]}),
        ("/broken", 503, {"healthy": False, "problems": ["ZeroDivisionError: no view"]}),
    ],
)
def test_each_page_is_json(window: Window, path: str, status: int, document: Any) -> None:
    """A view that fails is an agent that is not well."""
    assert (status, "application/json") == asked(window, path)[:2]
    assert document == json.loads(asked(window, path)[2])


def test_a_head_has_no_body(window: Window) -> None:
    """As load balancers ask."""
    assert (200, b"") == asked(window, "/healthz", "HEAD")[::2]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_can_be_changed(window: Window, method: str) -> None:
    """Only looking is possible."""
    assert 501 == asked(window, "/healthz", method)[0]


def test_nonsense_and_silence_cost_nobody_else(
    window: Window, capfd: pytest.CaptureFixture[str]
) -> None:
    """One who says nothing, and one who says rubbish, and nothing of it is printed."""
    with (
        socket.create_connection(("127.0.0.1", window.port), 5),
        socket.create_connection(("127.0.0.1", window.port), 5) as rude,
    ):
        rude.sendall(b"\0\xff\r\n\r\n")
        assert 200 == asked(window, "/healthz")[0]
    assert ("", "") == capfd.readouterr()


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:x", "127.0.0.1:99999", ":"])
def test_what_is_no_address_is_told(address: str) -> None:
    """With the key."""
    with pytest.raises(ConfigError, match=r"http: .*it is no host:port"):
        Window(address, VIEWS)


def test_a_port_that_is_taken_is_told(window: Window) -> None:
    """Before anything starts."""
    with pytest.raises(ConfigError, match=r"http: .*in use"):
        Window(f"127.0.0.1:{window.port}", VIEWS)
