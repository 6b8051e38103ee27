"""What is generated is what is committed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from celery_statsd.dashboards import DASHBOARDS
from celery_statsd.dashboards.files import (
    COMMITTED,
    PROVISIONING,
    committed,
    dashboards,
    differing,
    write,
)
from celery_statsd.dashboards.grafana import Taste

ROOT = Path(__file__).parents[2]
GRAFANA = ROOT / "grafana"


def test_what_is_committed_is_what_is_generated() -> None:
    """`celery-statsd dashboards write --shipped --out grafana` mends this."""
    assert [] == differing(committed(), GRAFANA)


def test_nothing_old_lies_about() -> None:
    """A dashboard that was renamed leaves no file behind."""
    folders = [GRAFANA / folder for folder in COMMITTED]
    there = {path for folder in folders for path in folder.glob("*.json")}
    assert there == {GRAFANA / name for name in committed() if name.endswith(".json")}
    assert len(there) == len(DASHBOARDS) * len(COMMITTED)


def test_writing_twice_writes_once(tmp_path: Path) -> None:
    """What is as it should be is left alone; what was changed is written anew."""
    files = dict(dashboards(Taste()))
    assert sorted(tmp_path / name for name in files) == sorted(write(files, tmp_path))
    assert [] == write(files, tmp_path)
    changed = tmp_path / "celery-task.json"
    changed.write_text("{}")
    assert [changed] == differing(files, tmp_path)
    assert [changed] == write(files, tmp_path)
    assert [] == differing(files, tmp_path)


def test_the_same_spec_gives_the_same_bytes() -> None:
    """Also in another process, whatever its hashes."""
    program = (
        "import json; from celery_statsd.dashboards.files import committed;"
        "print(json.dumps(committed()))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONHASHSEED": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True, check=True, text=True,
    )  # fmt: skip
    assert committed() == json.loads(answer.stdout)


@pytest.mark.parametrize("name", PROVISIONING)
def test_provisioning_is_yaml(name: str) -> None:
    """Of the version Grafana reads; the folder of the dashboards is the one they are copied to."""
    document = yaml.safe_load(PROVISIONING[name])
    assert 1 == document["apiVersion"]
    (entry,) = document.get("providers") or document["datasources"]
    assert entry["type"] in ("file", "graphite")
