"""Asking a graphite-web: what comes back, and what is said when nothing does."""

import threading
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from celery_statsd.errors import BadTarget, ConfigError
from celery_statsd.graphite import Answer, Graphite, Span
from tests.dashboards.world import World
from tests.servers.process import free_port

RECEIVED = "stats.counters.celery.shop.cluster.all.received.all.count"


@pytest.mark.e2e
def test_points_come_as_asked(world: World, asked: Graphite) -> None:
    """In the order of the targets, from old to new, no more than were asked for."""
    span = Span(world.end - 600, world.end, 20)
    first, second = asked.render([f"alias({RECEIVED},'b')", f"alias({RECEIVED},'a')"], span)

    assert ["b", "a"] == [first.name, second.name]
    assert first.points == second.points
    assert 20 >= len(first.points) > 10
    assert sorted(at for _, at in first.points) == [at for _, at in first.points]


@pytest.mark.e2e
def test_globs_are_expanded(world: World, asked: Graphite) -> None:
    """Whole names give series, unfinished ones nodes."""
    del world
    assert [RECEIVED] == asked.expand(RECEIVED.replace("all.received", "*.receiv*"))
    assert "stats.counters.celery.shop" in asked.expand("stats.counters.celery.*")
    assert [] == asked.expand("stats.counters.nobody.*")


@pytest.mark.e2e
def test_a_target_it_cannot_evaluate_is_told(world: World, asked: Graphite) -> None:
    """By what Graphite says of it."""
    with pytest.raises(BadTarget, match="nonsense"):
        asked.render([f"nonsense({RECEIVED})"], Span(world.end - 60, world.end))


def test_values_are_those_there_are() -> None:
    """Nulls are left out, 0 is not."""
    assert (0.0, 2.0) == Answer("x", ((None, 0), (0.0, 10), (2.0, 20))).values


@pytest.mark.parametrize("url", ["graphite", "ftp://graphite", "http://", "/render"])
def test_what_is_no_address_is_refused(url: str) -> None:
    """In one sentence with key and cure."""
    with pytest.raises(ConfigError, match=r"^graphite: .* is no address; write http://"):
        Graphite(url)


def test_a_login_goes_along_and_is_never_told() -> None:
    """Behind a proxy that wants one; a refusal names the address without it."""
    asked: list[str] = []

    class Proxy(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            """Refuse."""
            asked.append(self.headers["Authorization"])
            self.send_error(401)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Proxy) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with pytest.raises(ConfigError, match=r"does not answer \(401") as caught:
            Graphite(f"http://eve:s%40crt@127.0.0.1:{server.server_port}/g").expand("*")
        thread.join()
    assert ["Basic " + b64encode(b"eve:s@crt").decode()] == asked
    assert f"http://127.0.0.1:{server.server_port}/g does" in str(caught.value)


def test_silence_is_told() -> None:
    """Nobody listens there."""
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(ConfigError, match=f"^graphite: {url} does not answer"):
        Graphite(url).expand("*")
