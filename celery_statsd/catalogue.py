"""The catalogue, shown: as a table for a terminal, as JSON, as the README's Markdown."""

import json
from collections.abc import Iterator

from celery_statsd.rules import CATALOGUE, FAMILIES

HEAD = ("metric", "kind", "unit", "families", "meaning")


def rows() -> Iterator[tuple[str, str, str, str, str]]:
    """One row a metric, in the catalogue's order; rules of one name and meaning are one row."""
    merged: dict[tuple[str, str, str, str], dict[str, None]] = {}
    for rule in CATALOGUE:
        families = merged.setdefault((rule.metric, rule.kind.value, rule.unit, rule.help), {})
        families.update(dict.fromkeys(rule.families))
    for (metric, kind, unit, text), families in merged.items():
        yield metric, kind, unit, " ".join(families), text


def as_table() -> str:
    """For a terminal."""
    table = [HEAD, *rows()]
    widths = [max(len(row[column]) for row in table) for column in range(len(HEAD) - 1)]
    return "\n".join(
        "  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[-1]])
        for row in table
    )


def as_json() -> str:
    """A list of objects; `families` is a list."""
    table = [dict(zip(HEAD, row, strict=True)) for row in rows()]
    return json.dumps([{**row, "families": row["families"].split()} for row in table], indent=1)


def as_markdown() -> str:
    """One table a family, with a heading each."""
    parts = []
    for family in FAMILIES:
        lines = [f"**{family}**", "", "| metric | kind | meaning |", "| --- | --- | --- |"]
        for metric, kind, unit, families, text in rows():
            if family in families.split():
                lines.append(
                    f"| `{metric}` | {kind}{'' if unit == '1' else f', {unit}'} | {text} |"
                )
        parts.append("\n".join(lines))
    return "\n\n".join(parts)
