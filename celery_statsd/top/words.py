"""Numbers and names as a terminal shows them: short, of a known width, and harmless."""

import math
import unicodedata

from celery_statsd.lengths import span

CUT = "~"
"""Stands where a name was cut: its end tells more than its beginning."""

_SCALES = (
    ("", 1, 9_999.5), ("k", 10**3, 10**6), ("M", 10**6, 10**9), ("G", 10**9, 10**12),
    ("T", 10**12, math.inf),
)  # fmt: skip


def count(value: float | None) -> str:
    """A whole number in four characters; a dash for what is not known."""
    if value is None or not math.isfinite(value):
        return "-"
    unit, scale = next(row[:2] for row in _SCALES if abs(value) < row[2])
    return f"{round(value) if scale == 1 else int(value / scale)}{unit}"


def rate(value: float | None) -> str:
    """How often in a second, in five characters."""
    if value is None:
        return "-"
    if not value:
        return "0"
    if value < 0.995:
        return f"{value:.2f}"
    return f"{value:.1f}" if value < 999.95 else count(value)


def milliseconds(value: float | None) -> str:
    """A time in ms for people, in six characters; a dash for None."""
    if value is None:
        return "-"
    if value < 9.95:
        return f"{value:.1f}ms"
    if value < 999.5:
        return f"{value:.0f}ms"
    return span(value / 1000)


def clock(value: float) -> str:
    """A duration as a clock shows it: 00:12:31."""
    whole = max(0, int(value))
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}"


def size(value: float | None) -> str:
    """Bytes."""
    if value is None:
        return "-"
    for unit in ("B", "kB", "MB"):
        if value < 999.5:
            return f"{value:.0f}{unit}"
        value /= 1000
    return f"{value:.1f}GB"


def safe(text: str) -> str:
    """`text`, whoever wrote it, as one line that leaves a terminal alone."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def width(text: str) -> int:
    """Columns that `text` takes in a terminal (Unicode's annex 11)."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def head(text: str, columns: int) -> str:
    """As much of the beginning of `text` as fits."""
    if text.isascii():
        return text[:columns]
    while width(text) > columns:
        text = text[:-1]
    return text


def tail(text: str, columns: int) -> str:
    """All of `text` or, behind a mark, as much of its end as fits."""
    if width(text) <= columns:
        return text
    while text and width(text) > columns - 1:
        text = text[1:]
    return (CUT + text)[:columns]


def _columns(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Cf", "Me", "Mn"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
