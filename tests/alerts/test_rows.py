"""The shipped file, and each way to get a row wrong: one sentence with rule, key and cure."""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from celery_statsd.alerts.rows import KNOWN, chosen, load, shipped
from celery_statsd.alerts.rule import Bound, State
from celery_statsd.alerts.target import mentions, spelt
from celery_statsd.dashboards.flavours import FLAVOURS, Layout
from celery_statsd.document import written
from celery_statsd.errors import ConfigError
from tests.servers.process import REPOSITORY

ROW: dict[str, Any] = {
    "name": "lost",
    "text": "Lost.",
    "target": "sumSeries(counter:cluster.all.lost.*)",
    "window": "15min",
    "reduce": "sum",
    "critical": "> 0",
}


def file(folder: Path, *rows: Any) -> str:
    """An alerts.yml of these rows."""
    path = folder / "alerts.yml"
    path.write_text(written(list(rows)))
    return str(path)


def told(path: str) -> str:
    """The one sentence about it."""
    with pytest.raises(ConfigError) as caught:
        load(path)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def test_the_shipped_rules_name_metrics_of_the_catalogue_only() -> None:
    """By kind, family and metric; and they can be spelt for every flavour."""
    assert REPOSITORY / "config" / "alerts.yml" == shipped()
    for rule in load():
        for kind, family, metric in mentions(rule.target):
            families = {family} if family else {"task", "queue", "worker"}
            assert any((kind, one, metric) in KNOWN for one in families), (rule.name, metric)
        for flavour in FLAVOURS.values():
            query = spelt(rule.target, Layout(flavour, app="shop"))
            assert not any(f"{kind}:" in query for kind in ("counter", "gauge", "timer"))
            assert "#" not in query


def test_the_shipped_queries_are_sound() -> None:
    """What Grafana and Graphite would stumble over."""
    rules = load()
    assert "agent" == rules[0].name
    assert len({rule.name for rule in rules}) == len(rules)
    for rule in rules:
        query = spelt(rule.target, Layout(app="shop"))
        assert query.count("(") == query.count(")")
        assert "$" not in query
        for path in re.findall(r"stats[\w.*{},%-]+", query):
            assert all(one != other or one == "*" for one, other in pairwise(path.split(".")))


def test_a_row_becomes_a_rule(tmp_path: Path) -> None:
    """Each key."""
    row = {**ROW, "warning": "< 1 until > 2.5", "for": "2h", "no_data": "ok", "may_be_empty": True}
    (rule,) = load(file(tmp_path, row))
    assert ("lost", "Lost.", 900.0, "sum", 7200.0) == (
        rule.name, rule.text, rule.window, rule.reduce, rule.hold
    )  # fmt: skip
    assert (Bound("<", 1, Bound(">", 2.5)), Bound(">", 0)) == (rule.warning, rule.critical)
    assert (State.OK, True) == (rule.no_data, rule.may_be_empty)


def test_what_is_not_set_has_a_default(tmp_path: Path) -> None:
    """No hold, no data is unknown, an empty answer an error."""
    (rule,) = load(file(tmp_path, ROW))
    assert (0.0, State.NO_DATA, False, None) == (
        rule.hold, rule.no_data, rule.may_be_empty, rule.warning
    )  # fmt: skip


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("name", "Lost Tasks", "name: 'Lost Tasks' is no name; write small letters"),
        ("name", 7, "name: 7 is no name"),
        ("text", "", "text: '' is no text; write what it means when it fires"),
        ("target", "sumSeries(a.b.c)", "target: 'sumSeries(a.b.c)' names no metric; write a query"),
        ("target", "f(counter:cluster.all.lost.*", "has brackets that do not match"),
        ("target", "f(counter:cluster.all.gone.*)", "names counter gone of cluster: there is none"),
        ("target", "f(gauge:cluster.all.lost.*)", "names gauge lost of cluster: there is none"),
        ("target", "f(counter:%.gone.*)", "names counter gone of any family: there is none"),
        ("target", "f(counter:cluster.all.lost)", "is not counter:family.entity.metric.reporter"),
        ("target", "movingSum(counter:cluster.all.lost.*,'5m')", "has minutes written as m"),
        ("window", "15m", "window: '15m' is no duration; write a whole number and s, min, h or d"),
        ("window", "0s", "window: '0s' is no time at all"),
        ("window", 15, "window: 15 is no duration"),
        ("reduce", "average", "reduce: 'average' is none of them; write sum, min, max, mean"),
        ("critical", "5", "critical: '5' is no bound; write \"> 5\""),
        ("critical", 5, "critical: 5 is no bound"),
        ("critical", ">= 5", "critical: '>= 5' is no bound"),
        ("warning", "> 5 until > 3", "warning: '> 5 until > 3' ends where it begins"),
        ("warning", "> 5 until < 6", "warning: '> 5 until < 6' ends where it begins"),
        ("for", "soon", "for: 'soon' is no duration"),
        ("no_data", "maybe", "no_data: 'maybe' is none of them; write ok, no data, critical"),
        ("may_be_empty", "yes please", "may_be_empty: 'yes please' is neither; write true or"),
        ("severity", "high", "severity is no key; take name, text, target"),
    ],
)
def test_a_wrong_value_is_told(tmp_path: Path, key: str, value: Any, sentence: str) -> None:
    """With the rule, the key, and the cure."""
    path = file(tmp_path, {**ROW, key: value})
    found = told(path)
    rule = (
        "rule 1" if key == "name" and value == 7 else f"rule {value if key == 'name' else 'lost'}"
    )
    assert f"rules: {path}, {rule}: " in found
    assert sentence in found


@pytest.mark.parametrize("key", [key for key in ROW if key != "critical"])
def test_a_missing_key_is_told(tmp_path: Path, key: str) -> None:
    """With what it should be."""
    row = {name: value for name, value in ROW.items() if name != key}
    assert f"{key} is not set; write " in told(file(tmp_path, row))


def test_a_rule_without_a_bound_is_told(tmp_path: Path) -> None:
    """It could never fire."""
    row = {name: value for name, value in ROW.items() if name != "critical"}
    assert "rule lost: critical is not set, nor is warning; write" in told(file(tmp_path, row))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "it is no list of rules; write `- name: ...`"),
        ("rules: 7", "it is no list of rules"),
        ("- 7", "rule 1: it is no row"),
        ("- name: [", "mend the YAML there"),
        ("- &a {name: b}\n- *a", "something in it uses an alias; write it plainly"),
        ("- !!python/object:os.system {}", "something in it has a tag"),
    ],
)
def test_a_file_that_is_none_is_told(tmp_path: Path, text: str, sentence: str) -> None:
    """Before any rule of it."""
    path = tmp_path / "alerts.yml"
    path.write_text(text)
    assert sentence in told(str(path))


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    """By the option that names it."""
    assert told(str(tmp_path / "none.yml")).startswith("rules: ")


def test_a_name_that_is_there_twice_is_told(tmp_path: Path) -> None:
    """Two alerts of one name would hide each other."""
    assert "rule lost: its name is there twice" in told(file(tmp_path, ROW, ROW))


def test_some_can_be_chosen() -> None:
    """The agent's always with them; a name nobody has is told with those there are."""
    rules = load()
    assert rules == chosen(rules, ())
    assert ["agent", "lost"] == [rule.name for rule in chosen(rules, ("lost",))]
    with pytest.raises(ConfigError, match=r"rule: there is none called lots; take agent, .*lost"):
        chosen(rules, ("lots",))
