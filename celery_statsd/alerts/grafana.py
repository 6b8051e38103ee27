"""The rules for Grafana: the file it reads from `provisioning/alerting`.

Each bound of a rule is a rule there, made of three steps: the query, its points reduced without
their nulls, the bound. `until` is Grafana's recovery threshold. Rules are written out for each app,
since an alert may hold no variable. The format: `rules_types.go` and
`testdata/alerting/file-provisioning` of Grafana's `pkg/services/provisioning`.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from celery_statsd.alerts.graphite import MAX_POINTS
from celery_statsd.alerts.judgement import STEP
from celery_statsd.alerts.rule import AlertRule, Bound, State
from celery_statsd.alerts.target import spelt
from celery_statsd.dashboards.flavours import Layout
from celery_statsd.document import written
from celery_statsd.names import digest

LONGEST_UID = 40
"""Characters; Grafana takes no more."""

_EVALUATORS = {">": "gt", "<": "lt"}
_NO_DATA = {State.OK: "OK", State.NO_DATA: "NoData", State.CRITICAL: "Alerting"}

HEAD = """\
# Made by `celery-statsd alerts grafana`: change the rules (alerts.yml) and make it anew. It goes to
# Grafana's provisioning/alerting. While the agent is dead, what Grafana says of the other rules is
# about old numbers: see to that one first.
"""


def provisioning(
    rules: Sequence[AlertRule], layouts: Iterable[Layout], datasource: str, folder: str
) -> str:
    """The file: a group an app, for the data source of that uid. Raises ValueError when a target
    cannot be spelt."""
    groups = [_group(rules, layout, datasource, folder) for layout in layouts]
    return HEAD + written({"apiVersion": 1, "groups": groups})


def _group(
    rules: Sequence[AlertRule], layout: Layout, datasource: str, folder: str
) -> dict[str, Any]:
    rows = [
        _rule(rule, state, bound, layout, datasource)
        for rule in rules
        for state, bound in reversed(rule.levels)
    ]
    return {
        "orgId": 1,
        "name": f"celery-statsd {layout.app}",
        "folder": folder,
        "interval": f"{STEP:.0f}s",
        "rules": rows,
    }


def _rule(
    rule: AlertRule, state: State, bound: Bound, layout: Layout, datasource: str
) -> dict[str, Any]:
    severity = state.value.lower()
    shown = '{{ index $labels "name" }} = {{ $values.B }}'
    both = len(rule.levels) > 1
    return {
        "uid": _uid(f"celery-{layout.app}-{rule.name}" + (f"-{severity}" if both else "")),
        "title": f"Celery {layout.app}: {rule.name}" + (f" ({severity})" if both else ""),
        "condition": "C",
        "for": f"{rule.hold:.0f}s",
        "noDataState": _no_data(rule),
        "execErrState": "Error",
        "labels": {"severity": severity, "service": "celery", "app": layout.app},
        "annotations": {
            "summary": f"{rule.name} {shown} ({bound})",
            "description": rule.text,
        },
        "data": [
            _query(rule, layout, datasource),
            _expression(
                "B", {"type": "reduce", "expression": "A", "reducer": rule.reduce,
                      "settings": {"mode": "dropNN"}},
            ),
            _expression("C", {"type": "threshold", "expression": "B",
                              "conditions": [_condition(bound)]}),
        ],
    }  # fmt: skip


def _no_data(rule: AlertRule) -> str:
    """Grafana knows no difference between no series and no value: what may be missing is well."""
    return "OK" if rule.may_be_empty else _NO_DATA[rule.no_data]


def _query(rule: AlertRule, layout: Layout, datasource: str) -> dict[str, Any]:
    return {
        "refId": "A",
        "relativeTimeRange": {"from": int(rule.window), "to": 0},
        "datasourceUid": datasource,
        "model": {
            "refId": "A",
            "target": spelt(rule.target, layout),
            "textEditor": True,
            "intervalMs": 1000,
            "maxDataPoints": MAX_POINTS,
        },
    }


def _expression(ref: str, model: dict[str, Any]) -> dict[str, Any]:
    return {"refId": ref, "datasourceUid": "__expr__", "model": {"refId": ref, **model}}


def _condition(bound: Bound) -> dict[str, Any]:
    found: dict[str, Any] = {"evaluator": _evaluator(bound)}
    if bound.until:
        found["unloadEvaluator"] = _evaluator(bound.until)
    return found


def _evaluator(bound: Bound) -> dict[str, Any]:
    return {"type": _EVALUATORS[bound.sign], "params": [bound.value]}


def _uid(name: str) -> str:
    return name if len(name) <= LONGEST_UID else f"{name[: LONGEST_UID - 9]}-{digest(name)}"
