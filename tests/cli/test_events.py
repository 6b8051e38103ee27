"""`celery-statsd events`: what passes, shown and recorded."""

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.cli.program import ENVIRONMENT, PROGRAM, run, watching
from tests.servers.process import REPOSITORY, free_port, wait_until
from tests.servers.rabbitmq import RabbitMQ
from tests.servers.redis import Redis
from tests.servers.worker import Cluster
from tests.source.stream import send
from tests.traces import messages as trace_messages


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
