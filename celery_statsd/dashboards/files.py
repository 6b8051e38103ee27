"""Everything that is generated below `grafana/`: which file holds what."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from celery_statsd.dashboards import DASHBOARDS
from celery_statsd.dashboards.flavours import FLAVOURS, Layout
from celery_statsd.dashboards.grafana import Taste, document

HEAD = "# Written by `celery-statsd dashboards write`: change what it is made of, not this file.\n"

DATASOURCE = (
    HEAD
    + """\
# Copy to /etc/grafana/provisioning/datasources/ and write the address of your graphite-web.
apiVersion: 1
datasources:
  - name: Graphite
    uid: graphite
    type: graphite
    access: proxy
    url: http://graphite:80
    jsonData:
      graphiteVersion: "1.1"
      graphiteType: default
"""
)

PROVIDER = (
    HEAD
    + """\
# Copy to /etc/grafana/provisioning/dashboards/, and the folder dashboards/ to the path below.
apiVersion: 1
providers:
  - name: celery-statsd
    folder: Celery
    type: file
    allowUiUpdates: false
    disableDeletion: false
    updateIntervalSeconds: 60
    options:
      path: /etc/grafana/dashboards/celery
"""
)

COMMITTED: Mapping[str, Taste] = {
    "dashboards": Taste(Layout(FLAVOURS["statsd"])),
    "dashboards/legacy": Taste(Layout(FLAVOURS["statsd-legacy"])),
}
"""The folders of the repository: as StatsD should be set, and as it comes."""

PROVISIONING: Mapping[str, str] = {
    "provisioning/datasources/graphite.yaml": DATASOURCE,
    "provisioning/dashboards/celery.yaml": PROVIDER,
}


def dashboards(taste: Taste) -> Iterator[tuple[str, str]]:
    """The name and the text of each dashboard's file."""
    for dashboard in DASHBOARDS:
        text = json.dumps(document(dashboard, taste), indent=2, ensure_ascii=False)
        yield f"{dashboard.uid}.json", text + "\n"


def committed() -> dict[str, str]:
    """All files of `grafana/` that are generated, by their paths below it."""
    files = {
        f"{folder}/{name}": text
        for folder, taste in COMMITTED.items()
        for name, text in dashboards(taste)
    }
    return files | dict(PROVISIONING)


def write(files: Mapping[str, str], folder: Path) -> list[Path]:
    """Write those files below `folder` that differ; which these are. Raises OSError."""
    written = []
    for name, text in files.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            written.append(path)
    return written


def differing(files: Mapping[str, str], folder: Path) -> list[Path]:
    """The files below `folder` that are missing or not as they would be written."""
    paths = ((folder / name, text) for name, text in files.items())
    return [p for p, text in paths if not p.exists() or p.read_text(encoding="utf-8") != text]
