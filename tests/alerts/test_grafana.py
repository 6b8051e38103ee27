"""The rules as Grafana has them: the file, and what it finds by Grafana's own steps."""

import json
import operator
import re
import statistics
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from celery_statsd.alerts.grafana import LONGEST_UID, provisioning
from celery_statsd.alerts.rows import load
from celery_statsd.alerts.target import layout_of
from tests.alerts.world import FAULTS, app_of
from tests.servers.graphite import Graphite
from tests.servers.process import REPOSITORY

COMMITTED = REPOSITORY / "grafana" / "provisioning" / "alerting" / "celery-statsd-default.yaml"
RULES = load()

REDUCERS = {
    "sum": sum, "min": min, "max": max, "mean": statistics.mean, "median": statistics.median,
    "last": lambda values: values[-1],
}  # fmt: skip
EVALUATORS = {"gt": operator.gt, "lt": operator.lt}
GROUP_KEYS = {"orgId", "name", "folder", "interval", "rules"}
RULE_KEYS = {
    "uid", "title", "condition", "for", "noDataState", "execErrState", "labels", "annotations",
    "data",
}  # fmt: skip

Rows = list[dict[str, Any]]


@cache
def document(app: str = "default") -> dict[str, Any]:
    """What the command writes for an app, read by another YAML reader than ours."""
    layout = layout_of("statsd", "celery", app)
    found: dict[str, Any] = yaml.safe_load(provisioning(RULES, [layout], "graphite", "Celery"))
    return found


def rows(app: str = "default") -> Rows:
    found: Rows = document(app)["groups"][0]["rules"]
    return found


def test_what_is_committed_is_what_is_made() -> None:
    """To the letter; `celery-statsd alerts grafana` makes it."""
    layout = layout_of("statsd", "celery", "default")
    assert COMMITTED.read_text() == provisioning(RULES, [layout], "graphite", "Celery")


def test_each_bound_is_a_rule() -> None:
    """In the order of the file, the milder first."""
    assert sum(len(rule.levels) for rule in RULES) == len(rows())
    severities = {(row["title"].split()[2], row["labels"]["severity"]) for row in rows()}
    expected = {(rule.name, state.value.lower()) for rule in RULES for state, _ in rule.levels}
    assert expected == severities


def test_it_has_the_shape_that_grafana_reads() -> None:
    """By Grafana's `rules_types.go`: which keys there are, and what is in them."""
    found = document()
    assert {"apiVersion": 1, "groups": found["groups"]} == found
    for group in found["groups"]:
        assert GROUP_KEYS == set(group)
        assert re.fullmatch(r"\d+s", group["interval"])
    for row in rows():
        assert RULE_KEYS == set(row)
        assert row["noDataState"] in {"OK", "NoData", "Alerting"}
        assert re.fullmatch(r"\d+s", row["for"])
        assert 0 == int(row["for"][:-1]) % 60
        assert [one["refId"] for one in row["data"]] == ["A", "B", "C"]
        assert all("$" not in text for text in row["labels"].values())
        assert "#" not in row["data"][0]["model"]["target"]


def test_uids_are_short_and_unlike() -> None:
    """Grafana's bound, also for an app of a long name."""
    long = [row["uid"] for name in ("a" * 60, "a" * 61) for row in rows(name)]
    assert len(set(long)) == len(long)
    assert all(re.fullmatch(r"[\w-]+", uid) and len(uid) <= LONGEST_UID for uid in long)


def test_several_apps_are_several_groups() -> None:
    """Each with its own names."""
    layouts = [layout_of("statsd", "celery", app) for app in ("shop", "batch")]
    found = yaml.safe_load(provisioning(RULES, layouts, "uid-7", "Work"))
    assert ["celery-statsd shop", "celery-statsd batch"] == [g["name"] for g in found["groups"]]
    uids = [row["uid"] for group in found["groups"] for row in group["rules"]]
    assert len(set(uids)) == len(uids)
    assert {"uid-7"} == {r["data"][0]["datasourceUid"] for g in found["groups"] for r in g["rules"]}


def test_recovery_is_grafanas_own() -> None:
    """`until` is the threshold's unloadEvaluator."""
    row = next(row for row in rows() if row["uid"] == "celery-default-failures-warning")
    assert [
        {
            "evaluator": {"type": "gt", "params": [5.0]},
            "unloadEvaluator": {"type": "lt", "params": [3.0]},
        }
    ] == row["data"][2]["model"]["conditions"]


@pytest.mark.e2e
@pytest.mark.parametrize("name", FAULTS)
def test_grafanas_steps_find_the_same(name: str, graphite: Graphite, systems_end: int) -> None:
    """Sent as Grafana sends it: HTTP 200, names that are unlike, and what fires is what must. All
    rules of a system that is well; of one with a fault those that must fire."""
    fired = set()
    looked_at = {rule for rule, _, _ in FAULTS[name].found}
    for row in rows(app_of(name)):
        rule = row["title"].split()[2]
        if looked_at and rule not in looked_at:
            continue
        for alias, value in reduced(graphite.url, row["data"], systems_end):
            if passed(row, value):
                fired.add((rule, alias, row["labels"]["severity"]))
    expected = {
        (rule, alias, "critical" if state == "AGENT DEAD" else state.lower())
        for rule, alias, state in FAULTS[name].found
    }
    milder = {(rule, alias, "warning") for rule, alias, severity in fired if severity == "critical"}
    assert expected == fired - (milder - expected)


def reduced(url: str, data: Rows, end: int) -> Iterator[tuple[str, float]]:
    """Steps A and B: POST /render, nulls dropped, one value a series. An answer without a series
    is an error here: the made systems have all there is."""
    model, back = data[0]["model"], data[0]["relativeTimeRange"]
    form = {
        "from": end - back["from"], "until": end - back["to"], "format": "json",
        "maxDataPoints": model["maxDataPoints"],
        "target": re.sub(r"'(\d+)m'", r"'\1min'", model["target"]),
    }  # fmt: skip
    request = urllib.request.Request(f"{url}/render", urllib.parse.urlencode(form).encode())
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert 200 == answer.status
        series: list[Mapping[str, Any]] = json.load(answer)
    aliases = [one["target"] for one in series]
    assert aliases
    assert len(set(aliases)) == len(aliases)
    for one in series:
        values = [value for value, _ in one["datapoints"] if value is not None]
        if values:
            yield one["target"], REDUCERS[data[1]["model"]["reducer"]](values)


def passed(row: dict[str, Any], value: float) -> bool:
    """Step C."""
    evaluator = row["data"][2]["model"]["conditions"][0]["evaluator"]
    return EVALUATORS[evaluator["type"]](value, evaluator["params"][0])


def test_the_file_is_where_grafana_looks() -> None:
    """`provisioning/alerting`, as a .yaml."""
    assert Path("grafana/provisioning/alerting") == COMMITTED.parent.relative_to(REPOSITORY)
