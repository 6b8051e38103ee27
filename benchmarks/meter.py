"""What a process group has used: CPU to the nanosecond, memory at its peak, and wake-ups.

Linux only. The CPU clock of another process is `clock_gettime` with the id that
`clock_getcpuclockid(3)` would give, which Python does not offer for processes; unlike
/proc/PID/stat it does not count in hundredths of a second, and ended threads are in it.
"""

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from tests.servers.process import group

_SCHED = 2  # CPUCLOCK_SCHED of linux/posix-timers.h


class Meter:
    """The processes of some groups, as they are when it is made."""

    def __init__(self, groups: Iterable[int]) -> None:
        self.pids = [pid for leader in groups for pid in group(leader)]

    def cpu(self) -> float:
        """Seconds of CPU used so far."""
        return sum(time.clock_gettime((~pid << 3) | _SCHED) for pid in self.pids)

    def begin_peak(self) -> None:
        """Forget how much memory was ever used."""
        for pid in self.pids:
            Path(f"/proc/{pid}/clear_refs").write_text("5")

    def peak_mb(self) -> float:
        """MB resident at most since `begin_peak`."""
        return sum(_status(pid, "VmHWM") for pid in self.pids) / 1024

    def resident_mb(self) -> float:
        """MB resident now."""
        return sum(_status(pid, "VmRSS") for pid in self.pids) / 1024

    def switches(self) -> int:
        """How often its threads have gone to sleep so far, which is how often they were woken."""
        return sum(
            _status(task, "voluntary_ctxt_switches")
            for pid in self.pids
            for task in Path(f"/proc/{pid}/task").iterdir()
        )


def _status(process: int | Path, key: str) -> int:
    """A number in a status file; 0 for a thread that is just gone."""
    folder = Path("/proc") / str(process)
    with suppress(OSError):
        for line in (folder / "status").read_text().splitlines():
            if line.startswith(f"{key}:"):
                return int(line.split()[1])
    return 0


class Quiet:
    """Tells when `meter`'s processes have been as good as idle for `steps` looks in a row."""

    def __init__(
        self, meter: Meter, busy: float = 0.05, step: float = 0.05, steps: int = 6
    ) -> None:
        self._meter = meter
        self._busy = busy * step
        self._step = step
        self._steps = steps
        self.since = time.monotonic()
        """When the quiet began."""

    def wait(self, seconds: float, done: Callable[[], object] | None = None) -> None:
        """Return once it is quiet and `done`, if given, holds. Raises TimeoutError."""
        deadline = time.monotonic() + seconds
        quiet, before = 0, self._meter.cpu()
        while quiet < self._steps or (done and not done()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"still busy after {seconds:g} s")
            time.sleep(self._step)
            now = self._meter.cpu()
            if now - before > self._busy or quiet == 0:
                self.since = time.monotonic()
            quiet = quiet + 1 if now - before <= self._busy else 0
            before = now
