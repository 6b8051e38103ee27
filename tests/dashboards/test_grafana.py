"""The JSON: Grafana's own types accept it, and what it says is what the rows say."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from celery_statsd.dashboards import DASHBOARDS, overview, task
from celery_statsd.dashboards.files import committed
from celery_statsd.dashboards.flavours import FLAVOURS, Layout
from celery_statsd.dashboards.grafana import (
    COLOURS,
    WIDTH,
    Taste,
    document,
    number_of,
    shown,
    taste_of,
)
from celery_statsd.dashboards.panels import Dashboard
from celery_statsd.errors import ConfigError
from celery_statsd.rules import CATALOGUE
from tests.servers.process import CACHE, program

TYPES = CACHE / "grafana" / "node_modules"

PANELS = {
    "stat": "stat/panelcfg/x/StatPanelCfg",
    "bargauge": "bargauge/panelcfg/x/BarGaugePanelCfg",
    "timeseries": "timeseries/panelcfg/x/TimeSeriesPanelCfg",
    "state-timeline": "statetimeline/panelcfg/x/StateTimelinePanelCfg",
}
"""Where the package has the types of each kind of panel."""

DRAWN = ("timeseries", "state-timeline")
"""The kinds that have settings of their own for each field."""

LOOSE = """\
type Loose<T> =
  T extends string ? `${T}` : T extends (infer U)[] ? Loose<U>[]
  : T extends object ? { [K in keyof T]?: Loose<T[K]> } : T;
"""
"""JSON has the values of an enumeration, not its names; what is left out has a default."""

each_dashboard = pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda d: d.uid)


def imports() -> Iterator[str]:
    """The types a dashboard is checked against."""
    yield "import type { Dashboard } from '@grafana/schema';\n"
    for number, (kind, path) in enumerate(PANELS.items()):
        names = f"Options as O{number}"
        if kind in DRAWN:
            names += f", FieldConfig as F{number}"
        source = f"@grafana/schema/dist/esm/raw/composable/{path}_types.gen"
        yield f"import type {{ {names} }} from '{source}';\n"


def statements(name: str, found: dict[str, Any]) -> Iterator[str]:
    """One constant for the dashboard, one or two for each panel."""
    yield f"export const {name}: Loose<Dashboard> = {json.dumps(found)};\n"
    kinds = list(PANELS)
    for panel in found["panels"]:
        if panel["type"] in kinds:
            kind, at = kinds.index(panel["type"]), f"{name}_{panel['id']}"
            yield f"export const o{at}: Loose<O{kind}> = {json.dumps(panel['options'])};\n"
            custom = panel["fieldConfig"]["defaults"]["custom"]
            if panel["type"] in DRAWN:
                yield f"export const f{at}: Loose<F{kind}> = {json.dumps(custom)};\n"


def complaints(folder: Path, documents: dict[str, dict[str, Any]]) -> list[str]:
    """What the compiler of TypeScript says of them."""
    if not TYPES.is_dir():
        if os.environ.get("CI"):
            pytest.fail("@grafana/schema is not installed: run tests/install")
        pytest.skip("@grafana/schema is not installed: run tests/install")
    (folder / "node_modules").symlink_to(TYPES)
    lines = [*imports(), LOOSE]
    for name, found in documents.items():
        lines += statements(name, found)
    (folder / "all.ts").write_text("".join(lines))
    flags = "--noEmit --strict --target es2022 --module nodenext --moduleResolution nodenext"
    answer = subprocess.run(
        [program("node"), TYPES / "typescript" / "bin" / "tsc", *flags.split(), "--skipLibCheck",
         "all.ts"], cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    told = (answer.stdout + answer.stderr).splitlines()
    assert bool(told) == bool(answer.returncode), told
    return told


def as_committed() -> dict[str, dict[str, Any]]:
    """All files, by names fit for a program."""
    return {
        f"d{number}": json.loads(text)
        for number, (name, text) in enumerate(committed().items())
        if name.endswith(".json")
    }


def test_grafana_knows_all_that_is_written(tmp_path: Path) -> None:
    """The types of @grafana/schema: dashboards, options of panels, settings of fields."""
    assert [] == complaints(tmp_path, as_committed())


def test_a_slip_would_be_seen(tmp_path: Path) -> None:
    """A word for a number, a key nobody knows, a value that is none: each is told."""
    one, two, three, four = (document(overview.DASHBOARD, Taste()) for _ in range(4))
    one["schemaVersion"] = "39"
    two["graphTooltips"] = 1
    three["panels"][1]["options"]["colorMode"] = "backdrop"
    next(p for p in four["panels"] if p["type"] == "timeseries")["fieldConfig"]["defaults"][
        "custom"
    ]["drawStyle"] = "lines"
    told = "\n".join(complaints(tmp_path, {"a": one, "b": two, "c": three, "d": four}))

    assert "Type 'string' is not assignable to type 'number'" in told
    assert "'\"graphTooltips\"' does not exist" in told
    assert "backdrop" in told
    assert "lines" in told


@each_dashboard
@pytest.mark.parametrize("name", FLAVOURS)
def test_panels_lie_side_by_side(dashboard: Dashboard, name: str) -> None:
    """Within the page, none upon another, each with a number of its own."""
    panels = document(dashboard, Taste(Layout(FLAVOURS[name])))["panels"]
    assert len(panels) == len({panel["id"] for panel in panels})
    taken: set[tuple[int, int]] = set()
    for place in (panel["gridPos"] for panel in panels):
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert place["x"] + place["w"] <= WIDTH
        taken |= cells


@each_dashboard
def test_targets_are_told_apart(dashboard: Dashboard) -> None:
    """Each has a letter; the text is kept as it is, since Grafana's builder cannot read it."""
    for panel in document(dashboard, Taste())["panels"]:
        letters = [target["refId"] for target in panel.get("targets", ())]
        assert [chr(65 + n) for n in range(len(letters))] == letters
        assert all(target["textEditor"] for target in panel.get("targets", ()))


def test_what_a_flavour_lacks_is_left_out() -> None:
    """Bucky has no sums of timers: one panel less, and no other number changes."""
    plain, bucky = (
        {p["title"]: p["id"] for p in document(overview.DASHBOARD, taste)["panels"]}
        for taste in (Taste(), Taste(Layout(FLAVOURS["bucky"])))
    )
    assert {"Most time used"} == set(plain) - set(bucky)
    assert bucky == {title: plain[title] for title in bucky}


def test_an_alert_finds_its_panel() -> None:
    """By title; a title that is none is a fault of ours."""
    titles = {p["id"]: p["title"] for p in document(overview.DASHBOARD, Taste())["panels"]}
    assert "Lost" == titles[number_of(overview.DASHBOARD, "Lost")]
    assert "Queue length" == titles[number_of(overview.DASHBOARD, "Queue length")]
    with pytest.raises(KeyError):
        number_of(overview.DASHBOARD, "Found")


def variables(taste: Taste) -> dict[str, dict[str, Any]]:
    """Those of the task dashboard."""
    return {v["name"]: v for v in document(task.DASHBOARD, taste)["templating"]["list"]}


def test_nothing_needs_editing_after_import() -> None:
    """Source, app and task are chosen at the top, from what there is."""
    found = variables(Taste())
    assert ["datasource", "app", "task", "pct"] == list(found)
    assert "stats.counters.celery.*" == found["app"]["query"]
    assert "stats.counters.celery.$app.task.*" == found["task"]["query"]
    assert "${datasource}" == found["app"]["datasource"]["uid"]
    assert ("90", 2) == (found["pct"]["query"], found["pct"]["hide"])


def test_what_is_given_is_not_asked() -> None:
    """Prefix, app, percentiles and source as parameters, made safe as the agent makes them."""
    taste = taste_of("statsd-legacy", "my.celery", "web shop", "90, 99.9", "uid7")
    found = variables(taste)
    assert ["task", "pct"] == list(found)
    assert "stats_counts.my.celery.web_shop.task.*" == found["task"]["query"]
    assert ["90", "99_9"] == [option["value"] for option in found["pct"]["options"]]
    assert 0 == found["pct"]["hide"]
    text = json.dumps(document(overview.DASHBOARD, taste))
    assert '"uid": "uid7"' in text
    assert "$app" not in text
    assert "${datasource" not in text
    assert "${app" not in text


def test_defaults_of_parameters() -> None:
    """Empty texts are the defaults, an empty prefix is none; `agent` is a word of ours."""
    assert Taste() == taste_of("statsd", "celery", "", "", "")
    layout = taste_of("statsd", "", "agent", "", "").layout
    assert "stats.counters.agent_.task.x.failed.*.count" == layout.counter("task", "x", "failed")


@pytest.mark.parametrize("percentiles", ["ninety", "0.9.9", "190", "-5"])
def test_what_is_no_percentile_is_refused(percentiles: str) -> None:
    """In one sentence."""
    with pytest.raises(ConfigError, match=r"^percentiles: "):
        taste_of("statsd", "celery", "", percentiles, "")


def test_percentiles_are_those_the_flavour_makes() -> None:
    """Unless it is told otherwise."""
    assert ("90", "95", "99") == Taste(Layout(FLAVOURS["graphite"])).known_percentiles
    assert ("50",) == Taste(Layout(FLAVOURS["graphite"]), ("50",)).known_percentiles


def test_a_stage_has_one_colour() -> None:
    """On every panel whose lines are called after metrics; each is a metric."""
    assert set(COLOURS) <= {rule.metric for rule in CATALOGUE}
    seen = set()
    for dashboard in DASHBOARDS:
        for panel in document(dashboard, Taste())["panels"]:
            for one in panel.get("fieldConfig", {}).get("overrides", ()):
                name, colour = one["matcher"]["options"], one["properties"][0]["value"]
                assert COLOURS[name] == colour["fixedColor"]
                seen.add(name)
    assert {"succeeded", "failed", "lost", "queued", "running"} <= seen


def test_links_take_time_and_choice_along() -> None:
    """A click on a task opens it over the same time."""
    panels = document(overview.DASHBOARD, Taste())["panels"]
    most = next(panel for panel in panels if panel["title"] == "Most failures")
    (link,) = most["fieldConfig"]["defaults"]["links"]
    assert (
        "/d/celery-task?${__url_time_range}&${datasource:queryparam}&${app:queryparam}"
        "&var-task=${__series.name}"
    ) == link["url"]


def test_only_what_can_be_answered_is_asked() -> None:
    """Percentiles yes, sums of timers no."""
    panel = next(p for p in overview.DASHBOARD.panels if p.title == "Most time used")
    assert () == shown(panel, Layout(FLAVOURS["bucky"]))
    assert 1 == len(shown(panel, Layout()))


@each_dashboard
def test_who_is_empty_says_why(dashboard: Dashboard) -> None:
    """In its own words, where there is room for them; a graph has holes, and says nothing."""
    panels = document(dashboard, Taste())["panels"]
    made = {panel["title"]: panel for panel in panels if panel["type"] != "row"}
    for panel in dashboard.panels:
        told = made[panel.title]["fieldConfig"]["defaults"].get("noValue")
        room = {"stat": "-", "timeseries": None}
        assert told == (room.get(panel.type, f"Nothing: {panel.empty}") if panel.empty else None)
