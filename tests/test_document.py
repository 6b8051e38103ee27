"""YAML: what may stand in a file of ours, and what is written."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from celery_statsd.document import LARGEST_FILE, content, parsed, plain, written
from celery_statsd.errors import ConfigError


def read(folder: Path, text: str) -> Any:
    path = folder / "file.yml"
    path.write_text(text, encoding="utf-8")
    node = parsed("rules", str(path))
    return None if node is None else plain(node)


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("", None),
        ("a: 1\nb: [x, 2.5, yes, null]", {"a": 1, "b": ["x", 2.5, True, None]}),
        ("when: 2026-01-01", {"when": "2026-01-01"}),
        ("{}", {}),
    ],
)
def test_plain_data_is_read(tmp_path: Path, text: str, data: Any) -> None:
    """Mappings, lists, text, numbers, switches."""
    assert data == read(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: &x 1\nb: *x", "uses an alias"),
        ("a: !!binary aGk=", "has a tag or a form"),
        ("a: 1\na: 2", "stands there twice"),
        ("a: !!int x", "looks like a number"),
        ("1: 2", "has a key that is no text"),
    ],
)
def test_what_could_mean_too_much_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    """With the reason, and without the value."""
    with pytest.raises(ValueError, match=reason):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "reason"), [("a: [", r"file\.yml, line 1, column"), ("a: \0", "forbids|mend|line")]
)
def test_what_is_no_yaml_is_told(tmp_path: Path, text: str, reason: str) -> None:
    """By the key that names the file."""
    with pytest.raises(ConfigError, match=f"rules: .*({reason})"):
        read(tmp_path, text)


def test_a_file_has_a_size(tmp_path: Path) -> None:
    """And an encoding, and must be there."""
    path = tmp_path / "long"
    path.write_text("x" * (LARGEST_FILE + 1))
    with pytest.raises(ConfigError, match="is too long"):
        content("rules", str(path))
    path.write_bytes(b"\xff\xfe\xfd")
    with pytest.raises(ConfigError, match="is not UTF-8"):
        content("rules", str(path))
    with pytest.raises(ConfigError, match="cannot be read"):
        content("rules", str(tmp_path / "none"))


def test_what_is_written_is_read_by_others() -> None:
    """In its order, without aliases, the same text each time."""
    inner = {"z": "2026-01-01", "a": ["yes", "1", "é", "{{ $x }}", "a: b", 1.0, True, None]}
    data = {"one": inner, "two": inner}
    text = written(data)
    assert data == yaml.safe_load(text)
    assert written(data) == text
    assert "&" not in text
    assert text.index("one") < text.index("z:") < text.index("a:") < text.index("two")
