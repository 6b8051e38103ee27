"""Lines of a screen: pieces of text, each with a style, as wide as they are allowed to be."""

from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from typing import NamedTuple

from celery_statsd.top import words
from celery_statsd.top.verdict import Grade


class Style(Enum):
    """How a piece of text looks. What matters is said by a sign as well: see `Grade`."""

    PLAIN = "plain"
    DIM = "dim"
    BOLD = "bold"
    HEAD = "head"
    CHOSEN = "chosen"
    GOOD = "good"
    PAST = "past"
    CAREFUL = "careful"
    BAD = "bad"


GRADED = {
    Grade.GOOD: Style.PLAIN,
    Grade.PAST: Style.PAST,
    Grade.CAREFUL: Style.CAREFUL,
    Grade.BAD: Style.BAD,
}
"""How each grade looks."""


class Piece(NamedTuple):
    """Some text in one style."""

    text: str
    style: Style = Style.PLAIN


Line = tuple[Piece, ...]

EMPTY: Line = ()


def line(*pieces: str | Piece) -> Line:
    """A line of these pieces; a bare text is plain."""
    return tuple(Piece(piece) if isinstance(piece, str) else piece for piece in pieces)


def width(pieces: Iterable[Piece]) -> int:
    """Columns of a terminal that they take."""
    return sum(words.width(piece.text) for piece in pieces)


def fit(pieces: Line, columns: int) -> Line:
    """The beginning of a line that fits."""
    return tuple(_fitting(pieces, columns))


def fill(pieces: Line, columns: int, style: Style = Style.PLAIN) -> Line:
    """The line, cut or padded to just so many columns."""
    cut = fit(pieces, columns)
    return (*cut, Piece(" " * (columns - width(cut)), style))


def apart(left: Line, right: Line, columns: int) -> Line:
    """One line at the left and one at the right edge; where there is no room, the left one."""
    gap = columns - width(left) - width(right)
    return (*left, Piece(" " * gap), *right) if gap > 0 else fit(left, columns)


def flow(parts: Sequence[Line], columns: int, gap: str = "  ") -> list[Line]:
    """The parts beside each other, in as many lines as that takes."""
    lines: list[Line] = []
    for part in parts:
        longer = (*lines[-1], Piece(gap), *part) if lines else ()
        if longer and width(longer) <= columns:
            lines[-1] = longer
        else:
            lines.append(part)
    return lines


def text(pieces: Line) -> str:
    """The line without its styles, and without what is blank at its end."""
    return "".join(piece.text for piece in pieces).rstrip()


def _fitting(pieces: Line, columns: int) -> Iterator[Piece]:
    for piece in pieces:
        taken = words.width(piece.text)
        if taken > columns:
            yield Piece(words.head(piece.text, columns), piece.style)
            return
        columns -= taken
        yield piece
