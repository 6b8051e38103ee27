"""The command line as its users meet it: real processes, their output, their exit codes."""

import gc
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from celery_statsd import cli
from celery_statsd.catalogue import as_json, as_markdown, as_table
from celery_statsd.keys import KEYS
from tests.servers.agent import Agent
from tests.servers.process import REPOSITORY, free_port, wait_until
from tests.servers.rabbitmq import RabbitMQ
from tests.servers.redis import Redis
from tests.servers.worker import Cluster
from tests.source.stream import send
from tests.traces import FOLDER
from tests.traces import messages as trace_messages

COMMANDS = ("agent", "events", "queues", "replay", "metrics", "config", "demo")
TRACE = str(FOLDER / "redis-prefork-57.ndjson.gz")
PROGRAM = (sys.executable, "-m", "celery_statsd")
ENVIRONMENT = {
    **{name: text for name, text in os.environ.items() if not name.startswith("CELERY_STATSD_")},
    "PYTHONPATH": str(REPOSITORY),
}

Finished = subprocess.CompletedProcess[str]


def run(*arguments: str, env: dict[str, str] | None = None, cwd: Path = REPOSITORY) -> Finished:
    """The program, run to its end."""
    return subprocess.run(
        [*PROGRAM, *arguments],
        env={**ENVIRONMENT, **(env or {})},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


class Running:
    """The program while it runs: stdout and stderr go to files of their own."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self._out, self._err = folder / "out", folder / "err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [*PROGRAM, *arguments], env=ENVIRONMENT, cwd=folder, stdout=out, stderr=err
            )

    @property
    def lines(self) -> list[str]:
        """The whole lines of stdout so far."""
        return self._out.read_text().rpartition("\n")[0].splitlines()

    @property
    def said(self) -> str:
        """What stderr has so far."""
        return self._err.read_text()

    def end(self, number: int) -> int:
        """Send a signal; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(10)


@contextmanager
def watching(folder: Path, url: str, *flags: str) -> Iterator[Running]:
    """`celery-statsd events`, once it listens."""
    running = Running(folder, "events", "--broker", url, *flags)
    try:
        wait_until(lambda: "broker_connected" in running.said, 10, "it listens")
        yield running
    finally:
        running.process.kill()
        running.process.wait(10)


# --- help, version, mistakes -----------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(command: str) -> None:
    """`--help` and `-h` say what a command does, on stdout, with code 0."""
    found = run(command, "--help")

    assert (0, "") == (found.returncode, found.stderr)
    assert found.stdout.startswith(f"Usage: celery-statsd {command} [OPTIONS]")
    assert "--help" in found.stdout


def test_help_lists_the_commands() -> None:
    """The program's own help names each command."""
    found = run("-h")

    assert (0, "") == (found.returncode, found.stderr)
    listed = [line.split()[0] for line in found.stdout.partition("Commands:")[2].splitlines()[1:]]
    assert sorted(COMMANDS) == sorted(listed)


def test_agent_has_a_flag_for_each_key() -> None:
    """Every setting can be given on the command line."""
    helped = run("agent", "--help").stdout

    assert [] == [key.name for key in KEYS if key.flags[-1].partition("/")[0] not in helped]


MISTAKES = {
    "nothing": ([], "Usage: celery-statsd"),
    "command": (["agnet"], "Error: No such command 'agnet'."),
    "flag": (["agent", "--brokre", "x"], "Error: No such option '--brokre'"),
    "no value": (["agent", "--broker"], "Error: Option '--broker' requires an argument."),
    "argument": (["agent", "x"], "Error: Got unexpected extra argument (x)"),
    "no file": (["replay"], "Error: Missing argument 'FILE...'."),
    "seconds": (["events", "--seconds", "soon"], "Error: Invalid value for '--seconds'"),
    "past": (["events", "--seconds", "-1"], "Error: Invalid value for '--seconds'"),
    "broker": (["agent", "-b", "localhost"], "celery-statsd: broker: "),
    "transport": (["agent", "-b", "sqs://"], "celery-statsd: broker: sqs cannot carry"),
    "unknown": (["events", "-b", "ftp://x"], "celery-statsd: broker: unknown transport 'ftp'"),
    "sink": (["agent", "--sink", "ftp://x"], "celery-statsd: sinks: 'ftp://x' has an unknown"),
    "option": (["agent", "--sink", "statsd://x?a=1"], "celery-statsd: sinks: 'statsd://x?a=1' has"),
    "interval": (["agent", "--flush-interval", "0"], "celery-statsd: flush_interval: '0' from"),
    "file": (["config", "--config", "/none.yml"], "celery-statsd: config: /none.yml cannot be"),
    "app": (["config", "-A", "no.such:app"], "celery-statsd: celery_app: 'no.such:app' cannot"),
    "recording": (["replay", "/none"], "celery-statsd: /none: cannot be read (No such file"),
    "replay sink": (["replay", "--sink", "x://y", TRACE], "celery-statsd: sinks: 'x://y' has an"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_with_exit_code_2(name: str) -> None:
    """Whatever is wrong is said on stderr, in words and not as a traceback; stdout is empty."""
    arguments, sentence = MISTAKES[name]
    found = run(*arguments)

    assert (2, "") == (found.returncode, found.stdout)
    assert sentence in found.stderr
    assert "Traceback" not in found.stderr


def test_several_mistakes_are_told_at_once() -> None:
    """One sentence a line, each with the program's name, the key and the cure."""
    found = run("agent", "--app", "", "--max-series", "0", "--log-level", "loud")

    assert 2 == found.returncode
    heads = [line.split(": ")[:2] for line in found.stderr.splitlines()]
    assert [["celery-statsd", key] for key in ("app", "max_series", "log_level")] == heads
    assert all("; write " in line for line in found.stderr.splitlines())


# --- settings --------------------------------------------------------------------------------


def test_flags_beat_the_environment_beats_the_file_beats_the_default(tmp_path: Path) -> None:
    """`config` tells the value in force of each key, and where it comes from."""
    file = tmp_path / "c.yml"
    file.write_text("app: file\nprefix: file\nhost: file\n")
    env = {"CELERY_STATSD_APP": "env", "CELERY_STATSD_PREFIX": "env"}
    found = run("config", "--json", "--config", str(file), "--app", "flag", env=env)

    told = json.loads(found.stdout)
    assert {"value": "flag", "origin": "flag"} == told["app"]
    assert {"value": "env", "origin": "environment CELERY_STATSD_PREFIX"} == told["prefix"]
    assert {"value": "file", "origin": f"file {file}"} == told["host"]
    assert {"value": 10.0, "origin": "default"} == told["flush_interval"]
    assert {key.name for key in KEYS} == set(told)
    assert (0, "") == (found.returncode, found.stderr)


def test_config_in_words_has_a_line_a_key(tmp_path: Path) -> None:
    """For people: the file, then each key, its value and its origin."""
    file = tmp_path / "c.yml"
    file.write_text("tls_verify: false\n")
    first, *lines = run("config", env={"CELERY_STATSD_CONFIG": str(file)}).stdout.splitlines()

    assert f"file: {file}" == first
    assert [key.name for key in KEYS] == [line.split()[0] for line in lines]
    (line,) = (line for line in lines if line.startswith("tls_verify "))
    assert ["tls_verify", "false", "file", str(file)] == line.split()


def test_the_broker_can_come_from_the_users_app(tmp_path: Path) -> None:
    """`-A` takes what the Celery app says about its broker; a password is masked."""
    (tmp_path / "proj.py").write_text(
        "from celery import Celery\napp = Celery(broker='amqp://me:geheim@rabbit/v')\n"
    )
    found = run("config", "--json", "-A", "proj:app", cwd=tmp_path)

    told = json.loads(found.stdout)["broker"]
    assert {"value": ["amqp://me:***@rabbit/v"], "origin": "app proj:app"} == told


SECRET = "s3cr:e:t@1"
BROKEN = f"amqp://me:{SECRET}@127.0.0.1:1//"
LEAKS = {
    "config": ["config", "-b", BROKEN],
    "config --json": ["config", "--json", f"--broker={BROKEN}"],
    "events": ["events", f"-b{BROKEN}"],
    "positional": ["agent", BROKEN],
    "a recording": ["replay", BROKEN],
    "no flag": ["agent", f"--brokre={BROKEN}"],
    "a bad URL": ["agent", "-b", f"me:{SECRET}@host"],
    "a bad transport": ["agent", "-b", f"ftp://me:{SECRET}@host"],
    "bad options": ["agent", "--transport-options", f'{{"password": "{SECRET}"'],
}


@pytest.mark.parametrize("name", LEAKS)
def test_no_output_holds_a_password(name: str) -> None:
    """However a password was given, rightly or wrongly, no part of it is printed."""
    found = run(*LEAKS[name])

    assert found.stdout + found.stderr
    assert "s3cr" not in found.stdout + found.stderr
    assert "e:t@1" not in found.stdout + found.stderr


def test_a_password_is_not_in_the_process_list(tmp_path: Path) -> None:
    """An agent given a password by flag shows it neither in its arguments nor in its log, keeps
    its process id, and has the other flags as they were."""
    broker = f"redis://:geheim@127.0.0.1:{free_port()}/0"
    agent = Agent(tmp_path, broker, ["statsd://127.0.0.1:9"], "quiet", "--log-level", "debug")
    agent.start(lambda: "broker_lost" in agent.output())
    try:
        shown = Path(f"/proc/{agent.pid}/cmdline").read_text().split("\0")
        assert 0 == agent.stop()
    finally:
        agent.kill()

    assert "geheim" not in "".join(shown)
    assert "--broker" not in shown
    assert ["--app", "quiet"] == shown[shown.index("--app") :][:2]
    assert ["-m", "celery_statsd", "agent"] == shown[1:4]
    assert "geheim" not in agent.output()


# --- metrics ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "make"), [([], as_table), (["--json"], as_json), (["--markdown"], as_markdown)]
)
def test_metrics_shows_the_catalogue(flags: Sequence[str], make: Callable[[], str]) -> None:
    """As a table, as JSON, as the README has it."""
    found = run("metrics", *flags)

    assert (0, f"{make()}\n", "") == (found.returncode, found.stdout, found.stderr)


# --- replay ----------------------------------------------------------------------------------


def test_replay_prints_a_document(tmp_path: Path) -> None:
    """`--json`: rows with raw names, timers in ms, the balance and the ledger; two files are one
    stream, packed or not."""
    rows = [
        {"type": "task-received", "uuid": "a", "name": "shop.orders@eu", "timestamp": 100.0},
        {"type": "task-started", "uuid": "a", "timestamp": 100.5},
        {"type": "task-succeeded", "uuid": "a", "runtime": 0.25, "timestamp": 101.0},
    ]
    paths = []
    for number, row in enumerate(rows, 1):
        recorder = {"_batch": number, "_received": row["timestamp"], "_routing_key": "task.x"}
        path = tmp_path / f"{number}.ndjson"
        path.write_text(
            json.dumps({**row, "hostname": "w@h", "pid": 1, "clock": number, **recorder})
        )
        paths.append(str(path))
    found = run("replay", "--json", *paths)

    told = json.loads(found.stdout)
    assert (0, "") == (found.returncode, found.stderr)
    assert {"metrics", "balance", "ledger"} == set(told)
    task = {r["metric"]: r for r in told["metrics"] if r["entity"] == "shop.orders@eu"}
    assert {
        "family": "task",
        "entity": "shop.orders@eu",
        "metric": "received",
        "kind": "counter",
        "value": 1,
    } == task["received"]
    assert (1, 1, 0) == tuple(task[m]["value"] for m in ("started", "succeeded", "failed"))
    assert {"count": 1, "sum": 250.0, "lower": 250.0, "upper": 250.0} == task["runtime"]["value"]
    assert (1, 1, 0) == tuple(
        told["balance"][term] for term in ("received", "succeeded", "difference")
    )
    assert {"events": 3, "counted": 3, "doubled": 0, "bad": {}, "dropped": {}} == told["ledger"]


def test_replay_prints_the_totals() -> None:
    """For people: a line a series, the balance, the ledger."""
    found = run("replay", TRACE)

    assert (0, "") == (found.returncode, found.stderr)
    *lines, balance, ledger = found.stdout.splitlines()
    assert ["cluster", "all", "sent"] == lines[0].split()[:3]
    assert balance.endswith(" difference=0")
    assert ledger.startswith('ledger: {"events": ')


@pytest.mark.parametrize("scheme", ["statsd", "graphite"])
def test_replay_sends_to_a_sink(scheme: str) -> None:
    """With `--sink` nothing is printed, and what arrives at a real socket is what `--json` says."""
    rows = json.loads(run("replay", "--json", TRACE).stdout)["metrics"]
    (expected,) = (
        r["value"] for r in rows if (r["family"], r["metric"]) == ("cluster", "succeeded")
    )
    with socket.socket(type=socket.SOCK_DGRAM) as statsd, socket.socket() as carbon:
        for listener in (statsd, carbon):
            listener.bind(("127.0.0.1", 0))
            listener.settimeout(0.3)
        statsd.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        carbon.listen()
        port = {"statsd": statsd, "graphite": carbon}[scheme].getsockname()[1]
        running = subprocess.Popen(
            [*PROGRAM, "replay", "--sink", f"{scheme}://127.0.0.1:{port}", TRACE],
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
        )
        text = datagrams(statsd, running) if scheme == "statsd" else stream(carbon)
        printed, _ = running.communicate(timeout=20)

    values = {"statsd": r"succeeded.all:", "graphite": r"succeeded.all.count "}[scheme]
    found = [line for line in text.splitlines() if f"cluster.all.{values}" in line]
    assert (0, b"") == (running.returncode, printed)
    assert expected == sum(number(line.partition(values)[2]) for line in found)
    assert expected > 0


def number(text: str) -> int:
    """The number a text begins with."""
    return int(text.replace("|", " ").split()[0])


def datagrams(statsd: socket.socket, sender: subprocess.Popen[bytes]) -> str:
    """All a sender sent by its end."""
    parts = []
    while True:
        try:
            parts.append(statsd.recv(65536).decode())
        except TimeoutError:
            if sender.poll() is not None:
                return "\n".join(parts)


def stream(carbon: socket.socket) -> str:
    """All that came over the first connection."""
    carbon.settimeout(20)
    peer, _ = carbon.accept()
    with peer, peer.makefile() as text:
        return text.read()


def test_replay_to_nobody_is_told() -> None:
    """A sink nobody listens behind: one sentence with key, address, cause, cure, and code 2."""
    address = f"graphite://127.0.0.1:{free_port()}"
    found = run("replay", "--sink", address, TRACE)

    assert 2 == found.returncode
    assert f"celery-statsd: sinks: {address}: Connection refused" in found.stderr
    assert found.stderr.endswith("; start what listens there\n")


# --- events ----------------------------------------------------------------------------------


def test_events_from_a_broker_out_of_reach() -> None:
    """One sentence with the key, the place and the cure, exit code 2, no retrying."""
    broker = f"redis://:geheim@127.0.0.1:{free_port()}/0"
    began = time.monotonic()
    found = run("events", "-b", broker)

    *_, last = found.stderr.splitlines()
    assert (2, "") == (found.returncode, found.stdout)
    assert last.startswith("celery-statsd: broker: redis://127.0.0.1:")
    assert last.endswith("; start the broker, or mend the address")
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_events_end_quietly_on_a_signal(number: int, tmp_path: Path, redis_server: Redis) -> None:
    """Ctrl-C and SIGTERM: exit code 0, no traceback, and each event has its line."""
    url = redis_server.fresh_url()
    with watching(tmp_path, url) as running:
        send(url, ["u1", "u2"])
        wait_until(lambda: len(running.lines) == 2, 10, "both events are shown")
        code = running.end(number)

    assert 0 == code
    assert "Traceback" not in running.said
    assert ["task-started", "task-started"] == [line.split()[1] for line in running.lines]


def test_events_end_after_the_seconds_given(tmp_path: Path, redis_server: Redis) -> None:
    """`--seconds` ends it with code 0, also when nothing happens."""
    with watching(tmp_path, redis_server.fresh_url(), "--seconds", "0.7") as running:
        assert 0 == running.process.wait(5)

    assert [] == running.lines


def test_a_reader_that_leaves_ends_events_quietly(redis_server: Redis) -> None:
    """As with `| head -1`: no traceback, no complaint."""
    url = redis_server.fresh_url()
    with subprocess.Popen(
        [*PROGRAM, "events", "-b", url, "--log-level", "info"],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout
        assert running.stderr
        assert "broker_connected" in running.stderr.readline()
        send(url, ["u1"])
        running.stdout.readline()
        running.stdout.close()
        send(url, ["u2", "u3"])
        assert 1 == running.wait(10)
        assert "" == running.stderr.read()


@pytest.fixture(scope="module")
def recording(
    redis_server: Redis,
    clusters: Callable[[str], Cluster],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Cluster, Path]:
    """A mixed workload of real workers, over, and what `events --json` wrote of it."""
    url = redis_server.fresh_url()
    folder = tmp_path_factory.mktemp("events")
    cluster = clusters(url)
    with watching(folder, url, "--json") as running:
        cluster.worker("fork.1", "prefork", ("q.any", "q.fork"))
        cluster.worker("thread-1", "threads", ("q.any",))
        cluster.mix()
        cluster.stop()
        wait_until(lambda: farewells(running.lines) == 2, 10, "both workers have left")
        assert 0 == running.end(signal.SIGTERM)
    return cluster, folder / "out"


def farewells(lines: Sequence[str]) -> int:
    """How many workers said goodbye."""
    return sum(json.loads(line)["type"] == "worker-offline" for line in lines)


def test_recorded_events_replay_to_the_truth(recording: tuple[Cluster, Path]) -> None:
    """What `events --json` wrote, `replay --json` counts as the workload itself did, to the
    unit: each stage of each task, each exception, each queue."""
    cluster, path = recording
    truth = cluster.truth()
    told = json.loads(run("replay", "--json", str(path)).stdout)

    found: dict[str, Counter[str]] = {stage: Counter() for stage in truth.stages}
    others: dict[str, Counter[str]] = {"exception": Counter(), "queue": Counter()}
    for row in told["metrics"]:
        if row["family"] == "task" and row["metric"] in found and row["value"]:
            found[row["metric"]][row["entity"]] = row["value"]
        if row["family"] in others and row["kind"] == "counter" and row["value"]:
            others[row["family"]][row["entity"]] = row["value"]
    assert truth.stages == found
    assert (truth.errors, truth.queues) == (others["exception"], others["queue"])
    assert 0 == told["balance"]["difference"]
    assert told["ledger"]["events"] == len(path.read_text().splitlines())


def test_recorded_events_are_whole(recording: tuple[Cluster, Path]) -> None:
    """Each line has the event's fields and the recorder's, as the traces of the tests have."""
    rows = [json.loads(line) for line in recording[1].read_text().splitlines()]
    first = trace_messages("redis-prefork-57")[0]

    assert {"_batch", "_hostname", "_received", "_routing_key", "_size"} == {
        key for row in rows for key in row if key.startswith("_")
    }
    assert set(first.events[0]) <= set(rows[0])
    assert all(abs(row["_received"] - row["timestamp"]) < 60 for row in rows)


def test_looking_takes_nothing_from_the_agent(rabbitmq: RabbitMQ) -> None:
    """`events` has a queue of its own, which goes with it: none of the agent's group is made."""
    url = rabbitmq.fresh_url()
    vhost = url.rpartition("/")[2]
    looked = subprocess.Popen(
        [sys.executable, "-m", "celery_statsd", "events", "-b", url, "--seconds", "20"],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert looked.stdout
    bound = lambda: rabbitmq.management(f"exchanges/{vhost}/celeryev/bindings/source")  # noqa: E731
    wait_until(lambda: "celeryev" in _exchanges(rabbitmq, vhost) and bound(), 15, "it listens")
    queues = [binding["destination"] for binding in bound()]
    send(url, ["a-task"])
    line = looked.stdout.readline()
    looked.terminate()
    looked.communicate(timeout=10)

    assert "a-task" in line
    assert [] == [name for name in queues if name.startswith("celeryev.statsd.default")]
    wait_until(lambda: not bound(), 10, "its queue is gone")


def _exchanges(rabbitmq: RabbitMQ, vhost: str) -> list[str]:
    return [exchange["name"] for exchange in rabbitmq.management(f"exchanges/{vhost}")]


def test_what_an_agent_has_loaded_is_not_looked_at_for_garbage() -> None:
    """And a flush of some ten thousand rows is no reason to look for any."""
    before = gc.get_threshold()
    try:
        cli._collect_seldom()
        assert cli.GARBAGE == gc.get_threshold()
        assert 10_000 < gc.get_freeze_count()
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
