"""A machine with a systemd that has really booted: a container over this host's own root.

All it writes goes to memory, and all its mounts are in a namespace of its own, so nothing of it is
left. It has the host's programs and the host's network, so servers on 127.0.0.1 are its servers
too. Only root may boot one.
"""

import contextlib
import os
import subprocess
from pathlib import Path
from typing import Self

from tests.servers.process import Child, MissingProgramError, program

# Services of the host must not start in it; what is left is what every machine has.
BOOT = """\
set -e
mount -t tmpfs memory "$PLACE"
mkdir "$PLACE/upper" "$PLACE/work" "$PLACE/root"
mount -t overlay root -o lowerdir=/,upperdir="$PLACE/upper",workdir="$PLACE/work" "$PLACE/root"
rm -f "$PLACE"/root/etc/systemd/system/*.wants/*
ln -sf /dev/null "$PLACE/root/etc/systemd/system/getty.target"
exec systemd-nspawn --quiet --register=no --keep-unit --resolv-conf=off --timezone=off \
    --link-journal=no --machine=tests --directory="$PLACE/root" --boot
"""


class Machine:
    """Entered, it has booted."""

    def __init__(self, folder: Path) -> None:
        if os.geteuid():
            raise MissingProgramError("only root may boot a machine")
        program("systemd-nspawn")
        apart = [program("unshare"), "--mount", "--propagation", "private"]
        if subprocess.run([*apart, "true"], capture_output=True, check=False).returncode:
            raise MissingProgramError("nobody may mount anything here: no machine can be booted")
        place = folder / "machine"
        place.mkdir()
        command = [*apart, "sh", "-c", BOOT]
        self._child = Child("machine", command, folder, {"PLACE": str(place)})
        self._init = 0

    @property
    def root(self) -> Path:
        """Its file system, seen from here."""
        return Path(f"/proc/{self._init}/root")

    def run(self, *command: str | Path, check: bool = True) -> str:
        """What a command prints in it. Raises SubprocessError."""
        assert is_init(self._init), "it does not run"
        inside = ["nsenter", "-t", str(self._init), "-m", "-u", "-i", "-n", "-p", "--", *command]
        done = subprocess.run(inside, capture_output=True, text=True, check=False, cwd="/")
        if check and done.returncode:
            message = f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
            raise subprocess.SubprocessError(message)
        return done.stdout

    def show(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.run("systemctl", "show", "--value", "-p", name, unit).strip()

    def journal(self, unit: str) -> str:
        """What a unit and systemd have said of it."""
        return self.run("journalctl", "-u", unit, "-o", "cat", "--no-pager")

    def __enter__(self) -> Self:
        self._child.start(self._booted, 60)
        return self

    def __exit__(self, *_: object) -> None:
        self._child.stop()

    def _booted(self) -> bool:
        """Whether systemd has started all there is to start."""
        pid = self._child.pid
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if not found or not is_init(int(found[0])):
            return False
        self._init = int(found[0])
        state = self.run("systemctl", "is-system-running", check=False).strip()
        return state in ("running", "degraded")


def is_init(pid: int) -> bool:
    """Whether it is the systemd of another machine than this: what is run in it must never be run
    here."""
    with contextlib.suppress(OSError):
        namespaces = {os.readlink(f"/proc/{one}/ns/pid") for one in (pid, "self")}
        return len(namespaces) == 2 and Path(f"/proc/{pid}/comm").read_text() == "systemd\n"
    return False
