"""The service in a systemd that has really booted: installed as the documents say, started, killed,
stuck, reloaded and stopped under load on RabbitMQ, with nothing missing in Graphite.

It is one story, told by a fixture that keeps what was seen; each test reads a part of it.
"""

import contextlib
import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.conftest import running
from tests.documents import PAGES, blocks
from tests.faults.stream import Publisher, vhost
from tests.servers.graphite import Graphite
from tests.servers.machine import Machine
from tests.servers.process import wait_until
from tests.servers.rabbitmq import RabbitMQ

pytestmark = pytest.mark.e2e

UNIT, ABSENT = "celery-statsd", "celery-statsd@shop"

BLOCKS = {page.name: [text for _, text in blocks(page, "host")] for page in PAGES}
"""The commands that the documents show for a host, by page."""

INSTALL, BESIDE, BEGIN, SEE, ASK, RELOAD, STOP, INSTANCE, ANOTHER, JUDGE = BLOCKS["install.md"]
UPGRADE, REMOVE = BLOCKS["operations.md"]

OTHERS = [
    text for page, all_of_it in BLOCKS.items() for text in all_of_it
    if page not in ("install.md", "operations.md")
]  # fmt: skip
"""Those without a place of their own in the story."""

RATE = 200.0
"""Attempts a second."""

STAGES = ("received", "started", "succeeded")

QUICK = "[Service]\nWatchdogSec=4\nRestartSec=0.1\nEnvironment=PYTHONPATH=/srv/jam\n"
"""A watchdog that a test can wait for, and what jams the agent."""

JAM = "import signal, time\n\nsignal.signal(signal.SIGUSR1, lambda *_: time.sleep(3600))\n"
"""Makes SIGUSR1 hold the thread that listens: all others go on, as if nothing were wrong."""


@dataclass
class Story:
    """What was seen."""

    installed: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    again: list[str] = field(default_factory=list)
    states: dict[str, str] = field(default_factory=dict)
    """The line for people, by what had just happened."""
    restarts: dict[str, int] = field(default_factory=dict)
    pids: dict[str, str] = field(default_factory=dict)
    journal: str = ""
    process: dict[str, str] = field(default_factory=dict)
    environment: str = ""
    state_files: list[str] = field(default_factory=list)
    stop: str = ""
    left: str = ""
    wrong: str = ""
    states_there: list[str] = field(default_factory=list)
    sent: int = 0
    counted: dict[str, float] = field(default_factory=dict)


class Host:
    """The booted machine with the service on it, and what is noted down about it."""

    def __init__(self, machine: Machine, graphite: Graphite, app: str) -> None:
        self.machine = machine
        self.story = Story()
        self._graphite = graphite
        self._app = app

    def do(self, block: str) -> list[str]:
        """Run a block of commands in the folder of the wheel; the lines it prints."""
        return self.machine.run("sh", "-ec", f"cd /srv\n{block}").splitlines()

    def configure(self, name: str, broker: str, *rows: str) -> None:
        """Settings in the file for settings, the broker in the file for root alone."""
        folder = self.machine.root / "etc/celery-statsd"
        with (folder / f"{name}.yml").open("a") as settings:
            settings.write("\n".join(("", *rows, "")))
        with (folder / f"{name}.broker").open("a") as credential:
            credential.write(f"{broker}\n")

    def be_quick(self) -> None:
        """As an administrator changes a unit: its watchdog bites soon, and it can be jammed."""
        for unit in ("celery-statsd.service.d", "celery-statsd@.service.d"):
            folder = self.machine.root / "etc/systemd/system" / unit
            folder.mkdir()
            (folder / "quick.conf").write_text(QUICK)
        (self.machine.root / "srv/jam").mkdir()
        (self.machine.root / "srv/jam/sitecustomize.py").write_text(JAM)
        self.machine.run("systemctl", "daemon-reload")

    def note(self, what: str, unit: str = UNIT) -> None:
        """What systemd says now."""
        show = self.machine.show
        self.story.states[what] = f"{show(unit, 'ActiveState')}: {show(unit, 'StatusText')}"
        self.story.restarts[what] = int(show(unit, "NRestarts"))
        self.story.pids[what] = show(unit, "MainPID")

    def end(self, what: str, signal: str) -> None:
        """Send the agent a signal, and wait until another one is there."""
        before = int(self.machine.show(UNIT, "NRestarts"))
        self.machine.run("systemctl", "kill", "--kill-who=main", "-s", signal, UNIT)
        wait_until(
            lambda: (
                int(self.machine.show(UNIT, "NRestarts")) == before + 1
                and self.machine.show(UNIT, "ActiveState") == "active"
            ),
            20,
            f"another one is ready after {what}",
            poll=0.1,
        )
        self.note(what)

    def go_on(self) -> None:
        """Wait until more has come out in Graphite."""
        before = self.total("succeeded")
        wait_until(lambda: self.total("succeeded") > before, 20, "it counts", poll=0.1)

    def total(self, stage: str) -> float:
        """What Graphite has."""
        path = f"stats.counters.celery.{self._app}.cluster.all.{stage}.all.count"
        return self._graphite.total(path)

    def counted(self) -> dict[str, float]:
        """What Graphite has of each stage, once carbon has written all; what is missing then is
        missing."""
        with suppress(TimeoutError):
            wait_until(
                lambda: min(map(self.total, STAGES)) >= self.story.sent, 30, "carbon has written"
            )
        return {stage: self.total(stage) for stage in STAGES}

    def look_inside(self) -> None:
        """At the process as the kernel has it."""
        process = self.machine.root / "proc" / self.machine.show(UNIT, "MainPID")
        rows = (process / "status").read_text().splitlines()
        self.story.process = {
            key: value.strip() for key, _, value in (r.partition(":") for r in rows)
        }
        told = (process / "environ").read_bytes() + (process / "cmdline").read_bytes()
        self.story.environment = told.decode()
        state = self.machine.root / "var/lib/private/celery-statsd"
        self.story.state_files = [path.name for path in state.iterdir()]


@pytest.fixture(scope="module")
def story(
    wheel: Path, rabbitmq: RabbitMQ, graphite: Graphite, tmp_path_factory: pytest.TempPathFactory
) -> Story:
    """What happened."""
    url, folder = rabbitmq.fresh_url(), tmp_path_factory.mktemp("systemd")
    publisher = Publisher(rabbitmq.port, vhost(url), RATE)
    with running(lambda: Machine(folder)) as machine:
        host = Host(machine, graphite, "host")
        set_up(host, wheel, url, f"sinks: ['graphite://127.0.0.1:{graphite.line_port}']")
        publisher.start()
        try:
            live(host)
            host.story.sent = publisher.stop()
        finally:
            publisher.leave()
        look_back(host)
    return host.story


def set_up(host: Host, wheel: Path, url: str, sink: str) -> None:
    """Until the agent and an instance of it run."""
    shutil.copy(wheel, host.machine.root / "srv")
    host.story.installed = host.do(INSTALL)
    host.do(BESIDE)
    host.be_quick()
    host.do(INSTANCE)
    host.configure("shop", "redis://127.0.0.1:1", sink)
    (host.machine.root / "etc/celery-statsd/shop.management").unlink()
    host.do(ANOTHER)
    host.note("absent", ABSENT)
    host.configure(UNIT, url, sink, "app: host", "flush_interval: 1")
    host.do(BEGIN)
    host.note("start")
    host.story.seen = host.do(SEE)


def live(host: Host) -> None:
    """Under load: whatever ends it, and what must not."""
    host.go_on()
    host.story.asked = host.do(ASK)
    host.look_inside()
    host.end("kill", "KILL")
    host.end("crash", "SEGV")
    host.end("stuck", "USR1")
    host.configure(UNIT, "", "log_level: debug")
    host.do(RELOAD)
    wait_until(lambda: " reloaded " in host.machine.journal(UNIT), 10, "it is told")
    host.go_on()
    host.note("reload")
    host.story.again = host.do(UPGRADE)
    host.go_on()
    host.do(STOP)
    show = host.machine.show
    host.story.stop = show(UNIT, "Result") + show(UNIT, "ExecMainStatus")
    host.machine.run("systemctl", "start", UNIT)
    host.go_on()


def look_back(host: Host) -> None:
    """When nothing more is sent: what has come out; then it is removed."""
    with contextlib.suppress(TimeoutError):
        wait_until(lambda: host.total("succeeded") >= host.story.sent, 15, "all", poll=0.1)
    for block in (JUDGE, *OTHERS):
        host.do(block)
    host.machine.run("systemctl", "stop", UNIT, ABSENT)
    host.story.counted = host.counted()
    host.story.journal = host.machine.journal(UNIT)
    host.configure("shop", "", "nonsense: 1")
    host.machine.run("systemctl", "start", ABSENT, check=False)
    host.note("wrong", ABSENT)
    host.story.wrong = host.machine.journal(ABSENT)
    states = host.machine.root / "var/lib/private"
    host.story.states_there = [path.name for path in states.glob("celery-statsd*")]
    host.do(REMOVE)
    host.story.left = host.machine.show(UNIT, "LoadState")


def test_it_is_installed_by_a_command_and_again(story: Story) -> None:
    """It says what it makes; at an upgrade it keeps all."""
    assert "made /etc/systemd/system/celery-statsd.service" in story.installed
    assert "systemd has read its units again" == story.installed[-2]
    kept = [line for line in story.again if line.startswith("kept /etc/")]
    assert 5 == len(kept)
    assert not [line for line in story.again if line.startswith(("made", "replaced"))]


def test_nobody_waits_for_a_broker_that_is_away(story: Story) -> None:
    """The instance is ready when it has found that; and says it. Nor does a credential that is not
    there keep it from starting."""
    assert story.states["absent"].startswith("active: redis://127.0.0.1:1 is away: 0.0 events/s")


def test_it_is_ready_when_the_broker_answers(story: Story) -> None:
    """With a line for people."""
    state = story.states["start"]
    assert state.startswith("active: amqp://guest@127.0.0.1:"), state
    assert " is away" not in state
    assert ": 0.0 events/s, none yet; to graphite://127.0.0.1:" in state
    assert [line for line in story.seen if line.strip().startswith('Status: "amqp://guest@')]
    assert " events/s, the last 0 s ago; to graphite://" in story.states["reload"]


def test_root_sees_in_a_shell_what_the_service_sees(story: Story) -> None:
    """The broker of the credential, and its events."""
    (broker,) = [line.split() for line in story.asked if line.startswith("broker ")]
    assert "amqp://guest:***@127.0.0.1:" in broker[1]
    assert [line for line in story.asked if " task-received " in line]


def test_nothing_is_missing_in_graphite(story: Story) -> None:
    """Killed, crashed, stuck, reloaded and stopped under load: what the broker took is there, and
    once."""
    assert story.sent > 5 * RATE
    assert dict.fromkeys(STAGES, float(story.sent)) == story.counted, story.journal


def test_it_is_started_again_whatever_ends_it(story: Story) -> None:
    """Each time by systemd: also one whose listening thread alone is stuck, by its watchdog."""
    assert {"start": 0, "kill": 1, "crash": 2, "stuck": 3}.items() <= story.restarts.items()
    assert "celery-statsd.service: Watchdog timeout" in story.journal


def test_the_journal_has_where_it_crashed_or_was_stuck(story: Story) -> None:
    """A line for each thread: where it stood."""
    assert "Fatal Python error: Segmentation fault" in story.journal
    assert '/celery_statsd/agent.py", line ' in story.journal
    stuck = story.journal.partition("Watchdog timeout")[2].partition("Scheduled restart")[0]
    assert "Fatal Python error: Aborted" in stuck
    assert 'File "/srv/jam/sitecustomize.py", line 3 in <lambda>' in stuck


def test_a_reload_changes_settings_and_not_the_process(story: Story) -> None:
    """It goes on counting, under the same id."""
    assert "info reloaded changed=log_level" in story.journal
    assert story.pids["stuck"] == story.pids["reload"]


def test_it_stops_well(story: Story) -> None:
    """With exit code 0, and the farewell said."""
    assert "success0" == story.stop
    assert 3 == story.journal.count("info agent_stopped ")


def test_an_instance_has_a_state_of_its_own(story: Story) -> None:
    """Beside that of the service without a name."""
    assert ["celery-statsd", "celery-statsd@shop"] == sorted(story.states_there)


def test_wrong_settings_are_told_once(story: Story) -> None:
    """They stay wrong, so nobody starts it again and again."""
    assert 1 == story.wrong.count("celery-statsd: nonsense: no such setting (/etc/celery-statsd/")
    assert (0, "failed: ") == (story.restarts["wrong"], story.states["wrong"])


def test_it_goes_without_a_trace(story: Story) -> None:
    """What the documents say to remove is all there is to systemd."""
    assert "not-found" == story.left


def test_it_may_do_nothing_else(story: Story) -> None:
    """A user of its own, no rights of root, filtered calls; and still it does its job."""
    assert "0" not in story.process["Uid"].split()
    assert "1" == story.process["NoNewPrivs"]
    assert "2" == story.process["Seccomp"]
    assert {0} == {int(story.process[key], 16) for key in ("CapEff", "CapPrm", "CapBnd")}
    assert ["host.journal"] == [name for name in story.state_files if name.endswith(".journal")]
    assert "denied" not in story.journal.lower()
    assert "not permitted" not in story.journal.lower()


def test_the_password_is_in_no_list(story: Story) -> None:
    """Neither in the environment nor among the arguments, nor in the journal."""
    assert "CREDENTIALS_DIRECTORY=" in story.environment
    assert "guest:guest" not in story.environment
    assert "guest:guest" not in story.journal
