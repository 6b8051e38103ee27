"""Who takes part: how each is started, and how its totals are read and compared with the manifest.

The others are unchanged but for their event queue's name, limits and exclusiveness, so that a
backlog can wait for them (see `rivals/eventqueue`), and for what their command line offers. A
contestant whose environment is not installed is absent, and the report says so.

`rivals/` are programs for environments of their own: they import nothing of ours but their
neighbours. `BENCH_BROKER` is the broker's URL, `BENCH_QUEUE` the event queue's name, `BENCH_STATSD`
the StatsD's port, `BENCH_COUNT` the file that takes, at SIGTERM, what the program has counted.
"""

import os
import re
import sys
import urllib.request
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from subprocess import run
from typing import TypeVar

from benchmarks.load import Load
from benchmarks.sink import Sink
from celery_statsd.names import escape
from tests.servers.process import REPOSITORY, Child

CACHE = Path(os.environ.get("BENCH_CACHE", REPOSITORY / ".cache" / "bench")).resolve()
"""Where `benchmarks/install` puts the environments."""

RIVALS = Path(__file__).parent / "rivals"
CHECKOUT = os.environ.get("CELERY_EXPORTER_CHECKOUT", "")
"""A checkout of danihodovic/celery-exporter, which is not on PyPI: it runs from there."""

APP = "bench"
"""The name our agent's metrics and its queue go under."""

QUEUE = "bench.events"
"""The event queue of the others."""

_SAMPLE = re.compile(r"^(\w+)\{(.*)\} ([0-9.e+]+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')

Command = Callable[["Stage"], Sequence[str | Path]]
Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class Stage:
    """What a contestant is given: a broker's URL, a StatsD, a free port for HTTP, a folder. `size`
    is in how many bytes a plain consumer gets the load."""

    url: str
    sink: Sink
    http_port: int
    folder: Path
    load: Load
    size: int = 0

    @property
    def count(self) -> Path:
        """The file in which programs of `rivals` write what they have counted."""
        return self.folder / "count"


@dataclass(frozen=True, slots=True)
class Contestant:
    """One consumer. `verdict` tells where its totals differ from the manifest, after it has ended
    if it is `mute`; `complete` whether all that it will send has come."""

    name: str
    command: Command
    verdict: Callable[[Stage], list[str]]
    environment: str = "celery"
    package: str = "celery"
    queue: str = QUEUE
    brokers: tuple[str, ...] = ("rabbitmq", "redis")
    loads: tuple[str, ...] = ("single", "mixed", "multi24")
    mute: bool = False
    complete: Callable[[Stage], bool] = lambda stage: True  # noqa: ARG005

    @property
    def python(self) -> Path:
        """The interpreter of its environment; our agent's is our own."""
        own = self.environment == "celery-statsd"
        return Path(sys.executable) if own else CACHE / self.environment / "bin" / "python"

    @property
    def lacks(self) -> str:
        """Why it cannot take part; "" when it can."""
        if self.environment == "celery-exporter" and not CHECKOUT:
            return "CELERY_EXPORTER_CHECKOUT names no checkout"
        return "" if self.python.exists() else "not installed: run benchmarks/install"

    def child(self, stage: Stage) -> Child:
        """The process, not yet started."""
        code = {"celery-statsd": str(REPOSITORY), "celery-exporter": CHECKOUT}
        env = {
            "PYTHONPATH": str(Path(code.get(self.environment) or RIVALS).resolve()),
            "BENCH_BROKER": stage.url,
            "BENCH_QUEUE": self.queue,
            "BENCH_COUNT": str(stage.count),
            "BENCH_STATSD": str(stage.sink.port),
        }
        command = [self.python, *self.command(stage)]
        return Child(self.name.replace("/", "-"), command, stage.folder, env)


@cache
def version(contestant: Contestant) -> str:
    """The version of what is measured."""
    if contestant.environment == "celery-statsd":
        return metadata.version("celery-statsd")
    ask = "import sys, importlib.metadata as m; print(m.version(sys.argv[1]))"
    command = [str(contestant.python), "-c", ask, contestant.package]
    told: str = run(command, check=True, capture_output=True, text=True).stdout
    return told.strip()


# How totals are read.


def own_path(family: str, entity: str, metric: str) -> str:
    """The path of a counter of our agent."""
    return f"celery.{APP}.{family}.{escape(entity)}.{metric}.all"


def own_expected(stage: Stage) -> dict[str, int]:
    """What our agent's counters must come to."""
    manifest = stage.load.manifest
    rows = manifest.counters() | {("cluster", "all", "found"): 0, ("cluster", "all", "lost"): 0}
    return {own_path(*key): value for key, value in rows.items()}


def own_verdict(stage: Stage) -> list[str]:
    """Every counter by cluster, task, worker and exception; and no event doubled, bad or lost."""
    counters = stage.sink.counters()
    wrong = _different(own_expected(stage), counters)
    for word in ("doubled", "bad", "dropped", "lost"):
        agents = [path for path in counters if path.startswith(f"celery.{APP}.agent.")]
        total = sum(counters[path] for path in agents if f".events_{word}." in path)
        wrong += [f"events_{word}: {total}"] if total else []
    return wrong


def own_complete(stage: Stage) -> bool:
    """Whether the last flush has come."""
    counters, manifest = stage.sink.counters(), stage.load.manifest
    return all(
        counters.get(own_path("cluster", "all", word), 0) >= number
        for word, number in manifest.stages.items()
    )


def naive_verdict(stage: Stage) -> list[str]:
    """The naive agent's counters by task and stage."""
    expected = {
        f"naive.{name.replace('.', '-')}.{word}": number
        for (name, word), number in stage.load.manifest.tasks.items()
    }
    return _different(expected, stage.sink.counters())


def exporter_verdict(stage: Stage) -> list[str]:
    """celery-exporter's counters by task, as it exposes them."""
    found: Counter[tuple[str, str]] = Counter()
    for metric, labels, value in _samples(stage):
        word = metric.removeprefix("celery_task_").removesuffix("_total")
        if metric.endswith("_total"):
            found[labels["name"], word] += value
    return _different(stage.load.manifest.tasks, found)


def flower_verdict(stage: Stage) -> list[str]:
    """Flower's counters by task, as it exposes them."""
    found: Counter[tuple[str, str]] = Counter()
    for metric, labels, value in _samples(stage):
        if metric == "flower_events_total":
            found[labels["task"], labels["type"].removeprefix("task-")] += value
    return _different(stage.load.manifest.tasks, found)


def events_verdict(stage: Stage) -> list[str]:
    """What a mute consumer has counted: events."""
    return _counted(stage, 0, stage.load.manifest.events)


def messages_verdict(stage: Stage) -> list[str]:
    """What a mute consumer has counted: messages."""
    return _counted(stage, 1, stage.load.manifest.messages)


def bytes_verdict(stage: Stage) -> list[str]:
    """What a mute consumer has counted: bytes."""
    return _counted(stage, 2, stage.size)


def _counted(stage: Stage, place: int, expected: int) -> list[str]:
    told = int(stage.count.read_text().split()[place]) if stage.count.exists() else -1
    return [] if told == expected else [f"counted {told}, not {expected}"]


def _different(expected: Mapping[Key, int], found: Mapping[Key, int]) -> list[str]:
    return [
        f"{key}: {found.get(key, 0)}, not {value}"
        for key, value in expected.items()
        if found.get(key, 0) != value
    ]


def _samples(stage: Stage) -> list[tuple[str, dict[str, str], int]]:
    """What a Prometheus would read."""
    url = f"http://127.0.0.1:{stage.http_port}/metrics"
    with urllib.request.urlopen(url, timeout=60) as answer:
        text = answer.read().decode()
    rows = _SAMPLE.findall(text)
    return [(metric, dict(_LABEL.findall(labels)), int(float(v))) for metric, labels, v in rows]


# How they are started.


def own(*flags: str, options: str = "") -> Command:
    """Our agent as its users run it, with StatsD as its sink, which may have `options`."""

    def command(stage: Stage) -> list[str | Path]:
        folder = [part.format(folder=stage.folder) for part in flags]
        sink = f"statsd://127.0.0.1:{stage.sink.port}{options}"
        return [
            *("-m", "celery_statsd", "agent", "--broker", stage.url),
            *("--sink", sink, "--app", APP, *folder),
        ]

    return command


def flower(stage: Stage) -> list[str | Path]:
    """Flower, which brings its own web server."""
    port = f"--port={stage.http_port}"
    wrapped = (RIVALS / "eventqueue.py", "celery", "-A", "flowerapp")
    return [*wrapped, "flower", "--address=127.0.0.1", port]


def exporter(stage: Stage) -> list[str | Path]:
    """celery-exporter. It never gives up workers: the load's timestamps are in the past."""
    wrapped = (RIVALS / "eventqueue.py", "cli", "--broker-url", stage.url)
    never = ("--worker-timeout", "0", "--purge-offline-worker-metrics", "0")
    return [*wrapped, "--host", "127.0.0.1", "--port", str(stage.http_port), *never]


def rival(program: str, *arguments: str) -> Command:
    """A program of `rivals`."""
    return lambda stage: [RIVALS / f"{program}.py", *arguments]  # noqa: ARG005


def ours(name: str, *flags: str, options: str = "", **more: object) -> Contestant:
    """Our agent, under a name that says how it is set."""
    fields = {"environment": "celery-statsd", "queue": f"celeryev.statsd.{APP}", **more}
    command = own(*flags, options=options)
    return Contestant(name, command, own_verdict, complete=own_complete, **fields)  # type: ignore[arg-type]


RABBIT, REDIS = ("rabbitmq",), ("redis",)

CONTESTANTS = (
    ours("celery-statsd"),
    ours(
        "celery-statsd/journal", "--state-dir", "{folder}/state", brokers=RABBIT, loads=("mixed",)
    ),
    ours("celery-statsd/shared", options="?share_lines=yes", loads=("mixed",)),
    ours(
        "celery-statsd/summary", options="?timers=mean,upper,upper_95", loads=("mixed", "single"),
    ),
    ours(
        "celery-statsd/classic", "--event-queue-type", "classic", brokers=RABBIT, loads=("mixed",)
    ),
    Contestant("celery-exporter", exporter, exporter_verdict, "celery-exporter",
               "prometheus-exporter-celery"),
    Contestant("flower", flower, flower_verdict, "flower", "flower"),
    Contestant("naive", rival("naive"), naive_verdict),
    Contestant("eventreceiver", rival("eventreceiver"), events_verdict, mute=True),
    Contestant("kombu", rival("bare", "kombu"), messages_verdict, package="kombu", mute=True),
    Contestant("py-amqp", rival("bare", "py-amqp"), messages_verdict, package="amqp", mute=True,
               brokers=RABBIT),
    Contestant("redis-py", rival("bare", "redis-py"), messages_verdict, package="redis", mute=True,
               brokers=REDIS),
    Contestant("socket", rival("bare", "socket"), bytes_verdict, package="amqp", mute=True),
)  # fmt: skip
"""All of them, in the order of the tables."""
