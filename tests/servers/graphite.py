"""Graphite: carbon-cache to write to, graphite-web to read from."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tests.servers.process import CACHE, Child, MissingProgramError, answers, free_port, program

HOME = CACHE / "graphite"

CARBON = """\
[cache]
CONF_DIR = {folder}/conf
STORAGE_DIR = {folder}/storage
LOCAL_DATA_DIR = {folder}/storage/whisper
LOG_DIR = {folder}/log
PID_DIR = {folder}
LINE_RECEIVER_INTERFACE = 127.0.0.1
LINE_RECEIVER_PORT = {line}
PICKLE_RECEIVER_INTERFACE = 127.0.0.1
PICKLE_RECEIVER_PORT = {pickle}
CACHE_QUERY_INTERFACE = 127.0.0.1
CACHE_QUERY_PORT = {query}
MAX_CREATES_PER_MINUTE = inf
MAX_UPDATES_PER_SECOND = inf
MAX_CACHE_SIZE = inf
ENABLE_LOGROTATION = False
CARBON_METRIC_INTERVAL = 0
WHISPER_SPARSE_CREATE = True
WHISPER_FALLOCATE_CREATE = False
"""

RULES = ("storage-schemas.conf", "storage-aggregation.conf")
"""Files of carbon."""

SCHEMAS = "[default]\npattern = .*\nretentions = 1s:30m\n"

WRITE = """\
import json, os, sys, whisper

retention = [whisper.parseRetentionDef(part) for part in sys.argv[2].split(",")]
for name, points in json.load(sys.stdin).items():
    path = os.path.join(sys.argv[1], *name.split(".")) + ".wsp"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    whisper.create(path, retention, 0.0, "average", sparse=True)
    if points:
        whisper.update_many(path, points)
"""

SETTINGS = """\
import inspect

if not hasattr(inspect, "getargspec"):
    # Gone since Python 3.11; /functions still asks for them.
    inspect.getargspec = lambda function: inspect.getfullargspec(function)[:4]
    inspect.formatargspec = lambda arguments, *_: "(%s)" % ", ".join(arguments)

SECRET_KEY = "tests"
TIME_ZONE = "UTC"
GRAPHITE_ROOT = {home!r}
CONF_DIR = {folder!r} + "/conf"
STORAGE_DIR = {folder!r} + "/storage"
WHISPER_DIR = STORAGE_DIR + "/whisper"
STANDARD_DIRS = [WHISPER_DIR]
LOG_DIR = {folder!r} + "/log"
# Points Carbon has not written yet are asked for there.
CARBONLINK_HOSTS = ["127.0.0.1:{query}"]
STORAGE_FINDERS = ("graphite.finders.standard.StandardFinder",)
DATABASES = {{
    "default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": STORAGE_DIR + "/graphite.db"}}
}}
CACHES = {{"default": {{"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}}}
FIND_CACHE_DURATION = DEFAULT_CACHE_DURATION = TAGDB_CACHE_DURATION = 0
USE_WORKER_POOL = False
"""


class Graphite:
    """Carbon on `line_port` and `pickle_port`, graphite-web on `url`; one value kept a second.

    `schemas` come before that rule; `aggregation` are carbon's rules for coarser archives. Or the
    storage rules in the folder `rules` are all there are.
    """

    def __init__(
        self, folder: Path, schemas: str = "", aggregation: str = "", rules: Path | None = None
    ) -> None:
        if not HOME.is_dir():
            raise MissingProgramError("Graphite is not installed: run tests/install")
        self.line_port, self.pickle_port = free_port(), free_port()
        self._query_port, self._web_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self._web_port}"
        self._folder = folder
        self._env = {
            "GRAPHITE_ROOT": str(HOME),
            "PYTHONPATH": str(folder / "conf"),
            "GRAPHITE_SETTINGS_MODULE": "graphite_of_tests",
            "DJANGO_SETTINGS_MODULE": "graphite.settings",
            "PYTHONWARNINGS": "ignore",
        }
        self._lay_out(schemas, aggregation)
        for name in RULES if rules else ():
            shutil.copy(f"{rules}/{name}", folder / "conf")
        self._carbon = self._carbon_cache()
        self._web = self._graphite_web()

    @property
    def whisper(self) -> Path:
        """Where the series lie: a test may put files of its own there."""
        return self._folder / "storage" / "whisper"

    def render(self, target: str, seconds_back: int = 600) -> dict[str, list[tuple[float, int]]]:
        """The points of each series that matches: (value, epoch seconds), nulls left out."""
        answer = self.get("render", target=target, format="json", **{"from": f"-{seconds_back}s"})
        return {
            series["target"]: [
                (value, at) for value, at in series["datapoints"] if value is not None
            ]
            for series in answer
        }

    def totals(self, target: str, seconds_back: int = 600) -> dict[str, float]:
        """The sum of all points of each series that matches."""
        found = self.render(target, seconds_back)
        return {name: sum(value for value, _ in points) for name, points in found.items()}

    def total(self, target: str, seconds_back: int = 600) -> float:
        """The sum of all points of all series that match."""
        return sum(self.totals(target, seconds_back).values())

    def write(self, series: Mapping[str, Sequence[tuple[int, float]]], retention: str) -> None:
        """Put files into the storage, past carbon: points (epoch seconds, value) by name."""
        subprocess.run(
            [program(HOME / "bin" / "python"), "-c", WRITE, self.storage, retention],
            input=json.dumps(series).encode(),
            check=True,
        )

    @property
    def storage(self) -> Path:
        """Where the whisper files are."""
        return self._folder / "storage" / "whisper"

    @contextlib.contextmanager
    def suspended(self) -> Iterator[None]:
        """Carbon stands still: its sockets take what their buffers hold, and nobody reads."""
        os.kill(self._carbon.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self._carbon.pid, signal.SIGCONT)

    def get(self, path: str, **query: str) -> Any:
        """The JSON graphite-web answers at `path`. Raises HTTPError."""
        address = f"{self.url}/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(address, timeout=20) as answer:
            return json.load(answer)

    def __enter__(self) -> Self:
        self._carbon.start(lambda: answers(self.line_port) and answers(self.pickle_port))
        self._make_database()
        self._web.start(lambda: answers(self._web_port))
        return self

    def __exit__(self, *_: object) -> None:
        self._web.kill()
        self._carbon.kill()

    def _carbon_cache(self) -> Child:
        command = [
            *(program(HOME / "bin" / "python"), HOME / "bin" / "carbon-cache.py"),
            *("--nodaemon", "--config", self._folder / "conf" / "carbon.conf", "start"),
        ]
        return Child("carbon", command, self._folder, self._env)

    def _graphite_web(self) -> Child:
        command = [
            program(HOME / "bin" / "waitress-serve"),
            *(f"--listen=127.0.0.1:{self._web_port}", "graphite.wsgi:application"),
        ]
        return Child("graphite-web", command, self._folder, self._env)

    def _make_database(self) -> None:
        """The tables graphite-web wants at hand even for a plain render."""
        subprocess.run(
            [program(HOME / "bin" / "django-admin"), "migrate", "--run-syncdb", "--verbosity=0"],
            env=self._web.env,
            check=True,
        )

    def _lay_out(self, schemas: str, aggregation: str) -> None:
        for name in ("conf", "log", "storage/whisper"):
            (self._folder / name).mkdir(parents=True)
        ports = {"line": self.line_port, "pickle": self.pickle_port, "query": self._query_port}
        places = {"folder": str(self._folder), "home": str(HOME), **ports}
        files = {
            "carbon.conf": CARBON.format(**places),
            "storage-schemas.conf": schemas + SCHEMAS,
            "storage-aggregation.conf": aggregation,
            "graphite_of_tests.py": SETTINGS.format(**places),
        }
        for name, text in files.items():
            (self._folder / "conf" / name).write_text(text)
