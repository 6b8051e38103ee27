"""What came out, as JSON for machines and as Markdown for people.

    python -m benchmarks.report [--readme README.md]

writes the Markdown beside the JSON, and with `--readme` the short table between its marks. A figure
is the median of its rounds with the least and the most of them; a ratio is the median of the ratios
within each round, so that what disturbs a whole round disturbs no ratio.
"""

import argparse
import json
import re
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
LATEST = RESULTS / "latest.json"

MEASURES = ("celery-exporter", "eventreceiver")
"""Whom all others are compared with."""

Row = dict[str, Any]
Key = tuple[str, ...]
Round = Mapping[Key, Mapping[str, float]]
"""The figures of each key in one round."""

_MARKED = re.compile(r"(?<=<!-- benchmark -->\n).*?(?=<!-- /benchmark -->)", re.DOTALL)


def spread(values: Sequence[float]) -> dict[str, float]:
    """The median of `values` with the least and the most."""
    told = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {word: float(f"{value:.4g}") for word, value in told.items()}


def rows(rounds: Sequence[Round], heads: Sequence[str]) -> list[Row]:
    """One row for each key that is in any of `rounds`; `heads` name the parts of a key.

    The last part is the consumer's name. What is told of it also as ratio is its first figure.
    """
    keys = dict.fromkeys(key for found in rounds for key in found)
    return [_row(rounds, heads, key) for key in keys]


def _row(rounds: Sequence[Round], heads: Sequence[str], key: Key) -> Row:
    mine = [found[key] for found in rounds if key in found]
    row: Row = dict(zip(heads, key, strict=True)) | {"rounds": len(mine)}
    for figure in mine[0]:
        row[figure] = spread([figures[figure] for figures in mine])
    first = next(iter(mine[0]))
    row["ratios"] = {}
    for other in MEASURES:
        ratios = [
            found[(*key[:-1], other)][first] / found[key][first]
            for found in rounds
            if key in found and (*key[:-1], other) in found
        ]
        if ratios:
            row["ratios"][other] = spread(ratios)
    return row


def markdown(results: Mapping[str, Any]) -> str:
    """All of it, as tables."""
    parts = [_about(results)]
    for broker, shape in dict.fromkeys((row["broker"], row["load"]) for row in results["rows"]):
        mine = [r for r in results["rows"] if (r["broker"], r["load"]) == (broker, shape)]
        parts.append(f"## {BROKERS[broker]}, {shape}\n\n{_table(mine, DRAINED)}")
    for section, (head, columns) in SECTIONS.items():
        if results.get(section):
            parts.append(f"## {head}\n\n{_table(results[section], columns)}")
    if results["absent"]:
        told = "\n".join(
            f"- {row['consumer']} ({row['where']}): {row['why']}" for row in results["absent"]
        )
        parts.append(f"## Not counted\n\n{told}")
    return "\n\n".join(parts) + "\n"


def short(results: Mapping[str, Any]) -> str:
    """One table: CPU an event, and the ratio to our agent, of each consumer on each load."""
    columns = list(dict.fromkeys((row["broker"], row["load"]) for row in results["rows"]))
    cells: dict[Key, Row] = {
        (row["broker"], row["load"], row["consumer"]): row for row in results["rows"]
    }
    names = dict.fromkeys(row["consumer"] for row in results["rows"] if "/" not in row["consumer"])
    heads = [f"{BROKERS[broker]} {shape}" for broker, shape in columns]
    lines = [_line(["us of CPU an event", *heads]), _line(["---"] * (len(columns) + 1))]
    for name in names:
        told = [_short_cell(cells, broker, shape, name) for broker, shape in columns]
        lines.append(_line([name, *told]))
    return "\n".join(lines)


def _short_cell(cells: Mapping[Key, Row], broker: str, shape: str, name: str) -> str:
    row, own = cells.get((broker, shape, name)), cells.get((broker, shape, "celery-statsd"))
    if row is None:
        return "-"
    told = number(row["us_per_event"]["median"])
    if own is None or row is own:
        return f"**{told}**"
    return f"{told} ({number(row['us_per_event']['median'] / own['us_per_event']['median'])}x)"


def with_table(text: str, results: Mapping[str, Any]) -> str:
    """`text` with the short table between its marks."""
    return _MARKED.sub(lambda _: f"\n{short(results)}\n\n", text)


BROKERS = {"rabbitmq": "RabbitMQ", "redis": "Redis"}


def number(value: float) -> str:
    """Three digits, and thousands with commas."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _spread(figure: str) -> Callable[[Row], str]:
    def told(row: Row) -> str:
        found = row[figure]
        if found["min"] == found["max"]:
            return number(found["median"])
        return f"{number(found['median'])} ({number(found['min'])}-{number(found['max'])})"

    return told


def _median(figure: str) -> Callable[[Row], str]:
    return lambda row: number(row[figure]["median"])


def _ratio(other: str) -> Callable[[Row], str]:
    def told(row: Row) -> str:
        found = row["ratios"].get(other)
        return f"{number(found['median'])}x" if found else "-"

    return told


def _word(key: str) -> Callable[[Row], str]:
    return lambda row: str(row[key])


Columns = Mapping[str, Callable[[Row], str]]

_FIRST: Columns = {"consumer": _word("consumer")}
_RATIOS: Columns = {f"less than {other}": _ratio(other) for other in MEASURES}

DRAINED: Columns = {
    **_FIRST,
    "us CPU/event": _spread("us_per_event"),
    **_RATIOS,
    "events/wall-s": _median("events_per_wall_s"),
    "peak RSS MB": _median("peak_rss_mb"),
    "datagrams/1000 events": _median("datagrams_per_1000"),
    "broker us/event": _median("broker_us_per_event"),
}

_PACED: Columns = {
    **_FIRST,
    "CPU % of a core": _spread("cpu_percent"),
    **_RATIOS,
    "us CPU/event": _median("us_per_event"),
    "left behind %": _median("left_percent"),
    "wake-ups/s": _median("switches_per_s"),
    "RSS MB": _median("resident_mb"),
    "datagrams/1000 events": _median("datagrams_per_1000"),
    "events/s": _median("events_per_s"),
}

_RESTING: Columns = {
    "broker": lambda row: BROKERS[row["broker"]],
    **_FIRST,
    "start s": _spread("start_s"),
    "start CPU s": _median("start_cpu_s"),
    "idle RSS MB": _median("idle_rss_mb"),
    "idle CPU %": _median("idle_cpu_percent"),
    "wake-ups/s": _median("wakeups_per_s"),
}

_GROWING: Columns = {
    "what grows": _word("curve"),
    "to": lambda row: f"{row['size']:,}",
    "us CPU/event": lambda row: number(row["us"]),
    "tick ms": lambda row: number(row["tick_ms"]),
    "flush ms": lambda row: number(row["flush_ms"]),
    "attempts": lambda row: f"{row['attempts']:,}",
    "series": lambda row: f"{row['series']:,}",
    "bytes/attempt": lambda row: (
        number(row["bytes_of_attempt"]) if row["curve"] == "attempts" else "-"
    ),
    "RSS MB": lambda row: number(row["resident_mb"]),
}

SECTIONS: Mapping[str, tuple[str, Columns]] = {
    "live": ("Live, 40,000 events a second for 5 s (RabbitMQ, single)", _PACED),
    "steady": ("Steady, 2,000 events a second for 20 s (RabbitMQ, mixed)", _PACED),
    "rest": ("Start and rest, one worker's heartbeats", _RESTING),
    "growth": ("Growth (the pipeline alone)", _GROWING),
}


def _about(results: Mapping[str, Any]) -> str:
    machine = ", ".join(f"{key} {value}" for key, value in results["machine"].items())
    versions = ", ".join(f"{key} {value}" for key, value in results["versions"].items())
    return (
        f"# What an event costs\n\n"
        f"{results['taken_at']}, {results['rounds']} rounds of {results['events']:,} events. "
        f"Made by `make bench`; how, stands at the head of `benchmarks/drain.py`.\n\n"
        f"{machine}.\n\n{versions}."
    )


def _table(found: Iterable[Row], columns: Columns) -> str:
    lines = [_line(columns), _line("---" for _ in columns)]
    lines += [_line(tell(row) for tell in columns.values()) for row in found]
    return "\n".join(lines)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="benchmarks.report", description=__doc__)
    parser.add_argument("--results", type=Path, default=LATEST, help="the JSON")
    parser.add_argument("--readme", type=Path, help="a file with the marks")
    asked = parser.parse_args()
    results = json.loads(asked.results.read_text())
    asked.results.with_suffix(".md").write_text(markdown(results))
    if asked.readme:
        asked.readme.write_text(with_table(asked.readme.read_text(), results))


if __name__ == "__main__":
    main()
