"""Lines: as wide as they may be, and no wider."""

from celery_statsd.top.lines import Piece, Style, apart, fill, fit, flow, line, text, width


def test_a_bare_text_is_plain() -> None:
    """Pieces keep their style."""
    assert (Piece("a", Style.PLAIN), Piece("b", Style.BAD)) == line("a", Piece("b", Style.BAD))


def test_a_line_is_cut_where_the_screen_ends() -> None:
    """In the middle of a piece, if need be; what is wide is not halved."""
    bad = Piece("cdef", Style.BAD)
    assert line("ab", Piece("cd", Style.BAD)) == fit(line("ab", bad, "gh"), 4)
    assert 3 == width(fit(line("ab", "\u4e16"), 3)) + 1
    assert () == fit((), 5)


def test_a_line_is_filled_in_the_style_it_is_told() -> None:
    """To the last column."""
    assert "ab   " == "".join(piece.text for piece in fill(line("ab"), 5))
    assert Style.CHOSEN is fill(line("ab"), 5, Style.CHOSEN)[-1].style
    assert "abc" == text(fill(line("abcdef"), 3))


def test_two_ends_stand_apart_or_the_left_one_stands_alone() -> None:
    """Where there is no room for both."""
    assert "left    right" == text(apart(line("left"), line("right"), 13))
    assert "left" == text(apart(line("left"), line("right"), 9))


def test_parts_flow_into_as_many_lines_as_they_need() -> None:
    """A part is never broken."""
    parts = [line(word) for word in ("aaa", "bbb", "ccc", "a long one")]
    assert ["aaa  bbb", "ccc", "a long one"] == [text(one) for one in flow(parts, 8)]
    assert [] == flow([], 8)
