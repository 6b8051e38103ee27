"""`celery-statsd replay`: a recorded stream, printed or sent on."""

import json
import socket
import subprocess
from pathlib import Path

import pytest

from tests.cli.program import ENVIRONMENT, PROGRAM, TRACE, run
from tests.servers.process import free_port


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


def test_a_recording_that_was_cut_off_is_told(tmp_path: Path) -> None:
    """It is replayed up to there, and somebody may want to know."""
    path = tmp_path / "cut.ndjson.gz"
    path.write_bytes(Path(TRACE).read_bytes()[:-2000])
    found = run("replay", "--json", str(path))
    whole = json.loads(run("replay", "--json", TRACE).stdout)

    assert 0 == found.returncode
    assert f"celery-statsd: {path}: is cut off after line " in found.stderr
    assert 0 < json.loads(found.stdout)["ledger"]["events"] < whole["ledger"]["events"]
