"""Graphite, asked from outside: made points, and a real one with right and wrong rules."""

import random
import socket
import time
from collections.abc import Iterator

import pytest

from celery_statsd.check.graphite import METHODS, Readback, Rollup, judged_form, rollup
from celery_statsd.errors import ConfigError
from tests.conftest import running
from tests.servers.graphite import Graphite as Server
from tests.servers.process import free_port, wait_until

SCHEMAS = """\
[several]
pattern = ^stats\\.counters\\.(summed|averaged|strict)\\.
retentions = 1s:1m,10s:10m

[coarse]
pattern = ^stats\\.counters\\.coarse\\.
retentions = 10s:10m
"""
RULES = """\
[summed]
pattern = ^stats\\.counters\\.summed\\.
xFilesFactor = 0
aggregationMethod = sum

[averaged]
pattern = ^stats\\.counters\\.averaged\\.
xFilesFactor = 0
aggregationMethod = average

[strict]
pattern = ^stats\\.counters\\.strict\\.
xFilesFactor = 1
aggregationMethod = sum
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Graphite with rules of our own."""
    folder = tmp_path_factory.mktemp("graphite")
    with running(lambda: Server(folder, SCHEMAS, RULES)) as made:
        yield made


def write(server: Server, name: str, points: dict[int, int]) -> None:
    """Points with their own times, on disk or in carbon's hands when it returns."""
    lines = "".join(f"stats.counters.{name}.count {n} {at}\n" for at, n in points.items())
    with socket.create_connection(("127.0.0.1", server.line_port)) as peer:
        peer.sendall(lines.encode())
    there = f"stats.counters.{name}.count"
    wait_until(lambda: len(server.render(there, 55).get(there, ())) >= len(points), 20, there)


def minute(chance: random.Random, every: int = 1) -> dict[int, int]:
    """A number each `every` seconds of the last 50."""
    now = int(time.time())
    return {at: chance.randint(1, 9) for at in range(now - 50, now, every)}


@pytest.mark.parametrize("method", METHODS)
def test_a_method_is_known_by_what_it_made(method: str) -> None:
    """Of random points, the slots at the ends being half empty."""
    chance = random.Random(7)
    fine = [(float(chance.randint(1, 99)), at) for at in range(105, 175)]
    coarse = [
        (METHODS[method]([v or 0.0 for v, when in fine if at <= when < at + 10]), at)
        for at in range(100, 180, 10)
    ]

    assert Rollup(10, frozenset({method})) == rollup(fine, coarse)


def test_equal_points_tell_only_that_it_is_not_the_sum() -> None:
    """An agent ticks 1 each flush."""
    fine = [(1.0, at) for at in range(100, 160)]

    assert {"sum"} == rollup(fine, [(10.0, at) for at in range(100, 160, 10)]).methods
    others = rollup(fine, [(1.0, at) for at in range(100, 160, 10)]).methods
    assert {"average", "max", "min", "last"} == others


def test_what_cannot_be_compared_excludes_nothing() -> None:
    """One value a slot, or none."""
    fine = [(5.0, at) if at % 10 == 3 else (None, at) for at in range(100, 160)]
    coarse = [(5.0, at) for at in range(100, 160, 10)]

    assert Rollup(10, frozenset(METHODS)) == rollup(fine, coarse)


def test_a_point_that_is_missing_is_a_hole() -> None:
    """Where finer ones are there."""
    fine = [(1.0, at) for at in range(100, 160)]
    coarse = [(None, at) for at in range(100, 160, 10)]

    assert 5 == rollup(fine, coarse).holes


@pytest.mark.parametrize("url", ["graphite", "ftp://h", "http://"])
def test_an_address_that_is_none(url: str) -> None:
    """Is the user's to mend."""
    with pytest.raises(ConfigError) as caught:
        Readback(url)

    assert "graphite" == caught.value.key


def test_a_password_is_no_part_of_the_url() -> None:
    """Which is shown."""
    assert "http://h:80/g" == Readback("http://me:secret@h:80/g/").url


def test_nobody_answers() -> None:
    """Is told, not raised."""
    reading = Readback(f"http://127.0.0.1:{free_port()}").reading({1: ("a", 1)}, 0.0, "b", 0.0)

    assert "refused" in reading.error


def test_a_graphite_that_refuses(server: Server) -> None:
    """By its number."""
    reading = Readback(f"{server.url}/nowhere").reading({1: ("a", 1)}, 0.0, "b", 0.0)

    assert "does not answer (404 Not Found)" in reading.error


@pytest.mark.parametrize(("rule", "methods"), [("summed", {"sum"}), ("averaged", {"average"})])
def test_the_rule_of_a_real_carbon(rule: str, methods: set[str], server: Server) -> None:
    """Random counts, each second: what it made of them tells how."""
    name = f"{rule}.agent.h1.ticks.self"
    write(server, name, minute(random.Random(3)))
    reading = Readback(server.url).reading({}, time.time(), f"{rule}.agent.*.ticks.self", 0.0)

    assert (1, [(10, methods)]) == (reading.step, [(r.step, r.methods) for r in reading.rollups])


def test_a_carbon_that_forgets_what_is_sparse(server: Server) -> None:
    """xFilesFactor 1, and a point each other second."""
    write(server, "strict.agent.h1.ticks.self", minute(random.Random(3), every=2))
    reading = Readback(server.url).reading({}, time.time(), "strict.agent.*.ticks.self", 0.0)

    assert [True] == [found.holes > 0 for found in reading.rollups]


def test_what_was_sent_is_found(server: Server) -> None:
    """Under its name, by its number; what was not sent is not found."""
    now = int(time.time())
    write(server, "coarse.a", {now: 4711})
    wanted = {1: ("coarse.a", 4711), 2: ("coarse.a", 4712), 3: ("coarse.b", 4711)}
    reading = Readback(server.url).reading(wanted, now, "coarse.none", 0.0)

    assert {1: "stats.counters.coarse.a.count"} == reading.found
    assert (10, ()) == (reading.step, reading.rollups)


def test_what_comes_late_is_waited_for(server: Server) -> None:
    """For so many seconds."""
    began = time.monotonic()
    reading = Readback(server.url).reading({1: ("never.a", 1)}, time.time(), "never", 1.0)

    assert {} == reading.found
    assert 1.0 <= reading.waited <= time.monotonic() - began


@pytest.mark.parametrize(
    ("name", "unlike"),
    [
        ("stats.counters.a.b.count", ""),
        ("stats_counts.a.b", "legacyNamespace: true"),
        ("acme.counters.a.b.count", "another globalPrefix"),
        ("statsite.counts.a.b", "statsite's names"),
        ("x.a.b.y", "names of another server"),
    ],
)
def test_names_unlike_the_dashboards(name: str, unlike: str) -> None:
    """By the server that made them."""
    assert unlike == judged_form(name, "a.b")
