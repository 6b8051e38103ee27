"""`celery-statsd record`: a live run and the replay of its recording are one to the byte."""

import gzip
import json
import signal
import socket
import stat
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from celery_statsd.recording import GZIP
from tests.cli.program import ENVIRONMENT, PROGRAM, Running, run
from tests.servers.process import free_port, wait_until
from tests.servers.rabbitmq import RabbitMQ
from tests.servers.redis import Redis
from tests.servers.worker import Cluster

SECRET = "as asked"
"""What the failing tasks of the workload say: it must stand in no recording by default."""


class Catcher:
    """Keeps every byte sent to it over TCP, by anybody, one after the other."""

    def __init__(self) -> None:
        self.taken = b""
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        peer, _ = self._server.accept()
        with peer:
            while part := peer.recv(65536):
                self.taken += part

    def all(self) -> bytes:
        """All of it, once the sender has hung up."""
        self._thread.join(10)
        assert not self._thread.is_alive()
        self._server.close()
        return self.taken


SINKS = ("statsd+tcp", "graphite")

FLAGS = {"plain": (), "packed": ("--whole", "--gzip")}
"""How each stream is recorded."""


@contextmanager
def recording(folder: Path, url: str, path: Path, *flags: str) -> Iterator[Running]:
    """`celery-statsd record`, once it listens."""
    running = Running(folder, "record", str(path), "-b", url, "--flush-interval", "1", *flags)
    try:
        wait_until(lambda: "broker_connected" in running.said, 10, "it listens")
        yield running
    finally:
        running.process.kill()
        running.process.wait(10)


def addresses(catchers: dict[str, Catcher]) -> list[str]:
    """The flags for each."""
    return [f"--sink={scheme}://127.0.0.1:{one.port}" for scheme, one in catchers.items()]


class Taken(NamedTuple):
    """A recording of a mixed workload of real workers, and what was sent meanwhile."""

    cluster: Cluster
    path: Path
    sent: dict[str, bytes]
    whole: bool


@pytest.fixture(scope="module")
def both(
    rabbitmq: RabbitMQ,
    clusters: Callable[[str], Cluster],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Taken]:
    """Two recorders of one stream, each as FLAGS says."""
    url = rabbitmq.fresh_url()
    made: dict[str, tuple[Path, dict[str, Catcher], Running]] = {}
    with ExitStack() as stack:
        for name, flags in FLAGS.items():
            folder = tmp_path_factory.mktemp("record")
            catchers = {scheme: Catcher() for scheme in SINKS}
            path = folder / "stream.ndjson"
            told = (*addresses(catchers), "--app", "shop", *flags)
            made[name] = path, catchers, stack.enter_context(recording(folder, url, path, *told))
        cluster = clusters(url)
        cluster.worker("fork.1", "prefork", ("q.any", "q.fork"))
        cluster.mix()
        cluster.stop()
        for _, catchers, running in made.values():
            wait_until(lambda of=catchers: offline(of["graphite"].taken), 15, "the worker is gone")
            assert 0 == running.end(signal.SIGTERM)
            assert "recorded file=" in running.said
        return {
            name: Taken(
                cluster, path, {scheme: one.all() for scheme, one in catchers.items()},
                whole="--whole" in FLAGS[name],
            )
            for name, (path, catchers, _) in made.items()
        }  # fmt: skip


@pytest.fixture(params=["plain", "packed"])
def taken(request: pytest.FixtureRequest, both: dict[str, Taken]) -> Taken:
    """Each of them."""
    return both[request.param]


def offline(text: bytes) -> int:
    """How many workers were told to have left."""
    rows = [line.split() for line in text.decode().rpartition("\n")[0].splitlines()]
    return sum(int(row[1]) for row in rows if row[0].endswith(".offline.all.count"))


def replayed(path: Path, *flags: str) -> dict[str, bytes]:
    """What a replay of the recording sends to each sink; nothing but the file is told to it."""
    catchers = {scheme: Catcher() for scheme in SINKS}
    env = {"PYTHONHASHSEED": "7"}
    found = run("replay", str(path), *addresses(catchers), *flags, env=env)
    assert (0, "", "") == (found.returncode, found.stdout, found.stderr)
    return {scheme: one.all() for scheme, one in catchers.items()}


def test_a_replay_sends_what_the_live_run_sent(taken: Taken) -> None:
    """Byte for byte: each value, its order, its timestamp. The replay is another process, with
    another seed of Python's hashes, and knows the settings from the file."""
    again = replayed(taken.path)

    assert b"shop.cluster.all.succeeded.all" in taken.sent["statsd+tcp"]
    assert again == taken.sent


def test_a_recording_replays_to_the_truth(taken: Taken) -> None:
    """What was redacted changes no number: each stage of each task, each class of exception, each
    queue is as the workload itself counted it."""
    truth = taken.cluster.truth()
    told = json.loads(run("replay", "--json", str(taken.path)).stdout)

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


def test_another_interval_gives_the_same_counts(taken: Taken) -> None:
    """A replay with flushes of its own adds up to the same."""
    mine = json.loads(run("replay", "--json", "--flush-interval", "10", str(taken.path)).stdout)
    theirs = json.loads(run("replay", "--json", str(taken.path)).stdout)

    assert counters(theirs) == counters(mine)
    assert theirs["ledger"] == mine["ledger"]


def counters(told: dict[str, Any]) -> dict[tuple[str, str, str], int]:
    """Those of tasks, as a replay tells them."""
    rows = [row for row in told["metrics"] if row["kind"] == "counter"]
    return {
        (row["family"], row["entity"], row["metric"]): row["value"]
        for row in rows
        if row["family"] in ("cluster", "task", "queue", "exception")
    }


def test_what_is_private_is_recorded_only_when_asked_for(taken: Taken) -> None:
    """By default no argument, no result, no text of an exception, no traceback; and nobody else
    may read the file."""
    found = unpacked(taken.path)
    rows = [json.loads(line) for line in found.splitlines()]
    private = {"args", "kwargs", "result"} & {key for row in rows for key in row}
    errors = {row.get("exception") for row in rows if row.get("type") == "task-failed"}

    if taken.whole:
        assert {"args", "kwargs", "result"} == private
        assert SECRET in found
    else:
        assert set() == private
        assert SECRET not in found
        assert {"ValueError()", "OutOfStockError()"} <= errors
    assert 0o600 == stat.S_IMODE(taken.path.stat().st_mode)


def unpacked(path: Path) -> str:
    """The text of a recording."""
    content = path.read_bytes()
    return (gzip.decompress(content) if content.startswith(GZIP) else content).decode()


def test_a_replay_keeps_a_pace(taken: Taken) -> None:
    """At so many times the speed it takes that part of the time, and sends the same."""
    rows = [json.loads(line) for line in unpacked(taken.path).splitlines()]
    length = rows[-1]["_received"] - rows[0]["_received"]
    began = time.monotonic()
    again = replayed(taken.path, "--speed", "10")

    assert taken.sent == again
    assert length / 10 <= time.monotonic() - began


def test_a_file_that_is_there_is_left_alone(tmp_path: Path, redis_server: Redis) -> None:
    """One sentence, exit code 2, and nothing is touched."""
    path = tmp_path / "mine"
    path.write_text("precious")
    found = run("record", str(path), "-b", redis_server.fresh_url())

    assert 2 == found.returncode
    assert found.stderr.endswith(f"celery-statsd: {path}: is there already; name a new file\n")
    assert "precious" == path.read_text()


def test_a_broker_out_of_reach_leaves_no_file(tmp_path: Path) -> None:
    """As `events`: one sentence, exit code 2, no retrying, and no empty recording."""
    path = tmp_path / "stream"
    found = run("record", str(path), "-b", f"redis://127.0.0.1:{free_port()}/0")

    assert 2 == found.returncode
    assert found.stderr.endswith("; start the broker, or mend the address\n")
    assert not path.exists()


def test_a_killed_recorder_leaves_what_it_heard(tmp_path: Path, redis_server: Redis) -> None:
    """The file of a recorder that was killed is replayed up to there."""
    path = tmp_path / "stream"
    url = redis_server.fresh_url()
    running = subprocess.Popen(
        [*PROGRAM, "record", str(path), "-b", url, "--flush-interval", "0.5"],
        env=ENVIRONMENT,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: path.exists() and '"flush"' in path.read_text(), 10, "it has flushed")
    running.kill()
    running.wait(10)
    found = json.loads(run("replay", "--json", str(path)).stdout)

    assert 0 == found["ledger"]["events"]
    assert '"end"' not in path.read_text()
