"""`celery-statsd dashboards` as it is called: files, exit codes, sentences."""

import json
from pathlib import Path

from tests.cli.program import run
from tests.dashboards.stub import TOKEN, grafana
from tests.servers.process import free_port


def test_write(tmp_path: Path) -> None:
    """Five files, of the flavour and the app that were asked for; a second time none."""
    arguments = (
        "dashboards",
        "write",
        "--flavour",
        "bucky",
        "--app",
        "a.b",
        "--out",
        str(tmp_path),
    )
    found = run(*arguments)
    assert (0, "") == (found.returncode, found.stderr)
    assert 5 == len(list(tmp_path.glob("celery-*.json")))
    text = (tmp_path / "celery-overview.json").read_text()
    assert "stats_counts.celery.a-b.cluster.all.lost.*)" in text
    assert "Celery / Overview" == json.loads(text)["title"]
    assert run(*arguments).stdout.startswith("0 of 5 files written")


def test_write_where_nobody_may(tmp_path: Path) -> None:
    """A file in the place of the folder: one sentence, 2."""
    (tmp_path / "f").write_text("")
    found = run("dashboards", "write", "--out", str(tmp_path / "f"))
    assert (2, 1) == (found.returncode, found.stderr.count("\n"))
    assert found.stderr.startswith("celery-statsd: out: ")


def test_check_without_graphite() -> None:
    """One sentence, 2."""
    url = f"http://127.0.0.1:{free_port()}"
    found = run("dashboards", "check", "--graphite", url)
    assert 2 == found.returncode
    assert found.stderr.startswith(f"celery-statsd: graphite: {url} does not answer")


def test_install(tmp_path: Path) -> None:
    """With the token of the environment; a second time nothing is changed."""
    rules = tmp_path / "rules.yaml"
    rules.write_text("groups: [{name: celery, interval: 60s, rules: []}]")
    with grafana() as there:
        arguments = (
            "dashboards", "install", "--grafana", there.url, "--graphite", "http://graphite",
            "--rules", str(rules),
        )  # fmt: skip
        first = run(*arguments, env={"GRAFANA_TOKEN": TOKEN})
        second = run(*arguments, env={"GRAFANA_TOKEN": TOKEN})
        refused = run(*arguments, env={"GRAFANA_TOKEN": "wrong"})
    assert (0, "") == (first.returncode, first.stderr)
    assert ["created"] * 8 == [line.split()[0] for line in first.stdout.splitlines()]
    assert ["unchanged"] * 8 == [line.split()[0] for line in second.stdout.splitlines()]
    assert 2 == refused.returncode
    assert refused.stderr.startswith("celery-statsd: GRAFANA_TOKEN: ")


def test_install_without_a_token() -> None:
    """It says how to get one."""
    found = run("dashboards", "install", "--grafana", "http://grafana", env={"GRAFANA_TOKEN": ""})
    assert 2 == found.returncode
    assert "GRAFANA_TOKEN: is not set; make a service account" in found.stderr
