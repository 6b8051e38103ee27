"""A dashboard as Grafana's classic JSON, the form that versions 9 to 13 import and provision.

Plain dicts, always in the same order, so the files can be compared. The format:
https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from celery_statsd.dashboards.flavours import FLAVOURS, Layout
from celery_statsd.dashboards.panels import Dashboard, Link, Panel, Row, Steps, Variable, Words
from celery_statsd.dashboards.targets import KINDS, answerable, named, query
from celery_statsd.errors import ConfigError
from celery_statsd.metric import Kind
from celery_statsd.names import Names
from celery_statsd.rules import WORDS

TAG = "celery-statsd"
SCHEMA = 39
"""Grafana 9 to 13 read it, the newer ones by migration."""

WIDTH = 24
"""Columns of a page."""

VARIABLE_SOURCE, VARIABLE_APP = "${datasource}", "$app"

COLOURS = {
    "sent": "#8AB8FF", "received": "#5794F2", "started": "#1F60C4", "succeeded": "#73BF69",
    "failed": "#F2495C", "retried": "#FF9830", "revoked": "#B877D9", "rejected": "#8F3BB8",
    "returned": "#CA95E5", "unreported": "#FA6400", "lost": "#C4162A", "found": "#FADE2A",
    "expired": "#A0A7B4", "unseen": "#6E7580", "queued": "#F2CC0C", "reserved": "#8AB8FF",
    "running": "#56A64B", "events_counted": "#73BF69", "events_doubled": "#8AB8FF",
    "events_bad": "#F2495C", "events_dropped": "#A0A7B4", "wait": "#FF9830",
}  # fmt: skip
"""A stage or an ending has the same colour wherever it is drawn."""


@dataclass(frozen=True, slots=True)
class Taste:
    """What may differ from shop to shop. `percentiles` are those the StatsD makes, `datasource` the
    uid of a Graphite; without, the reader of the dashboard chooses. The same goes for the app."""

    layout: Layout = field(default_factory=Layout)
    percentiles: tuple[str, ...] = ()
    datasource: str = VARIABLE_SOURCE

    @property
    def known_percentiles(self) -> tuple[str, ...]:
        """Those asked for, or those the flavour makes by itself."""
        return self.percentiles or self.layout.flavour.percentiles

    @property
    def source(self) -> dict[str, str]:
        """The datasource as each panel names it."""
        return {"type": "graphite", "uid": self.datasource}


def taste_of(flavour: str, prefix: str, app: str, percentiles: str, datasource: str) -> Taste:
    """What texts ask for, each empty for its default; prefix and app as the agent has them.
    Raises ConfigError."""
    numbers = tuple(part.strip().replace(".", "_") for part in percentiles.split(",") if part)
    if not all(re.fullmatch(r"\d{1,2}(_\d+)?", number) for number in numbers):
        raise ConfigError("percentiles", f"{percentiles!r} are none", "write 90,95,99.9")
    # The agent makes safe nodes of both.
    path = Names(prefix, app or "app", "all", WORDS).series("cluster", "all", "sent", Kind.COUNTER)
    head, _, node = path.path.rsplit(".", 4)[0].rpartition(".")
    layout = Layout(FLAVOURS[flavour], head, node if app else VARIABLE_APP)
    return Taste(layout, numbers, datasource or VARIABLE_SOURCE)


def document(dashboard: Dashboard, taste: Taste) -> dict[str, Any]:
    """The whole dashboard. Panels that no target of this flavour can fill are left out."""
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.text,
        "tags": ["celery", TAG],
        "schemaVersion": SCHEMA,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timepicker": {"nowDelay": "30s"},
        "timezone": "browser",
        "annotations": {"list": []},
        "links": [_links()],
        "templating": {"list": list(_variables(dashboard, taste))},
        "panels": list(_panels(dashboard.rows, taste)),
    }


def shown(panel: Panel, layout: Layout) -> tuple[str, ...]:
    """The targets of a panel that this layout can answer, as Graphite is asked."""
    return tuple(query(t, layout) for t in panel.targets if answerable(t, layout))


def number_of(dashboard: Dashboard, title: str) -> int:
    """The id of the panel called `title`: what an alert rule is linked to. Raises KeyError."""
    for number, part in _numbered(dashboard.rows):
        if isinstance(part, Panel) and part.title == title:
            return number
    raise KeyError(title)


def _numbered(rows: Sequence[Row]) -> Iterator[tuple[int, Row | Panel]]:
    """Headlines and panels with their ids, which do not depend on what a flavour leaves out."""
    parts: list[Row | Panel] = []
    for row in rows:
        parts += [row, *row.panels]
    return enumerate(parts, 1)


def _panels(rows: Sequence[Row], taste: Taste) -> Iterator[dict[str, Any]]:
    """All panels under their headlines, each line of them as high as its highest."""
    x = y = height = 0
    for number, part in _numbered(rows):
        if isinstance(part, Row):
            x, y, height = 0, y + height, 0
            yield _headline(part, number, y)
            y += 1
        elif targets := shown(part, taste.layout):
            if x + part.width > WIDTH:
                x, y, height = 0, y + height, 0
            place = {"h": part.height, "w": part.width, "x": x, "y": y}
            x, height = x + part.width, max(height, part.height)
            yield _panel(part, number, place, targets, taste)


def _headline(row: Row, number: int, y: int) -> dict[str, Any]:
    place = {"h": 1, "w": WIDTH, "x": 0, "y": y}
    return {
        "id": number, "type": "row", "title": row.title, "collapsed": False, "gridPos": place,
        "panels": [],
    }  # fmt: skip


def _panel(
    panel: Panel, number: int, place: dict[str, int], targets: Sequence[str], taste: Taste
) -> dict[str, Any]:
    return {
        "id": number,
        "type": panel.type,
        "title": panel.title,
        "description": panel.description,
        "gridPos": place,
        "datasource": taste.source,
        "targets": [
            {"refId": chr(65 + n), "datasource": taste.source, "target": target, "textEditor": True}
            for n, target in enumerate(targets)
        ],
        "fieldConfig": {"defaults": _defaults(panel, taste), "overrides": list(_overrides(panel))},
        "options": _OPTIONS[panel.type](panel),
    }


def _defaults(panel: Panel, taste: Taste) -> dict[str, Any]:
    """How the values of a panel are shown."""
    valued = panel.type != "timeseries"
    defaults: dict[str, Any] = {
        "unit": panel.unit,
        "color": {"mode": "thresholds" if valued else "palette-classic"},
        "thresholds": {"mode": "absolute", "steps": _steps(panel.steps)},
        "mappings": _mappings(panel.words),
        "custom": _drawn(panel) if panel.type in ("timeseries", "state-timeline") else {},
    }
    if panel.places is not None or panel.bars:
        defaults["decimals"] = panel.places or 0
    if panel.type == "timeseries" and not panel.signed:
        defaults["min"] = 0
    if panel.empty and panel.type != "timeseries":  # which would say it of every hole, too
        defaults["noValue"] = "-" if panel.type == "stat" else f"Nothing: {panel.empty}"
    if panel.link:
        defaults["links"] = [_link(panel.link, taste)]
    return defaults


def _steps(steps: Steps) -> list[dict[str, Any]]:
    return [{"color": colour, "value": value} for value, colour in steps]


def _mappings(words: Words) -> list[dict[str, Any]]:
    options = {
        str(value): {"text": text, "color": colour, "index": index}
        for index, (value, text, colour) in enumerate(words)
    }
    return [{"type": "value", "options": options}] if options else []


def _drawn(panel: Panel) -> dict[str, Any]:
    """The lines, bars or areas of a graph."""
    if panel.type == "state-timeline":
        return {"fillOpacity": 80, "lineWidth": 0}
    zones = {"": "off", "area": "area", "line": "dashed"}
    return {
        "drawStyle": "bars" if panel.bars else "line",
        "lineInterpolation": "linear",
        "lineWidth": 0 if panel.bars else 1,
        "fillOpacity": 70 if panel.bars else 35 if panel.stacked else 8,
        "gradientMode": "none",
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": zones[panel.zone]},
    }


def _overrides(panel: Panel) -> Iterator[dict[str, Any]]:
    """The colours of lines that are called after a metric."""
    if not any(f"@{kind}.metric" in target for kind in KINDS for target in panel.targets):
        return
    names = dict.fromkeys(
        name for target in panel.targets for metric in named(target) for name in metric.metrics
    )
    for name in names:
        if name in COLOURS:
            yield {
                "matcher": {"id": "byName", "options": name},
                "properties": [
                    {"id": "color", "value": {"mode": "fixed", "fixedColor": COLOURS[name]}}
                ],
            }


def _reduced(panel: Panel) -> dict[str, Any]:
    return {"calcs": [panel.reduce], "fields": "", "values": False}


def _stat(panel: Panel) -> dict[str, Any]:
    return {
        "reduceOptions": _reduced(panel),
        "colorMode": "background",
        "graphMode": "area" if panel.sparkline else "none",
        "justifyMode": "center",
        "orientation": "auto",
        "textMode": "value",
    }


def _bars(panel: Panel) -> dict[str, Any]:
    return {
        "reduceOptions": _reduced(panel),
        "displayMode": "basic",
        "orientation": "horizontal",
        "valueMode": "color",
        "showUnfilled": True,
        "minVizHeight": 14,
        "minVizWidth": 8,
    }


def _graph(panel: Panel) -> dict[str, Any]:
    del panel
    return {
        "legend": {
            "displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": [],
        },
        "tooltip": {"mode": "multi", "sort": "desc"},
    }  # fmt: skip


def _timeline(panel: Panel) -> dict[str, Any]:
    del panel
    return {
        "alignValue": "left",
        "mergeValues": True,
        "rowHeight": 0.8,
        "showValue": "never",
        "legend": {
            "displayMode": "list", "placement": "bottom", "showLegend": False, "calcs": [],
        },
        "tooltip": {"mode": "single", "sort": "none"},
    }  # fmt: skip


_OPTIONS = {"stat": _stat, "bargauge": _bars, "timeseries": _graph, "state-timeline": _timeline}
"""What each type of panel wants to know beside its values."""


def _link(link: Link, taste: Taste) -> dict[str, Any]:
    """The time and what was chosen go along."""
    chosen = ["${__url_time_range}"]
    if taste.datasource == VARIABLE_SOURCE:
        chosen.append("${datasource:queryparam}")
    if taste.layout.app == VARIABLE_APP:
        chosen.append("${app:queryparam}")
    if link.variable:
        chosen.append(f"var-{link.variable}=${{__series.name}}")
    address = f"/d/{link.uid}?{'&'.join(chosen)}"
    return {"title": link.title, "url": address, "targetBlank": False}


def _links() -> dict[str, Any]:
    """Each of these dashboards leads to all others."""
    return {
        "type": "dashboards", "title": "Celery", "tags": [TAG], "asDropdown": False,
        "includeVars": True, "keepTime": True, "targetBlank": False, "icon": "external link",
        "tooltip": "", "url": "",
    }  # fmt: skip


def _variables(dashboard: Dashboard, taste: Taste) -> Iterator[dict[str, Any]]:
    if taste.datasource == VARIABLE_SOURCE:
        yield {"name": "datasource", "label": "Graphite", "type": "datasource",
               "query": "graphite", "refresh": 1, "hide": 0}  # fmt: skip
    if taste.layout.app == VARIABLE_APP:
        app = Variable("app", "App", "C", "cluster", "received")
        yield _choice(app, taste, "app") | {"multi": False, "includeAll": False}
    if dashboard.choice:
        yield _choice(dashboard.choice, taste, "entity") | {
            "multi": True,
            "includeAll": True,
            "allValue": "*",
            "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        }
    yield _percentile(taste.known_percentiles)


def _choice(variable: Variable, taste: Taste, part: str) -> dict[str, Any]:
    """Asks Graphite which nodes there are."""
    kind, layout = KINDS[variable.kind], taste.layout
    path = query(f"{variable.kind}[{variable.family}.*.{variable.metric}]", layout)
    nodes = path.split(".")[: layout.node(kind, part) + 1]
    return {
        "name": variable.name,
        "label": variable.label,
        "type": "query",
        "datasource": taste.source,
        "query": ".".join([*nodes[:-1], "*"]),
        "refresh": 2,
        "sort": 1,
        "hide": 0,
    }


def _percentile(percentiles: Sequence[str]) -> dict[str, Any]:
    """Nothing to choose where the StatsD makes one only."""
    first = percentiles[0]
    return {
        "name": "pct",
        "label": "Percentile",
        "type": "custom",
        "query": ",".join(percentiles),
        "current": {"selected": True, "text": first, "value": first},
        "options": [{"selected": p == first, "text": p, "value": p} for p in percentiles],
        "includeAll": False,
        "multi": False,
        "hide": 2 if len(percentiles) == 1 else 0,
    }
