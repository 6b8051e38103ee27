"""Draws each dashboard, filled by a made world, with Grafana's own components in a browser: of a
good day, and of a bad one.

`python -m tests.pictures.draw FOLDER`: the packages go into the cache of the tests; node, npm and
chromium have to be there. What is drawn are the JSON and the answers of a real Graphite.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from celery_statsd.dashboards import DASHBOARDS
from celery_statsd.dashboards.evaluation import choices, evaluate
from celery_statsd.dashboards.files import COMMITTED
from celery_statsd.dashboards.grafana import document, number_of
from celery_statsd.dashboards.panels import Dashboard
from celery_statsd.graphite import Graphite as Asked
from celery_statsd.graphite import Span
from tests.dashboards.world import World
from tests.servers.graphite import Graphite
from tests.servers.process import CACHE, program

HERE = Path(__file__).parent
CELLAR = CACHE / "pictures"
TASTE = COMMITTED["dashboards"]

WIDTH, CELL = 1520, 36
"""Pixels, as in page.jsx."""

SCALE = 0.7
"""Pixels of the picture for one of the page: the files stay small."""

HOURS = 3

PAGE = """\
<!doctype html><meta charset="utf-8"><title>%s</title>
<link rel="stylesheet" href="page.css">
<body style="margin:0;background:#111217;color:#ccccdc;font-family:Inter,Helvetica,sans-serif">
<div id="page"></div><script>window.PICTURE = %s;</script><script src="page.js"></script></body>
"""

LOADERS = ("svg", "woff", "woff2", "ttf", "png", "gif", "jpg")


def packages() -> None:
    """Those of package.json, once."""
    wanted, stamp = (HERE / "package.json").read_text(), CELLAR / "done"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    CELLAR.mkdir(parents=True, exist_ok=True)
    (CELLAR / "package.json").write_text(wanted)
    flags = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
    subprocess.run([program("npm"), "install", *flags], cwd=CELLAR, check=True)
    stamp.write_text(wanted)


def bundle(folder: Path) -> None:
    """page.jsx and all it needs, as one script."""
    shutil.copy(HERE / "page.jsx", CELLAR / "page.jsx")
    flags = [f"--loader:.{kind}=dataurl" for kind in LOADERS]
    defined = ["--define:global=window", '--define:process.env.NODE_ENV="production"']
    subprocess.run(
        [program("node"), CELLAR / "node_modules" / "esbuild" / "bin" / "esbuild", "page.jsx",
         "--bundle", "--minify", "--log-level=error", *flags, *defined,
         f"--outfile={folder / 'page.js'}"], cwd=CELLAR, check=True,
    )  # fmt: skip


def picture(dashboard: Dashboard, asked: Asked, until: int) -> dict[str, Any]:
    """The JSON of a dashboard, its variables filled in, and what Graphite says to each panel."""
    span = Span(until - 3600 * HOURS, until, 300)
    found = document(dashboard, TASTE)
    for name, value in choices(dashboard, TASTE, "shop").items():
        found = json.loads(re.sub(rf"\${name}\b", value, json.dumps(found)))
    answers = {
        number_of(dashboard, one.panel.title): [
            {"target": answer.name, "datapoints": answer.points} for answer in one.answers
        ]
        for one in evaluate(dashboard, TASTE, asked, span, "shop")
    }
    return {"dashboard": found, "answers": answers, "since": span.since, "until": until}


def draw(name: str, made: dict[str, Any], folder: Path, out: Path) -> None:
    """One PNG."""
    page = folder / f"{name}.html"
    page.write_text(PAGE % (name, json.dumps(made)), encoding="utf-8")
    places = [panel["gridPos"] for panel in made["dashboard"]["panels"]]
    height = 16 + CELL * max(place["y"] + place["h"] for place in places)
    subprocess.run(
        [program("chromium", "chromium-browser", "google-chrome"), "--headless=new", "--no-sandbox",
         "--hide-scrollbars", f"--force-device-scale-factor={SCALE}",
         "--virtual-time-budget=8000", f"--window-size={WIDTH},{height}",
         f"--screenshot={out / name}.png", "--allow-file-access-from-files", page.as_uri()],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip


def shrink(out: Path) -> None:
    """They are kept in the repository: a quarter of the bytes will do."""
    shutil.copy(HERE / "shrink.js", CELLAR / "shrink.js")
    pictures = sorted(map(str, out.resolve().glob("*.png")))
    subprocess.run([program("node"), "shrink.js", *pictures], cwd=CELLAR, check=True)


def day(name: str, well: bool, folder: Path, out: Path) -> None:
    """All five, of one day."""
    world = World(int(time.time()) // 600 * 600, well)
    with Graphite(folder / name) as graphite:
        world.write(graphite.whisper)
        for dashboard in DASHBOARDS:
            place = f"{dashboard.uid.removeprefix('celery-')}-{name}"
            draw(place, picture(dashboard, Asked(graphite.url), world.end), folder, out)
            print(out / f"{place}.png")  # noqa: T201


def main(out: Path) -> None:
    """All ten."""
    out.mkdir(parents=True, exist_ok=True)
    packages()
    with tempfile.TemporaryDirectory() as name:
        bundle(Path(name))
        day("good", True, Path(name), out)
        day("bad", False, Path(name), out)
    shrink(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
