"""`make bench`: all contestants, in turn within each round, on real brokers.

    python -m benchmarks [--quick] [--broker B] [--load L] [--consumer C] [--part P]

The full form takes half an hour on two cores and writes `benchmarks/results/latest.json`. The quick
one takes less than three minutes: fewer events, one round, the mixed load. It, and any run from
which an option leaves something out, writes `partial.json` in the cache instead.
"""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks import growth, pace, rest
from benchmarks.brokers import Broker, RabbitBroker, RedisBroker
from benchmarks.contestants import CACHE, CONTESTANTS, Contestant, version
from benchmarks.drain import drain
from benchmarks.growth import Point
from benchmarks.load import SHAPES, Load, Plan, load
from benchmarks.report import LATEST, Key, markdown, rows

BROKERS: Mapping[str, Callable[[Path], Broker]] = {
    "rabbitmq": RabbitBroker,
    "redis": RedisBroker,
}
FEW: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("redis", "multi24"): ("celery-statsd", "celery-exporter", "eventreceiver"),
}
"""Where not all take part, for time's sake: no layer matters when it has little to do."""

PARTS = ("drains", "live", "steady", "rest", "growth")


@dataclass(frozen=True, slots=True)
class Form:
    """How much of everything: the rounds, the events of a drain and of a growth point, the seconds
    of rest, the most attempts of a growth point, and which loads, parts and consumers."""

    rounds: int = 3
    events: int = 100_000
    resting: float = rest.SECONDS
    growing: int = 100_000
    most: int = 1_000_000
    loads: tuple[str, ...] = tuple(SHAPES)
    parts: tuple[str, ...] = PARTS
    consumers: tuple[str, ...] = tuple(contestant.name for contestant in CONTESTANTS)


FULL = Form()
QUICK = Form(
    1, 10_000, 3.0, 10_000, 10_000, ("mixed",), ("drains", "rest"),
    tuple(name for name in FULL.consumers if "/" not in name),
)  # fmt: skip


@dataclass(slots=True)
class Session:
    """What is asked for, and what was found so far, by part and round."""

    form: Form
    brokers: tuple[str, ...]
    loads: tuple[str, ...]
    consumers: tuple[str, ...]
    parts: tuple[str, ...]
    folder: Path
    found: dict[str, list[dict[Key, dict[str, float]]]] = field(default_factory=dict)
    absent: dict[tuple[str, str], str] = field(default_factory=dict)
    growth: list[Point] = field(default_factory=list)

    def contestants(self, names: tuple[str, ...] = ()) -> Iterator[Contestant]:
        """Those that can take part, of `names` if given; the others are told as absent."""
        for contestant in CONTESTANTS:
            if contestant.name not in (names or self.consumers):
                continue
            if contestant.name not in self.consumers:
                continue
            if contestant.lacks:
                self.absent[contestant.name, "all"] = contestant.lacks
            else:
                yield contestant

    def note(self, part: str, key: Key, work: Callable[[Path], object]) -> None:
        """Do `work` in a folder of its own; its figures are those of `key`, if they count."""
        where = " ".join((part, *key[:-1]))
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            began = time.monotonic()
            try:
                figures = asdict(work(Path(folder)))  # type: ignore[call-overload]
            except Exception as error:  # one row's trouble, whatever it is, costs no other row
                self.absent[key[-1], where] = str(error)[:300] or repr(error)
                print(f"{where} {key[-1]}: {error}", flush=True)
                return
        self.found[part][-1][key] = figures
        told = " ".join(f"{name}={value:.4g}" for name, value in figures.items())
        print(f"{where} {key[-1]}: {told} [{time.monotonic() - began:.0f} s]", flush=True)


def measure(session: Session, save: Callable[[], None]) -> None:
    """All rounds; `save` after each."""
    begin = time.time() - session.form.events / 2000
    streams = {
        shape: load(Plan(shape, session.form.events, begin=begin)) for shape in session.loads
    }
    for _ in range(session.form.rounds):
        for part in PARTS[:-1]:
            session.found.setdefault(part, []).append({})
        for name in session.brokers:
            folder = Path(tempfile.mkdtemp(dir=session.folder))
            with BROKERS[name](folder) as broker:
                _on(broker, session, streams)
        save()


def _on(broker: Broker, session: Session, streams: Mapping[str, Load]) -> None:
    """One round on one broker."""
    if "drains" in session.parts:
        for shape, stream in streams.items():
            for contestant in session.contestants(FEW.get((broker.name, shape), ())):
                if broker.name in contestant.brokers and shape in contestant.loads:
                    _drain(session, contestant, broker, stream)
    for part in ("live", "steady"):
        if part in session.parts and broker.name == "rabbitmq":
            _keep_pace(session, part, broker)
    if "rest" in session.parts:
        for contestant in session.contestants(rest.CONTESTANTS):
            _rest(session, contestant, broker)


def _drain(session: Session, contestant: Contestant, broker: Broker, stream: Load) -> None:
    key = (broker.name, stream.shape, contestant.name)
    session.note("drains", key, lambda folder: drain(contestant, broker, stream, folder))


def _keep_pace(session: Session, part: str, broker: Broker) -> None:
    stream = pace.load_of(pace.PACES[part], time.time())
    for contestant in session.contestants(pace.CONTESTANTS):
        key = (broker.name, contestant.name)
        session.note(part, key, _paced(contestant, broker, stream))


def _paced(contestant: Contestant, broker: Broker, stream: Load) -> Callable[[Path], object]:
    return lambda folder: pace.keep_pace(contestant, broker, stream, folder)


def _rest(session: Session, contestant: Contestant, broker: Broker) -> None:
    key, seconds = (broker.name, contestant.name), session.form.resting
    session.note("rest", key, lambda folder: rest.rest(contestant, broker, folder, seconds))


def results(session: Session) -> dict[str, Any]:
    """All that was found, as it is written down."""
    told: dict[str, Any] = {
        "taken_at": time.strftime("%Y-%m-%d %H:%M", time.gmtime()) + " UTC",
        "rounds": session.form.rounds,
        "events": session.form.events,
        "machine": machine(),
        "versions": {c.name: version(c) for c in session.contestants() if "/" not in c.name},
        "rows": rows(session.found.get("drains", []), ("broker", "load", "consumer")),
    }
    for part in ("live", "steady", "rest"):
        told[part] = rows(session.found.get(part, []), ("broker", "consumer"))
    told["growth"] = [asdict(point) for point in session.growth]
    told["absent"] = [
        {"consumer": consumer, "where": where, "why": why}
        for (consumer, where), why in session.absent.items()
    ]
    return told


def machine() -> dict[str, str]:
    """Where it was measured."""
    cpus = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(": ")[2] for line in cpus if line.startswith("model name")), "?")
    return {
        "processor": f"{model}, {os.cpu_count()} cores",
        "kernel": platform.release(),
        "Python": platform.python_version(),
        "RabbitMQ": _told("dpkg-query", "-W", "-f", "${Version}", "rabbitmq-server"),
        "Redis": _told("redis-server", "--version").partition("v=")[2].partition(" ")[0],
        "commit": _told("git", "rev-parse", "--short", "HEAD"),
    }


def _told(*command: str) -> str:
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    return ran.stdout.strip() or "?"


def main() -> int:
    """The command line; 1 when a row of our agent does not count."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C: with all that was started
    asked = _arguments()
    form = QUICK if asked.quick or os.environ.get("BENCH") == "quick" else FULL
    whole = form is FULL and not (asked.broker or asked.load or asked.consumer or asked.part)
    form = replace(form, rounds=asked.rounds or form.rounds, events=asked.events or form.events)
    file = asked.results or (LATEST if whole else CACHE / "partial.json")
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        session = Session(
            form,
            tuple(asked.broker or BROKERS),
            tuple(asked.load or form.loads),
            tuple(asked.consumer or form.consumers),
            tuple(asked.part or form.parts),
            Path(folder),
        )
        measure(session, lambda: save(session, file))
    if "growth" in session.parts:
        session.growth += [
            growth.point(curve, size, form.growing) for curve, size in growth.points(form.most)
        ]
    save(session, file)
    print(f"\n{file.with_suffix('.md').read_text()}\n{file}")
    return int(any(name.startswith("celery-statsd") for name, _ in session.absent))


def save(session: Session, file: Path) -> None:
    """Write what was found so far, as JSON and as Markdown."""
    told = results(session)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(told, indent=1) + "\n")
    file.with_suffix(".md").write_text(markdown(told))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="as BENCH=quick")
    parser.add_argument("--rounds", type=int, help="not as many as the form has")
    parser.add_argument("--events", type=int, help="of a drain")
    parser.add_argument("--broker", action="append", choices=BROKERS)
    parser.add_argument("--load", action="append", choices=SHAPES)
    parser.add_argument("--consumer", action="append", choices=[c.name for c in CONTESTANTS])
    parser.add_argument("--part", action="append", choices=PARTS)
    parser.add_argument("--results", type=Path, help="where the JSON goes")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
