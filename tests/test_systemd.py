"""The service that is laid down on a host: what is made, what stays, and who may read it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from celery_statsd import systemd
from celery_statsd.config import load
from celery_statsd.errors import ConfigError
from celery_statsd.systemd import CREDENTIALS, PROGRAM, install, program, shipped

UNITS = ("celery-statsd.service", "celery-statsd@.service")
ELSEWHERE = "/usr/local/bin/celery-statsd"
DIRECTIVE = re.compile(r"[A-Z]\w+=")


def tree(root: Path) -> dict[str, tuple[int, str]]:
    """Each file below `root`, with its mode and text."""
    return {
        str(path.relative_to(root)): (path.stat().st_mode & 0o777, path.read_text())
        for path in root.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize(
    ("instance", "unit", "name"),
    [(None, "celery-statsd.service", "celery-statsd"), ("shop.eu", "celery-statsd@.service", "sh")],
)
def test_it_lays_down_unit_settings_and_credentials(
    instance: str | None, unit: str, name: str, tmp_path: Path
) -> None:
    """Passwords are for root alone, all of it is said, and a second time changes nothing."""
    name = instance or name
    lines = list(install(tmp_path, ELSEWHERE, instance))
    found = tree(tmp_path)
    modes = {path: mode for path, (mode, _) in found.items()}
    expected = {f"etc/systemd/system/{unit}": 0o644, f"etc/celery-statsd/{name}.yml": 0o644}
    assert expected | {f"etc/celery-statsd/{name}.{key}": 0o600 for key in CREDENTIALS} == modes
    assert sorted(f"made {tmp_path / path}" for path in modes) == sorted(lines)
    assert f"ExecStart={ELSEWHERE} agent " in found[f"etc/systemd/system/{unit}"][1]
    assert PROGRAM not in found[f"etc/systemd/system/{unit}"][1]

    again = list(install(tmp_path, ELSEWHERE, instance))
    assert found == tree(tmp_path)
    assert {"kept"} == {line.split()[0] for line in again}


@pytest.mark.parametrize("instance", [None, "shop.eu"])
def test_what_it_lays_down_are_settings(instance: str | None, tmp_path: Path) -> None:
    """An instance has its own app; all else is as by default, the credentials included."""
    list(install(tmp_path, PROGRAM, instance))
    folder, name = tmp_path / "etc/celery-statsd", instance or "celery-statsd"
    handed = tmp_path / "handed"
    handed.mkdir()
    for key in CREDENTIALS:
        shutil.copy(folder / f"{name}.{key}", handed / key)
    environ = {"CREDENTIALS_DIRECTORY": str(handed)}
    got = load({}, environ, str(folder / f"{name}.yml"), lambda _: {})
    changed = {key for key, origin in got.origins.items() if origin != "default"}
    assert ({"app"} if instance else set()) == changed
    assert (instance or "default") == got.app


def test_what_an_administrator_wrote_stays_and_what_is_ours_is_renewed(tmp_path: Path) -> None:
    """The unit of another version goes beside the new one."""
    list(install(tmp_path, PROGRAM))
    folder, units = tmp_path / "etc/celery-statsd", tmp_path / "etc/systemd/system"
    (folder / "celery-statsd.yml").write_text("app: shop\n")
    (folder / "celery-statsd.broker").write_text("redis://h\n")
    (units / UNITS[0]).write_text("[Service]\n")
    lines = list(install(tmp_path, PROGRAM))
    assert "app: shop\n" == (folder / "celery-statsd.yml").read_text()
    assert "redis://h\n" == (folder / "celery-statsd.broker").read_text()
    assert shipped(f"systemd/{UNITS[0]}") == (units / UNITS[0]).read_text()
    assert "[Service]\n" == (units / f"{UNITS[0]}.before").read_text()
    told = f"replaced {units / UNITS[0]}; the one before is {UNITS[0]}.before beside it"
    assert told == lines[0]


@pytest.mark.parametrize("instance", ["", "celery-statsd", "a/b", "../x", "-x", "a b", "a%i"])
def test_a_name_that_is_none_is_refused(instance: str, tmp_path: Path) -> None:
    """Before anything is made."""
    with pytest.raises(ConfigError, match=r"^instance: .* names no instance; take letters"):
        list(install(tmp_path, PROGRAM, instance))
    assert {} == tree(tmp_path)


def test_who_may_not_write_there_is_told(tmp_path: Path) -> None:
    """In a sentence with the cure."""
    (tmp_path / "etc").write_text("a file")
    with pytest.raises(ConfigError, match=r"^systemd: .* cannot be written \(.*; run it as root"):
        list(install(tmp_path, PROGRAM))


def test_a_systemd_that_refuses_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it refuses everybody but root, in its own words and with the cure."""
    refusing = tmp_path / "systemctl"
    refusing.write_text("#!/bin/sh\necho 'Interactive authentication required.' >&2; exit 1\n")
    refusing.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(systemd.os.path, "isdir", lambda _: True)
    told = r"^systemd: .* \(Interactive authentication required\); run it as root"
    with pytest.raises(ConfigError, match=told):
        systemd.reload_units()


def test_a_program_that_a_service_cannot_see_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its Python, what that is made of, and the package itself."""
    monkeypatch.setattr(systemd, "shipped_at", lambda: Path("/opt/x/lib/celery_statsd"))
    monkeypatch.setattr(sys, "base_prefix", "/usr")
    monkeypatch.setattr(sys, "executable", "/opt/x/bin/python")
    assert "/opt/x/bin/python -m celery_statsd" == program()
    (tmp_path / "celery-statsd").touch()
    monkeypatch.setattr(systemd, "HIDDEN", ())
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert str(tmp_path / "celery-statsd") == program()
    monkeypatch.setattr(systemd, "HIDDEN", ("/home", "/root"))
    monkeypatch.setattr(sys, "base_prefix", "/root/python")
    with pytest.raises(
        ConfigError, match=r"^systemd: /root/.* is hidden from services; install it"
    ):
        program()


def test_the_two_units_differ_in_names_only() -> None:
    """What is a name here is the instance's there."""
    one, many = (shipped(f"systemd/{unit}").splitlines() for unit in UNITS)
    assert len(one) == len(many)
    differing = [
        (mine, its)
        for mine, its in zip(one, many, strict=True)
        if mine != its and not mine.startswith("#")
    ]
    for mine, its in differing:
        named = its.replace("celery-statsd@%i", "%i").replace(" (%i)", "")
        assert mine == named.replace("%i", "celery-statsd")
    assert 6 == len(differing)


@pytest.mark.parametrize("unit", UNITS)
def test_each_directive_of_the_service_has_its_reason(unit: str) -> None:
    """A comment above it, or above the directives it stands among."""
    lines = shipped(f"systemd/{unit}").partition("[Service]\n")[2].partition("[Install]")[0]
    for block in lines.strip().split("\n\n"):
        assert block.startswith("#"), block
    bare = [line for line in lines.splitlines() if line and line[0] != "#"]
    assert bare == [line for line in bare if DIRECTIVE.match(line)]


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_finds_it_hardened(unit: str, tmp_path: Path) -> None:
    """An exposure below 1.5 of 10, by its own judgement, and no key that it does not know."""
    analyze = shutil.which("systemd-analyze")
    if not analyze:
        assert not os.environ.get("CI")
        pytest.skip("no systemd-analyze here")
    path = tmp_path / unit
    path.write_text(shipped(f"systemd/{unit}").replace(PROGRAM, "/bin/true"))
    command = [analyze, "security", "--offline=true", "--threshold=15", str(path)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert 0 == found.returncode, found.stdout[-300:]
    verified = subprocess.run(
        [analyze, "verify", path], capture_output=True, text=True, check=False
    )
    assert [] == [line for line in verified.stderr.splitlines() if unit.partition(".")[0] in line]
