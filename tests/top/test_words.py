"""Numbers in few characters, and names that leave a terminal alone."""

import pytest

from celery_statsd.top import words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"), (float("nan"), "-"), (0, "0"), (7.4, "7"), (9_999, "9999"), (9_999.5, "9k"),
        (10_000, "10k"), (999_999, "999k"), (1_000_000, "1M"), (123_456_789, "123M"),
        (5e9, "5G"), (7e12, "7T"), (-3, "-3"), (-12_345, "-12k"),
    ],
)  # fmt: skip
def test_a_count_has_four_characters(value: float | None, text: str) -> None:
    """And a sign."""
    assert text == words.count(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0, "0"), (0.02, "0.02"), (0.994, "0.99"), (0.996, "1.0"), (12.34, "12.3"),
     (999.9, "999.9"), (999.96, "1000"), (56_789, "56k")],
)  # fmt: skip
def test_a_rate_has_five_characters(value: float | None, text: str) -> None:
    """However small, it is not 0 unless it is."""
    assert text == words.rate(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"), (0.0, "0.0ms"), (9.94, "9.9ms"), (9.96, "10ms"), (999.4, "999ms"),
        (999.6, "1.0s"), (59_900, "59.9s"), (61_000, "1m01s"),
    ],
)  # fmt: skip
def test_times_have_a_unit_and_few_digits(value: float | None, text: str) -> None:
    """From tenths of a millisecond on."""
    assert text == words.milliseconds(value)


def test_a_clock_counts_hours() -> None:
    """Never below 0."""
    assert ["00:00:00", "00:12:31", "100:00:01"] == [*map(words.clock, (-3, 751.9, 360_001))]


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0, "0B"), (999, "999B"), (1500, "2kB"), (2.5e6, "2MB"), (7.25e9, "7.2GB")],
)
def test_bytes_have_a_unit(value: float | None, text: str) -> None:
    """Decimal ones."""
    assert text == words.size(value)


def test_a_hostile_name_moves_no_cursor() -> None:
    """What is not printable is a question mark; what is stays."""
    assert "a?[2J?b?c\u4e16" == words.safe("a\x1b[2J\nb\u202ec\u4e16")


@pytest.mark.parametrize(
    ("text", "columns"), [("abc", 3), ("\u4e16\u754c", 4), ("e\u0301", 1), ("", 0), ("\u00e9", 1)]
)
def test_a_width_is_in_columns(text: str, columns: int) -> None:
    """Chinese takes two, what stands above another character none."""
    assert columns == words.width(text)


def test_names_are_cut_where_they_tell_least() -> None:
    """The end of a task's name is what tells it from others."""
    assert ("shop.pay", "~op.pay", "~") == tuple(words.tail("shop.pay", n) for n in (8, 7, 1))
    assert "~\u754c" == words.tail("\u4e16\u754c", 3)
    assert ("shop", "\u4e16") == (words.head("shop.pay", 4), words.head("\u4e16\u754c", 3))
