"""Into a Grafana: all of it, once, and nothing at the second run. The Grafana is a stand-in."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from celery_statsd.dashboards import DASHBOARDS
from celery_statsd.dashboards.grafana import Taste, document
from celery_statsd.dashboards.installation import install
from celery_statsd.dashboards.server import Server
from celery_statsd.errors import ConfigError
from tests.dashboards.stub import TOKEN, Grafana, grafana

RULE = {
    "uid": "celery-lost", "title": "Lost", "condition": "C", "for": "0s", "noDataState": "OK",
    "execErrState": "Error", "data": [{"refId": "A", "model": {"target": "x"}}],
}  # fmt: skip
GROUP = {"orgId": 1, "name": "celery / shop", "interval": "60s", "rules": [RULE]}

GRAPHITE = "http://graphite"


@pytest.fixture
def there() -> Iterator[Grafana]:
    """An empty Grafana."""
    with grafana() as made:
        yield made


def installed(there: Grafana, taste: Taste | None = None, *groups: Any) -> dict[str, str]:
    """What was done, by what it was done to."""
    steps = install(Server(there.url, TOKEN), taste or Taste(), GRAPHITE, groups or (GROUP,))
    return {what: done for done, what in steps}


def test_all_is_there_afterwards(there: Grafana) -> None:
    """In one folder; rules and source under the uids that are asked for."""
    done = installed(there)

    assert {"created"} == set(done.values())
    assert 1 + 1 + len(DASHBOARDS) + 1 == len(done)
    for dashboard in DASHBOARDS:
        found = there.store[f"dashboards/uid/{dashboard.uid}"]
        assert "celery-statsd" == found["meta"]["folderUid"]
        assert document(dashboard, Taste()).items() <= found["dashboard"].items()
    assert GRAPHITE == there.store["datasources/uid/graphite"]["url"]
    (path,) = (path for path in there.store if "rule-groups" in path)
    assert path.endswith("/celery-statsd/rule-groups/celery%20%2F%20shop")


def test_a_second_run_writes_nothing(there: Grafana) -> None:
    """Not one request that could change anything."""
    installed(there)
    before = len(there.writes)
    assert {"unchanged"} == set(installed(there).values())
    assert before == len(there.writes)


def test_what_differs_is_written_anew(there: Grafana) -> None:
    """And only that: a dashboard somebody changed, a source that moved, a rule more."""
    installed(there)
    there.store["dashboards/uid/celery-task"]["dashboard"]["title"] = "Mine"
    there.store["datasources/uid/graphite"]["url"] = "http://elsewhere"
    more = GROUP | {"rules": [RULE, RULE | {"uid": "celery-failed"}]}
    done = installed(there, None, more)

    changed = {"data source graphite", "dashboard Celery / Task", "alert rules celery / shop"}
    assert changed == {what for what, how in done.items() if how == "changed"}
    assert {"unchanged"} == {how for what, how in done.items() if what not in changed}
    assert 2 == there.store["dashboards/uid/celery-task"]["dashboard"]["version"]


def test_a_changed_query_of_a_rule_is_written_anew(there: Grafana) -> None:
    """What Grafana adds by itself is no change, what somebody changed is."""
    installed(there)
    (path,) = (path for path in there.store if "rule-groups" in path)
    there.store[path]["rules"][0]["data"][0]["model"]["target"] = "y"
    done = installed(there)
    assert {"alert rules celery / shop"} == {w for w, how in done.items() if how == "changed"}
    assert "x" == there.store[path]["rules"][0]["data"][0]["model"]["target"]


def test_another_taste_changes_all_dashboards(there: Grafana) -> None:
    """The legacy names of a StatsD, say."""
    installed(there)
    done = installed(there, replace(Taste(), percentiles=("95",)))
    assert {"changed"} == {how for what, how in done.items() if what.startswith("dashboard ")}


def test_a_source_of_another_kind_is_left_alone(there: Grafana) -> None:
    """It is not ours."""
    there.store["datasources/uid/graphite"] = {"uid": "graphite", "type": "loki", "name": "L"}
    with pytest.raises(ConfigError, match=r"^grafana: .* of another kind; change its uid there"):
        installed(there)
    assert "loki" == there.store["datasources/uid/graphite"]["type"]


def test_what_a_file_provisions_is_not_overwritten(there: Grafana) -> None:
    """Grafana would put it back."""
    installed(there)
    there.store["dashboards/uid/celery-task"]["dashboard"]["title"] = "From a file"
    there.store["dashboards/uid/celery-task"]["meta"]["provisioned"] = True
    with pytest.raises(ConfigError, match=r"^grafana: .* celery-task from a file"):
        installed(there)


def test_without_an_address_sources_are_left_alone(there: Grafana) -> None:
    """The reader chooses one at the top of a dashboard."""
    list(install(Server(there.url, TOKEN), Taste(), "", ()))
    assert not any(path.startswith("datasources") for path in there.store)
