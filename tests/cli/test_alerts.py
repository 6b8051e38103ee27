"""`celery-statsd alerts` as its users start it, on a real Graphite."""

import http.client
import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from celery_statsd.alerts.forms import FORMS as MADE
from celery_statsd.cli.alerts import FORMS
from tests.alerts.world import FAULTS, RETENTION, World, points
from tests.cli.program import Running, run
from tests.servers.graphite import Graphite
from tests.servers.process import free_port, wait_until

AHEAD = 240
"""Seconds: the commands look at now, and the tests may be slow."""


def app(fault: str) -> str:
    """The name of the app that has it, here."""
    return f"cli_{fault}"


@pytest.fixture(scope="module")
def systems(graphite: Graphite) -> Graphite:
    """Made systems that are what they are now, and will be for some minutes."""
    end = int(time.time()) // 10 * 10 + AHEAD
    series = {}
    for seed, name in enumerate(
        ("healthy", "worker_down", "queue_bad", "dead_on_statsd", "dead_on_carbon")
    ):
        world = World(seed)
        FAULTS[name].bend(world)
        series |= points(world, app(name), end)
    graphite.write(series, RETENTION)
    return graphite


def test_the_forms_are_those_there_are() -> None:
    """The command line knows them before they are loaded."""
    assert list(MADE) == list(FORMS)


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("fault", "code", "word"),
    [("healthy", 0, "OK"), ("worker_down", 1, "WARNING"), ("queue_bad", 2, "CRITICAL"),
     ("dead_on_statsd", 2, "AGENT DEAD"), ("no_such_app", 2, "AGENT DEAD")],
)  # fmt: skip
def test_the_exit_code_is_nagios(
    fault: str, code: int, word: str, systems: Graphite
) -> None:  # fmt: skip
    """And the first line, for all rules at once."""
    found = run("alerts", "check", "--graphite", systems.url, "--app", app(fault),
                "--format", "nagios")  # fmt: skip
    assert (code, "") == (found.returncode, found.stderr)
    assert found.stdout.startswith(f"CELERY {word} - ")


@pytest.mark.e2e
def test_one_rule_is_unknown_while_the_agent_is_dead(
    systems: Graphite
) -> None:  # fmt: skip
    """The agent's own rule is judged with it, so the worst is told."""
    found = run("alerts", "check", "--app", app("dead_on_carbon"), "--rule", "lost",
                "--format", "json", env={"GRAPHITE_URL": systems.url})  # fmt: skip
    document: dict[str, Any] = json.loads(found.stdout)
    assert (2, ["agent", "lost"]) == (found.returncode, [r["rule"] for r in document["rules"]])


def test_a_graphite_that_is_away_is_unknown() -> None:
    """3, and a sentence instead of numbers."""
    found = run("alerts", "check", "--graphite", f"http://127.0.0.1:{free_port()}")
    assert (3, "") == (found.returncode, found.stderr)
    assert "does not answer (Connection refused)" in found.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--graphite", "nonsense"), "graphite: 'nonsense' is no address; write http"),
        (("--graphite", "http://g", "--rule", "lots"), "rule: there is none called lots; take"),
        (("--graphite", "http://g", "--rules", "/none.yml"), "rules: /none.yml cannot be read"),
        ((), "Missing option '--graphite'"),
    ],
)
def test_a_wrong_argument_is_told(arguments: tuple[str, ...], sentence: str) -> None:
    """In a sentence, with exit code 2."""
    found = run("alerts", "check", *arguments)
    assert (2, "") == (found.returncode, found.stdout)
    assert sentence in found.stderr
    assert "Traceback" not in found.stderr


@pytest.mark.e2e
def test_a_file_of_ones_own_is_used(systems: Graphite, tmp_path: Path) -> None:
    """Copied and edited, as the shipped one says."""
    path = tmp_path / "mine.yml"
    path.write_text(
        "- {name: length, text: It is long., target: 'aliasByNode(gauge:queue.*.length.all, "
        "gauge#entity)', window: 1h, reduce: max, warning: '> 1000'}\n"
    )
    found = run("alerts", "check", "--graphite", systems.url, "--app", app("queue_bad"),
                "--rules", str(path))  # fmt: skip
    assert (1, True) == (found.returncode, "length mails = 1500 (> 1000)" in found.stdout)


def test_a_wrong_row_of_ones_own_file_is_told(tmp_path: Path) -> None:
    """One sentence with the rule, the key and the cure, and exit code 2."""
    path = tmp_path / "mine.yml"
    path.write_text("- {name: long, text: Long., target: 'gauge:queue.*.length.all', window: 5m}\n")
    found = run("alerts", "check", "--graphite", "http://g", "--rules", str(path))
    sentence = f"celery-statsd: rules: {path}, rule long: reduce is not set; write sum, min"
    assert (2, "") == (found.returncode, found.stdout)
    assert found.stderr.startswith(sentence)
    assert 1 == found.stderr.count("\n")


@pytest.mark.e2e
def test_it_serves_until_it_is_told_to_end(
    systems: Graphite, tmp_path: Path
) -> None:  # fmt: skip
    """JSON at /alerts, 503 when critical; SIGTERM ends it with 0."""
    running = Running(tmp_path, "alerts", "serve", "--graphite", systems.url, "--app",
                      app("queue_bad"), "--listen", "127.0.0.1:0")  # fmt: skip
    try:
        wait_until(lambda: "listening on port" in running.said, 10, "it listens")
        port = int(running.said.split()[-1])
        assert (503, "CRITICAL") == asked(port, "/alerts")
        assert (503, "CRITICAL") == asked(port, "/alerts/queue-long")
        assert (200, "OK") == asked(port, "/alerts/lost")
        assert 0 == running.end(signal.SIGTERM)
    finally:
        running.process.kill()
        running.process.wait(10)


def asked(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", path)
    answer = connection.getresponse()
    state: str = json.loads(answer.read())["state"]
    connection.close()
    return answer.status, state


def test_an_address_nobody_can_listen_at_is_told() -> None:
    """By the option's name."""
    found = run("alerts", "serve", "--graphite", "http://g", "--listen", "nonsense")
    assert (2, True) == (found.returncode, "listen: nonsense cannot be used" in found.stderr)


def test_grafana_gets_a_file_of_all_apps() -> None:
    """A group each."""
    found = run("alerts", "grafana", "--app", "shop", "--app", "batch", "--flavour", "bucky",
                "--datasource", "g1", "--folder", "Work")  # fmt: skip
    groups = yaml.safe_load(found.stdout)["groups"]
    assert (0, ["celery-statsd shop", "celery-statsd batch"], "Work") == (
        found.returncode, [group["name"] for group in groups], groups[0]["folder"]
    )  # fmt: skip
    assert "stats_counts.celery.batch." in groups[1]["rules"][0]["data"][0]["model"]["target"]
