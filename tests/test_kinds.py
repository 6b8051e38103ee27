"""What a setting may be; most of it is tried with the settings themselves (see `test_config`)."""

from typing import Any

import pytest

from celery_statsd.kinds import ADDRESS, LEVELS, NAMES


@pytest.mark.parametrize(
    ("raw", "names"),
    [
        ("a", ("a",)),
        ("a,b , c", ("a", "b", "c")),
        ("a\nb c", ("a", "b", "c")),
        (["a,b", "c d", "a"], ("a", "b", "c d")),
        ([], ()),
        ("", ()),
    ],
)
def test_names_are_separated_by_commas(raw: Any, names: tuple[str, ...]) -> None:
    """In text by white space, too; each counts once."""
    assert names == NAMES.read(raw)


@pytest.mark.parametrize("raw", [7, None, {"a": 1}, ["a", 7], ["a\x00b"]])
def test_what_is_no_name_is_told(raw: Any) -> None:
    """With a reason."""
    with pytest.raises(ValueError, match=r"is neither|holds"):
        NAMES.read(raw)


@pytest.mark.parametrize("raw", [{"etl": [1, 2, 3]}, '{"etl": [1, 2, 3]}'])
def test_levels_are_three_rising_numbers(raw: Any) -> None:
    """As a mapping, or as JSON."""
    assert {"etl": [1, 2, 3]} == LEVELS.read(raw)


@pytest.mark.parametrize(
    "some", [[], [1, 2], [1, 2, 3, 4], [1, 2, 2], [3, 2, 1], [0, 1, 2], [1, 2, 3.0], ["1"] * 3, 7]
)
def test_other_levels_are_told(some: Any) -> None:
    """With a reason."""
    with pytest.raises(ValueError, match=r"three whole numbers|do not rise"):
        LEVELS.read({"etl": some})


def test_an_address_is_one() -> None:
    """With a scheme."""
    assert "http://h:15672" == ADDRESS.read("http://h:15672")
    for raw in ("h:15672", "http:// h", 7):
        with pytest.raises(ValueError, match="is no"):
            ADDRESS.read(raw)
