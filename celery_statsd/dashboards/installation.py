"""Puts the dashboards into a Grafana: folder, data source, dashboards, alert rules.

Each step looks first and writes only what differs, so a second run changes nothing. (A Grafana that
gives back a dashboard in a newer form than it was given gets it once more, with the same result.)
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from celery_statsd.dashboards import DASHBOARDS
from celery_statsd.dashboards.alerting import for_api
from celery_statsd.dashboards.grafana import Taste, document
from celery_statsd.dashboards.server import KEY, Server
from celery_statsd.errors import ConfigError

FOLDER = {"uid": "celery-statsd", "title": "Celery"}

SOURCE = "graphite"
"""The uid of the data source, which alert rules name."""

CREATED, CHANGED, THERE = "created", "changed", "unchanged"


def install(
    server: Server, taste: Taste, graphite: str, groups: Iterable[Mapping[str, Any]]
) -> Iterator[tuple[str, str]]:
    """Do all of it, telling what was done to what. `graphite` is the address at which Grafana
    finds it; with none, data sources are left alone. Raises ConfigError."""
    yield _folder(server), f"folder {FOLDER['title']}"
    if graphite:
        yield _source(server, graphite), f"data source {SOURCE}"
    for dashboard in DASHBOARDS:
        yield _dashboard(server, document(dashboard, taste)), f"dashboard {dashboard.title}"
    for group in groups:
        yield _group(server, group), f"alert rules {group['name']}"


def _folder(server: Server) -> str:
    if server.get(f"folders/{FOLDER['uid']}"):
        return THERE
    server.send("POST", "folders", FOLDER)
    return CREATED


def _source(server: Server, graphite: str) -> str:
    wanted = {
        "name": "Graphite", "uid": SOURCE, "type": "graphite", "access": "proxy", "url": graphite,
        "jsonData": {"graphiteVersion": "1.1", "graphiteType": "default"},
    }  # fmt: skip
    there = server.get(f"datasources/uid/{SOURCE}")
    if there is None:
        server.send("POST", "datasources", wanted)
        return CREATED
    if there.get("type") != "graphite":
        problem = f"{server.url} has a data source {SOURCE!r} of another kind"
        raise ConfigError(KEY, problem, "change its uid there")
    if there.get("url") == graphite:
        return THERE
    server.send("PUT", f"datasources/uid/{SOURCE}", there | {"url": graphite})
    return CHANGED


def _dashboard(server: Server, wanted: dict[str, Any]) -> str:
    there = server.get(f"dashboards/uid/{wanted['uid']}")
    if there and _same(there["dashboard"], wanted) and _at_home(there):
        return THERE
    if there and there["meta"].get("provisioned"):
        problem = f"{server.url} reads the dashboard {wanted['uid']} from a file"
        raise ConfigError(KEY, problem, "change that file, or remove it from its provisioning")
    body = {"dashboard": wanted, "folderUid": FOLDER["uid"], "overwrite": True}
    server.send("POST", "dashboards/db", body)
    return CHANGED if there else CREATED


def _same(there: Any, wanted: Any) -> bool:
    """Whether all that is wanted is there. Grafana adds numbers, versions and defaults to objects,
    but nothing to lists."""
    if isinstance(wanted, Mapping) and isinstance(there, Mapping):
        return all(_same(there.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list) and isinstance(there, list):
        return len(there) == len(wanted) and all(map(_same, there, wanted))
    return bool(there == wanted)


def _at_home(there: Mapping[str, Any]) -> bool:
    return bool(there["meta"].get("folderUid") == FOLDER["uid"])


def _group(server: Server, group: Mapping[str, Any]) -> str:
    wanted = for_api(group, FOLDER["uid"])
    path = f"v1/provisioning/folder/{FOLDER['uid']}/rule-groups/{quote(wanted['title'], safe='')}"
    there = server.get(path)
    if there and there.get("interval") == wanted["interval"]:
        rules = {rule["uid"]: rule for rule in there.get("rules") or ()}
        known = [rules.get(rule["uid"], {}) for rule in wanted["rules"]]
        if len(rules) == len(known) and all(map(_same, known, wanted["rules"])):
            return THERE
    server.send("PUT", path, wanted)
    return CHANGED if there else CREATED
