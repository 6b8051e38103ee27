"""What a service manager hands over as files."""

from pathlib import Path

import pytest

from celery_statsd.credentials import LARGEST, VARIABLE, credentials
from celery_statsd.errors import ConfigError


def test_without_a_folder_there_are_none() -> None:
    """Nobody handed anything over."""
    assert {} == credentials({})
    assert {} == credentials({VARIABLE: ""})


def test_each_file_is_a_value(tmp_path: Path) -> None:
    """Without its comments; one that holds nothing else is not there, and no folder is read."""
    (tmp_path / "broker").write_text("\ufeff# ours\namqp://u:p#x@h1\n  # theirs\namqp://h2\n")
    (tmp_path / "management").write_text("#\n \n")
    (tmp_path / "transport_options").write_text('{"a": "#"}\n')
    (tmp_path / "..data").write_text("Kubernetes keeps its own here")
    (tmp_path / "folder").mkdir()
    expected = {"broker": "amqp://u:p#x@h1\namqp://h2", "transport_options": '{"a": "#"}'}
    assert expected == credentials({VARIABLE: str(tmp_path)})


def test_of_a_file_it_is_the_path(tmp_path: Path) -> None:
    """What the program reads itself is named, whatever is in it; an empty one is not set."""
    (tmp_path / "tls_key_file").write_text("# a comment\n-----BEGIN\n")
    (tmp_path / "tls_cert_file").write_text("\n")
    assert {"tls_key_file": str(tmp_path / "tls_key_file")} == credentials(
        {VARIABLE: str(tmp_path)}
    )


def refusal(folder: Path) -> str:
    """How they are refused."""
    with pytest.raises(ConfigError) as told:
        credentials({VARIABLE: str(folder)})
    return str(told.value)


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    """A folder that is not there, a file that is too long, and one that is no text."""
    gone = tmp_path / "gone"
    expected = f"{VARIABLE}: {gone} cannot be read (No such file or directory); name a folder this"
    assert refusal(gone).startswith(expected)
    file = tmp_path / "broker"
    file.write_bytes(b"\xff\xfe")
    assert f"broker: {file} is not UTF-8 text; save it as UTF-8" == refusal(tmp_path)
    file.write_text("x" * (LARGEST + 1))
    assert f"broker: {file} is too long; keep it under {LARGEST} bytes" == refusal(tmp_path)


def test_a_file_that_may_not_be_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its name, and who may not."""
    file = tmp_path / "broker"
    file.write_text("redis://h")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    expected = f"broker: {file} cannot be read (Permission denied); let this user read it"
    assert expected == refusal(tmp_path)
